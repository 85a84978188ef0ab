#!/usr/bin/env python3
"""An offline stand-in for the Bazel Central Registry, made of the distribution's packages.

usage: tools/registry.py --check                   the checks that need no Bazel and no package; the
                                                   last line is `N passed, N failed`
       tools/registry.py --write FOLDER [BAZEL]    writes the registry into FOLDER, for
                                                   `bazel --registry=file://FOLDER`; BAZEL is the
                                                   folder of Bazel's own module files

Each module that MODULE.bazel names is in the registry, in the version named there. Its sources are
the repository that third_party/debian/deps.bzl makes for Debian's old Bazel: that file is executed
here, with a repository context of Python. So there is one table of the libraries and their labels.

The registry shows whether a modern Bazel reads our module and BUILD files, finds each label, and
gives the embedder all public targets. The table below, written by hand, has the compatibility levels
and dependencies of the real modules: a wrong one once broke every Bazel from 7 to 9.0.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MODULES = ("MODULE.bazel", "embed/MODULE.bazel")
TABLE = "third_party/debian/deps.bzl"

# The Bazel Central Registry on 22 August 2026.
# Module -> its first version with a level -> that level. Up to Bazel 8.5 and 9.0, two levels of a
# module in one graph are an error.
LEVELS = {
    "abseil-cpp": {"0": 1, "20260526.0": 0},
    "concurrentqueue": {"0": 1},
    "fmt": {"0": 10},
    "gloop": {"0": 0},
    "googletest": {"0": 1},
    "protobuf": {"0": 1},
    "re2": {"0": 1},
    "rules_cc": {"0": 1},
    "spdlog": {"0": 1},
}
# Module and version -> its dependencies (not its dev_dependencies), as far as LEVELS names them. Each
# version that MODULE.bazel names has to be here: add a new version together with its line. Versions
# that only other modules ask for, and that are older than the chosen ones, may be left out.
DEPENDENCIES = {
    "abseil-cpp@20260107.1": "googletest@1.17.0 rules_cc@0.2.9",
    "abseil-cpp@20260526.0": "googletest@1.17.0.bcr.2 rules_cc@0.2.18",
    "abseil-cpp@20260817.0": "googletest@1.18.0 rules_cc@0.2.22 gloop@20260708.rc1",
    "concurrentqueue@1.0.4": "rules_cc@0.0.9",
    "fmt@12.1.0": "rules_cc@0.2.13",
    "gloop@20260708.rc1": "abseil-cpp@20260107.1 protobuf@35.0 googletest@1.17.0.bcr.2 "
                          "rules_cc@0.2.16 re2@2025-11-05.bcr.1",
    "googletest@1.17.0.bcr.2": "abseil-cpp@20250127.1 re2@2025-08-12.bcr.1 rules_cc@0.2.8",
    "googletest@1.18.0": "abseil-cpp@20260526.0 re2@2025-11-05.bcr.1 rules_cc@0.2.22",
    "protobuf@35.0": "abseil-cpp@20250512.1 rules_cc@0.0.17 re2@2024-07-02.bcr.1",
    "re2@2025-08-12.bcr.1": "abseil-cpp@20250512.1 rules_cc@0.1.4",
    "re2@2025-11-05.bcr.1": "abseil-cpp@20250814.1 rules_cc@0.2.14",
    "rules_cc@0.2.22": "protobuf@27.0",
    "spdlog@1.17.0": "fmt@12.1.0 rules_cc@0.2.16",
}


class Wrong(Exception):
    """An error that Bazel would report."""


# --- Module files.

class Anything:
    """Accepts the calls of a module file that do not concern dependencies."""

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *args, **kwargs):
        return Anything()


def read_module(text, ours=True):
    """(name, version, {dependency: version}, {dependency: path}) of a module file, as the root.

    Raises Wrong for a line of our own module files that would break embedders.
    """
    own, wanted, paths = {"name": "", "version": ""}, {}, {}

    def bazel_dep(*, name, version="", repo_name="", **_):
        if ours and repo_name:
            raise Wrong("%s has the repo_name %s: our labels name it by its own" % (name, repo_name))
        wanted[name] = version

    def no_override(module_name="", **_):
        if ours:
            raise Wrong("an override of %s helps the root module alone, not its embedders" % module_name)

    def local_path_override(module_name, path):
        paths[module_name] = path

    known = {
        "module": lambda **kwargs: own.update(kwargs),
        "bazel_dep": bazel_dep,
        "local_path_override": local_path_override,
    }
    for name in ("archive_override", "git_override", "multiple_version_override", "single_version_override"):
        known[name] = no_override
    for name in ("flag_alias", "include", "register_execution_platforms", "register_toolchains", "use_extension",
                 "use_repo", "use_repo_rule"):
        known[name] = Anything()
    exec(compile(text, "a module file", "exec"), known)  # Starlark without load() is Python.
    return own["name"], own["version"], wanted, paths


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


# --- The choice of versions, as Bazel makes it.

def order(version):
    """Sorts versions as Bazel does: numbers before words, a pre-release (behind -) before all."""
    def parts(text):
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split(".")]
    release, dash, before = version.partition("-")
    return parts(release), not dash, parts(before) if dash else []


def level_of(name, version):
    levels = LEVELS.get(name, {"0": 0})
    return levels[max((first for first in levels if order(first) <= order(version)), key=order)]


def brings(name, version):
    pairs = (pair.partition("@") for pair in DEPENDENCIES.get(name + "@" + version, "").split())
    return {pair[0]: pair[2] for pair in pairs}


def resolve(files, path):
    """{module: version}: the choice for the root module of `path`; raises Wrong.

    `files` has the text of each module file of ours. Bazel takes, in each level of each module, the
    newest version that any module asks for; then, from the root, it allows one level only.
    """
    def wanted_by(key):
        return ours[key] if key in ours else brings(*key)

    ours, todo = {}, [(path, ("<root>", ""))]
    while todo:
        file, key = todo.pop()
        _, _, wanted, paths = read_module(files[file])
        for name, there in paths.items():
            wanted[name] = "_"  # The override stands for a version of its own.
            todo.append((os.path.normpath(os.path.join(os.path.dirname(file), there, "MODULE.bazel")), (name, "_")))
        ours[key] = wanted
    newest, seen, todo = {}, set(), [("<root>", "")]
    while todo:
        key = todo.pop()
        if key in seen:
            continue
        seen.add(key)
        if key not in ours:
            group = (key[0], level_of(*key))
            newest[group] = max(newest.get(group, key[1]), key[1], key=order)
        todo += wanted_by(key).items()
    chosen, todo = {}, [("<root>", "", [])]
    while todo:
        name, version, _ = todo.pop(0)
        for other, asked in wanted_by((name, version)).items():
            if (other, asked) in ours:
                taken, level = asked, 0
            else:
                level = level_of(other, asked)
                taken = newest[(other, level)]
            if other not in chosen:
                chosen[other] = (taken, level, name, version)
                todo.append((other, taken, []))
            elif chosen[other][1] != level:
                before = chosen[other]
                who, what = ((name, version, taken, level), (before[2], before[3], before[0], before[1]))
                raise Wrong("%s depends on %s@%s with compatibility level %d, but %s depends on %s@%s with "
                            "compatibility level %d which is different" %
                            (spell(*who[:2]), other, who[2], who[3], spell(*what[:2]), other, what[2], what[3]))
    for key, wanted in ours.items():
        for name, asked in wanted.items():
            if (name, asked) in ours:
                continue
            if chosen[name][0] != asked:
                raise Wrong("%s depends on %s, but %s is chosen: Bazel would warn each user" %
                            (spell(*key), spell(name, asked), spell(name, chosen[name][0])))
            if name + "@" + asked not in DEPENDENCIES:
                raise Wrong("%s is not in the table of tools/registry.py: add its line of the real registry" %
                            spell(name, asked))
    return {name: choice[0] for name, choice in chosen.items()}


def spell(name, version):
    return name if name == "<root>" else name + "@" + version


# --- The repositories of deps.bzl.

class Context:
    """The part of Bazel's repository_ctx that the repository rules of deps.bzl use."""

    def __init__(self, name, attributes, folder, execute=None, exists=os.path.exists):
        self.name = name
        self.attr = types.SimpleNamespace(**attributes)
        self.folder = folder
        self.execute = execute or self.run
        self.exists = exists

    @staticmethod
    def run(command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        return types.SimpleNamespace(return_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def path(self, path):
        return types.SimpleNamespace(exists=self.exists(path))

    def file(self, path, content):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)

    def symlink(self, target, path):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)


def repositories():
    """{name: (rule, attributes)} of each repository that deps.bzl declares."""
    found = {}

    def fail(text):
        raise Wrong(text)

    def repository_rule(implementation, attrs, **_):
        def rule(name, **attributes):
            for attribute, default in attrs.items():
                attributes.setdefault(attribute, default)
            found[name] = (implementation, attributes)
        return rule

    attr = types.SimpleNamespace(string=lambda **_: "", string_dict=lambda **_: {}, string_list=lambda **_: [],
                                 string_list_dict=lambda **_: {})
    known = {
        "attr": attr,
        "fail": fail,
        "native": types.SimpleNamespace(existing_rule=lambda name: None),
        "repository_rule": repository_rule,
    }
    exec(compile(read(os.path.join(ROOT, TABLE)), TABLE, "exec"), known)  # Starlark without load() is Python.
    known["sluice_debian_deps"]()
    return found


def make(name, folder, **context):
    rule, attributes = repositories()[name]
    rule(Context(name, attributes, folder, **context))


# --- The registry.

def write_module(registry, name, version, wanted, sources):
    folder = os.path.join(registry, "modules", name, version)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "MODULE.bazel"), "w", encoding="utf-8") as file:
        file.write('module(name = "%s", version = "%s", compatibility_level = %d)\n' %
                   (name, version, level_of(name, version)))
        for other, asked in wanted.items():
            file.write('bazel_dep(name = "%s", version = "%s")\n' % (other, asked))
    with open(os.path.join(folder, "source.json"), "w", encoding="utf-8") as file:
        file.write('{"type": "local_path", "path": "%s"}\n' % sources)


def write(registry, bazel):
    """Writes the registry, and the sources of its modules beside them."""
    if os.path.exists(registry):
        if os.listdir(registry) and not os.path.exists(os.path.join(registry, "bazel_registry.json")):
            raise Wrong("%s exists and is no registry: name a folder that is new, empty or a registry, because its "
                        "contents are deleted" % registry)
        shutil.rmtree(registry)
    os.makedirs(registry)
    with open(os.path.join(registry, "bazel_registry.json"), "w", encoding="utf-8") as file:
        file.write("{}\n")
    nothing = os.path.join(registry, "nothing")
    os.makedirs(nothing)
    todo = set()
    for path in MODULES:
        _, _, wanted, paths = read_module(read(os.path.join(ROOT, path)))
        todo |= {(name, version) for name, version in wanted.items() if name not in paths}
    ours = {name for name, _ in todo}
    # Bazel and its own rules ask for these: modules without content, never loaded.
    for folder, _, files in os.walk(bazel) if bazel else ():
        if "MODULE.bazel" in files:
            todo |= set(read_module(read(os.path.join(folder, "MODULE.bazel")), ours=False)[2].items())
    made = repositories()
    done = set()
    while todo:
        name, version = todo.pop()
        if (name, version) in done or not version:
            continue
        done.add((name, version))
        sources = nothing
        if name in ours and name in made and name != "rules_cc":
            sources = os.path.join(registry, "sources", name)
            if not os.path.exists(sources):
                make(name, sources)
                with open(os.path.join(sources, "REPO.bazel"), "w", encoding="utf-8"):
                    pass  # Empty, but a folder without it is no repository for Bazel.
        wanted = brings(name, version)
        write_module(registry, name, version, wanted, sources)
        todo |= set(wanted.items())
    print("%s: %d modules, of which %s have sources" % (
        registry, len(done), ", ".join(sorted(os.listdir(os.path.join(registry, "sources"))))))


# --- Checks.

def module_files(versions=None):
    """The text of each module file of ours, with `versions` put in."""
    files = {path: read(os.path.join(ROOT, path)) for path in MODULES}
    for name, version in (versions or {}).items():
        for path in files:
            old = 'name = "%s", version = "%s"' % (name, read_module(files[path])[2][name])
            if old not in files[path]:
                raise Wrong("%s does not name %s in the usual form" % (path, name))
            files[path] = files[path].replace(old, 'name = "%s", version = "%s"' % (name, version))
    return files


def refused(path, versions):
    try:
        resolve(module_files(versions), path)
    except Wrong as error:
        return str(error)
    return "nothing is refused"


def expect(found, expected):
    if found != expected:
        raise Wrong("%s\nbut expected was\n%s" % (found, expected))


def module_files_resolve():
    for path in MODULES:
        resolve(module_files(), path)


def embedders_want_what_we_want():
    ours = read_module(module_files()["MODULE.bazel"])[2]
    page = read(os.path.join(ROOT, "docs", "embedding.md"))
    block = re.search(r"<!-- write modern/MODULE.bazel -->\n\n```python\n(.*?)```\n", page, re.S).group(1)
    for text in (module_files()["embed/MODULE.bazel"], block):
        for name, version in read_module(text)[2].items():
            if name != "sluice":
                expect((name, version), (name, ours.get(name)))
    for name in ("abseil-cpp", "googletest"):
        if "`%s` %s" % (name, ours[name]) not in page.replace("\n", " "):
            raise Wrong("docs/embedding.md does not name %s %s" % (name, ours[name]))


def old_versions_are_refused():
    # With these versions no Bazel from 7 to 9.0 resolved the module file: issue 13.
    expect(refused("MODULE.bazel", {"abseil-cpp": "20260817.0", "googletest": "1.18.0"}),
           "protobuf@35.0 depends on abseil-cpp@20260107.1 with compatibility level 1, but <root> depends on "
           "abseil-cpp@20260817.0 with compatibility level 0 which is different")


def unknown_versions_are_refused():
    expect(refused("MODULE.bazel", {"googletest": "1.17.0"}),
           "googletest@1.17.0 is not in the table of tools/registry.py: add its line of the real registry")
    expect(refused("embed/MODULE.bazel", {"rules_cc": "0.2.99"}),
           "rules_cc@0.2.99 is not in the table of tools/registry.py: add its line of the real registry")


def versions_that_others_raise_are_refused():
    expect(refused("MODULE.bazel", {"rules_cc": "0.2.8"}),
           "<root> depends on rules_cc@0.2.8, but rules_cc@0.2.16 is chosen: Bazel would warn each user")


def versions_are_in_bazels_order():
    expect(sorted(["1.18.0", "1.17.0.bcr.2", "1.9", "1.17.0", "1.17.0-rc1", "20260526.0"], key=order),
           ["1.9", "1.17.0-rc1", "1.17.0", "1.17.0.bcr.2", "1.18.0", "20260526.0"])


def queue_is_found_in_either_folder():
    for there in ("/usr/include/concurrentqueue", "/usr/include/concurrentqueue/moodycamel"):
        with tempfile.TemporaryDirectory() as folder:
            make("concurrentqueue", folder, exists=lambda path, there=there: os.path.dirname(path) == there)
            expect(os.readlink(os.path.join(folder, "concurrentqueue.h")), there + "/concurrentqueue.h")


def library_has_its_flags():
    def execute(command):
        lines = ["%s -DSHARED -lof_%s \n" % (module, module) for module in command[4:]]
        return types.SimpleNamespace(return_code=0, stdout="".join(lines), stderr="")
    with tempfile.TemporaryDirectory() as folder:
        make("abseil-cpp", folder, execute=execute)
        build = read(os.path.join(folder, "absl", "status", "BUILD.bazel"))
        for text in ('name = "statusor",', "defines = ['SHARED'],", "linkopts = ['-lof_absl_statusor'],"):
            if text not in build:
                raise Wrong("no %s in\n%s" % (text, build))


def overrides_are_refused():
    for text in ('single_version_override(module_name = "fmt", version = "1")', 'bazel_dep("fmt", "1")',
                 'bazel_dep(name = "fmt", version = "1", repo_name = "f")'):
        try:
            read_module(text)
        except (Wrong, TypeError):
            continue
        raise Wrong("taken: " + text)


def other_folders_are_not_deleted():
    with tempfile.TemporaryDirectory() as folder:
        kept = os.path.join(folder, "kept")
        with open(kept, "w", encoding="utf-8"):
            pass
        try:
            write(folder, "")
        except Wrong:
            pass
        if not os.path.exists(kept):
            raise Wrong("--write has deleted a folder that is no registry")


def check():
    passed = failed = 0
    for test in (module_files_resolve, embedders_want_what_we_want, old_versions_are_refused,
                 unknown_versions_are_refused, versions_that_others_raise_are_refused,
                 versions_are_in_bazels_order, queue_is_found_in_either_folder,
                 library_has_its_flags, overrides_are_refused, other_folders_are_not_deleted):
        name = test.__name__.replace("_", " ")
        try:
            test()
            passed += 1
            print("ok: " + name)
        except Exception as error:  # A mistake in a module file raises a Python exception here.
            failed += 1
            print("FAILED: %s: %s" % (name, error if isinstance(error, Wrong) else repr(error)))
    print("%d passed, %d failed" % (passed, failed))
    return 0 if passed and not failed else 1


def main():
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    if len(sys.argv) in (3, 4) and sys.argv[1] == "--write":
        try:
            sys.exit(write(os.path.abspath(sys.argv[2]), sys.argv[3] if len(sys.argv) == 4 else ""))
        except Wrong as error:
            sys.exit("tools/registry.py: %s" % error)
    sys.exit(__doc__)


main()
