"""The repositories Sluice needs, taken from Debian's packages (no network).

Each has the name and the labels it has in the Bazel Central Registry, so the
BUILD files are the same for Debian's Bazel 4.2.3 and for a modern Bazel.

tools/registry.py executes this file in Python, for the stand-in registry that a modern Bazel is checked with.
"""

_LIBRARY = """
cc_library(
    name = "{name}",
    defines = {defines},
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
"""

_HEADERS = """
load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "{name}",
    hdrs = {headers},
    visibility = ["//visibility:public"],
)
"""

# One pkg-config for each module, all at once: some of Abseil's take it a second.
_PKG_CONFIG = """
for module; do
  { flags=$(pkg-config --cflags --libs $(echo "$module" | tr + ' ')) && echo "$module $flags"; } &
done
wait
"""

def _flags(rctx, modules):
    """Module -> its flags for the compiler and the linker."""
    found = rctx.execute(["sh", "-c", _PKG_CONFIG, "pkg-config"] + modules)
    flags = {}
    for line in found.stdout.strip().split("\n"):
        words = [word for word in line.split(" ") if word]
        if words:
            flags[words[0]] = words[1:]
    if [module for module in modules if module not in flags]:
        fail("@%s needs: apt-get install pkg-config %s\n%s" % (rctx.name, rctx.attr.apt, found.stderr))
    return flags

def _debian_library_impl(rctx):
    # No headers here: they are in /usr/include, where compilers look anyway.
    modules = {}
    for targets in rctx.attr.packages.values():
        for target in targets:
            name, _, module = target.partition("=")
            modules[target] = module or rctx.attr.prefix + name
    flags_of = _flags(rctx, list(modules.values()))
    for package, targets in rctx.attr.packages.items():
        build = 'load("@rules_cc//cc:defs.bzl", "cc_library")\n'
        for target in targets:
            flags = flags_of[modules[target]]
            build += _LIBRARY.format(
                name = target.partition("=")[0],
                defines = repr([flag[2:] for flag in flags if flag.startswith("-D")]),
                linkopts = repr([flag for flag in flags if not flag.startswith("-D")]),
            )
        rctx.file((package + "/" if package else "") + "BUILD.bazel", build)

_debian_library = repository_rule(
    implementation = _debian_library_impl,
    local = True,
    attrs = {
        "apt": attr.string(doc = "The Debian package to install."),
        "packages": attr.string_list_dict(doc = "Bazel package -> targets: NAME or NAME=MODULE[+MODULE]."),
        "prefix": attr.string(doc = "The pkg-config module of a bare NAME is prefix + NAME."),
    },
)

def _debian_headers_impl(rctx):
    headers = rctx.attr.headers
    folders = [folder for folder in rctx.attr.folders if rctx.path(folder + "/" + headers[0]).exists]
    if not folders:
        fail("@%s needs: apt-get install %s" % (rctx.name, rctx.attr.apt))
    for header in headers:
        rctx.symlink(folders[0] + "/" + header, header)
    rctx.file("BUILD.bazel", _HEADERS.format(name = rctx.attr.target, headers = repr(headers)))

_debian_headers = repository_rule(
    implementation = _debian_headers_impl,
    local = True,
    attrs = {
        "apt": attr.string(doc = "The Debian package to install."),
        "folders": attr.string_list(doc = "Where the headers are: the first folder that has the first of them."),
        "headers": attr.string_list(doc = "They are included by these names alone."),
        "target": attr.string(doc = "The library's name."),
    },
)

def _files_impl(rctx):
    for path, content in rctx.attr.files.items():
        rctx.file(path, content)

_files = repository_rule(
    implementation = _files_impl,
    attrs = {"files": attr.string_dict(doc = "Path -> content.")},
)

def _native_rules(rules):
    return "\n".join(["%s = native.%s" % (rule, rule) for rule in rules]) + "\n"

_COVERAGE_TOOLS = """
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""

def _maybe(rule, name, **kwargs):
    if not native.existing_rule(name):
        rule(name = name, **kwargs)

def sluice_debian_deps():
    """Declares every repository that WORKSPACE users of Sluice need."""
    _maybe(
        _debian_library,
        name = "abseil-cpp",
        apt = "libabsl-dev",
        prefix = "absl_",
        packages = {
            "absl/algorithm": ["container=absl_algorithm_container"],
            "absl/base": ["core_headers"],
            "absl/cleanup": ["cleanup"],
            "absl/container": ["btree", "fixed_array", "flat_hash_map", "flat_hash_set", "inlined_vector", "node_hash_map"],
            "absl/debugging": ["failure_signal_handler", "stacktrace", "symbolize"],
            "absl/flags": [
                "config=absl_flags_config",
                "flag=absl_flags",
                "marshalling=absl_flags_marshalling",
                "parse=absl_flags_parse",
                "reflection=absl_flags_reflection",
                "usage=absl_flags_usage",
            ],
            "absl/functional": ["any_invocable", "function_ref"],
            "absl/hash": ["hash"],
            "absl/memory": ["memory"],
            "absl/meta": ["type_traits"],
            "absl/numeric": ["bits", "int128"],
            "absl/random": ["random=absl_random_random"],
            "absl/status": ["status", "statusor"],
            "absl/strings": ["cord", "str_format", "strings"],
            "absl/time": ["time"],
            "absl/types": ["optional", "span"],
        },
    )
    _maybe(
        _debian_library,
        name = "spdlog",
        apt = "libspdlog-dev",
        packages = {"": ["spdlog"]},
    )
    _maybe(
        _debian_library,
        name = "googletest",
        apt = "libgtest-dev libgmock-dev",
        packages = {"": [
            "gtest=gmock+gtest",  # As in the registry: gtest brings gmock, and there is no :gmock.
            "gtest_main=gmock_main+gmock+gtest",
        ]},
    )
    _maybe(
        _debian_headers,
        name = "concurrentqueue",
        apt = "libconcurrentqueue-dev",
        folders = [
            "/usr/include/concurrentqueue",
            "/usr/include/concurrentqueue/moodycamel",  # From Debian 13 on.
        ],
        headers = [
            "concurrentqueue.h",
            "blockingconcurrentqueue.h",
            "lightweightsemaphore.h",
        ],
        target = "concurrentqueue",
    )

    # Bazel 4.2.3 itself asks for these three; unless given, it would download them.
    _maybe(
        _files,
        name = "rules_cc",
        files = {"cc/BUILD": "", "cc/defs.bzl": _native_rules([
            "cc_binary",
            "cc_import",
            "cc_library",
            "cc_proto_library",
            "cc_test",
            "cc_toolchain",
            "cc_toolchain_suite",
            "objc_library",
        ])},
    )
    _maybe(
        _files,
        name = "rules_java",
        files = {"java/BUILD": "", "java/defs.bzl": _native_rules([
            "java_binary",
            "java_import",
            "java_library",
            "java_runtime",
            "java_toolchain",
        ])},
    )
    _maybe(
        _files,
        name = "remote_coverage_tools",
        files = {"BUILD": _COVERAGE_TOOLS},
    )
