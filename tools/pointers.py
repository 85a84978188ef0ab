"""Checks that what comments and pages point to is there. tools/docs.py --check runs it.

1. A law, "L4": it has a heading in docs/laws.md.
2. A file, "docs.py" or "tools/docs.py": a file of the repository has that name, or its path ends so. A folder or target,
   "tests/unit" or "examples/echo", is there. `*` and NAME stand for anything.
3. A section of a page, `"Control" of docs/architecture.md`, `docs/architecture.md, "Control"`, `guide.md#hubs`: the page
   has that heading. A part of the heading from its beginning is enough.
4. A function, "PopDue()" or "TimerWheel::PopDue": each of its names stands somewhere in the code.
5. A test, `L1Ledger.EveryMessageOfAStormIsAccountedFor` or `L1Ledger.*` in a page: there is such a test, or such a suite.

In docs/decisions.md and CHANGELOG.md only the laws are checked: an entry names what was there on its day.
"""
import fnmatch
import os
import re
import subprocess

import comments

LAWS = "docs/laws.md"
HISTORY = {"docs/decisions.md", "CHANGELOG.md"}
ENDINGS = r"(?:h|cc|py|bzl|sh|md|bazel|out)"
FILE = re.compile(r"(?<![\w./:@<-])(?:\./)?((?:[\w.*+-]+/)*[\w*+-][\w.*+-]*\.%s)(?![\w/*-]|\.\w)" % ENDINGS)
FOLDER = re.compile(r"(?<![\w./:@<-])(\w+/[\w/*]*\w)(?![\w.*/-]|\.\w)")
SECTION = re.compile(r'"(?P<of>[^"]+)"\s+(?:of|in)\s+(?:docs/)?(?P<of_page>[\w/]+)\.md|'
                     r'section\s+(?P<bare>[^".,;]+?)\s+of\s+(?:docs/)?(?P<bare_page>[\w/]+)\.md|'
                     r'\b(?:docs/)?(?P<after_page>[\w/]+)(?:\.md)?,\s+(?:section\s+)?"(?P<after>[^"]+)"|'
                     r'(?:\b(?:docs/)?(?P<anchor_page>[\w/]+)\.md|\]\()#(?P<anchor>[\w-]+)')
FUNCTION = re.compile(r"(?<![\w.:>-])(?:(?:~?\w+::)*~?[A-Za-z_]\w*\(\)|[A-Z]\w+(?:::~?\w+)+)")
TEST = re.compile(r"`([A-Z]\w*)\.([A-Z]\w*|\*)`")

# What is not ours to have. Files: headers of others, and those of the workspaces that docs/embedding.md writes.
FOREIGN_FILE = re.compile(r"(?:absl|sys|linux|netinet|gtest|gmock|spdlog|include/net|modern|debian)/.*")
# Names: namespaces of others, and functions of the kernel, which the simulated one follows.
FOREIGN_NAME = re.compile(r"std|absl|moodycamel|(?:tcp|inet|unix|sk|sock|ep)_\w+")
# What stands for a name in "tests/fuzz/NAME_fuzz.cc".
PLACEHOLDER = re.compile(r"(?<![A-Z])(?:NAME|TARGET)(?![A-Z])")


def files():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
                            stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
    return [path for path in listed if os.path.isfile(path)]


def text_of(path):
    try:
        return open(path, encoding="utf-8").read()
    except UnicodeDecodeError:
        return ""


class Page:
    """The text of a page without its blocks of code and its markers, and its headings."""

    def __init__(self, text):
        self.headings = []
        lines, fence = [], None
        for line in text.split("\n"):
            mark = re.match(r"\s*(```+)", line)
            if mark:
                fence = None if fence else mark.group(1)
                line = ""
            elif fence or line.startswith("<!--"):
                line = ""
            elif line.startswith("#"):
                self.headings.append(line.lstrip("# ").strip())
            lines.append(line)
        self.text = "\n".join(lines)

    def line_at(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def anchors(self):
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in self.headings}

    def has(self, section):
        # An entry of docs/decisions.md has its day before its name.
        names = [re.sub(r"^\d{4}-\d\d-\d\d: ", "", heading) for heading in self.headings]
        return any(name.lower().startswith(section.strip("`").lower()) for name in names)


class Tree:
    def __init__(self):
        self.files = files()
        self.folders = {path.split("/")[0] for path in self.files if "/" in path}
        self.sources, self.pages = {}, {}
        self.names, self.tests = set(), set()
        for path in self.files:
            if path.startswith("tests/fuzz/corpus/"):
                continue
            text = text_of(path)
            if path.endswith(".md"):
                self.pages[path] = Page(text)
                continue
            split = comments.split(path, text)
            if split is None:
                continue
            self.sources[path] = split[0]
            self.names.update(re.findall(r"\w+", split[1]))
            for suite, name in re.findall(r"\bTEST(?:_F|_P)?\((\w+),\s*(\w+)\)", split[1]):
                self.tests.update([(suite, name), (suite, "*")])
        laws = self.pages.get(LAWS)
        self.laws = {heading.split()[0] for heading in laws.headings} if laws else set()

    def has_file(self, name):
        name = PLACEHOLDER.sub("*", name)
        if name.startswith("sluice/"):  # As in #include.
            name = name[len("sluice/"):]
        if "*" in name:
            return any(fnmatch.fnmatchcase("/" + path, "*/" + name) for path in self.files)
        return any(("/" + path).endswith("/" + name) for path in self.files)

    def has_folder(self, name):
        """Of a path without an ending: a folder, or a program or test by its target."""
        name = PLACEHOLDER.sub("*", name)
        return any(fnmatch.fnmatchcase(path, name + end) for path in self.files for end in ("", "/*", ".cc", ".h"))

    def page(self, name):
        return self.pages.get("docs/%s.md" % name) or self.pages.get("%s.md" % name)


def faults_in(tree, path, piece):
    """(offset, what is wrong) of each pointer of a comment or page that points to nothing."""
    text = piece.text
    for match in re.finditer(r"(?<![\w.])L\d+\b", text):
        if match.group(0) not in tree.laws:
            yield match.start(), "%s is no law of %s" % (match.group(0), LAWS)
    if path in HISTORY:
        return
    for match in FILE.finditer(text):
        name = match.group(1)
        if not FOREIGN_FILE.fullmatch(name) and not tree.has_file(name):
            yield match.start(), "no file is called %s" % name
    for match in FOLDER.finditer(text):
        name = match.group(1)
        if name.split("/")[0] in tree.folders and not tree.has_folder(name):
            yield match.start(), "there is no folder %s" % name
    for match in SECTION.finditer(text):
        found = match.groupdict()
        name = found["of_page"] or found["bare_page"] or found["after_page"] or found["anchor_page"]
        page = tree.page(name) if name else piece
        section = " ".join((found["of"] or found["bare"] or found["after"] or "").split())
        if not isinstance(page, Page):
            continue
        if section and not page.has(section):
            yield match.start(), "%s has no section \"%s\"" % (name, section)
        if found["anchor"] and found["anchor"] not in page.anchors():
            yield match.start(), "%s has no anchor #%s" % (name or path, found["anchor"])
    for match in FUNCTION.finditer(text):
        for name in re.findall(r"\w+", match.group(0)):
            if name not in tree.names and not FOREIGN_NAME.fullmatch(name):
                yield match.start(), "no code has the name %s, of %s" % (name, match.group(0))
    if path in tree.pages:
        for match in TEST.finditer(text):
            if match.groups() not in tree.tests:
                yield match.start(), "there is no test %s.%s" % match.groups()


def check(wrong):
    """Adds "FILE:LINE: what is wrong" of each pointer that points to nothing."""
    tree = Tree()
    pieces = {path: [page] for path, page in tree.pages.items()} | tree.sources
    for path in sorted(pieces):
        for piece in pieces[path]:
            wrong += ["%s:%d: %s" % (path, piece.line_at(offset), what)
                      for offset, what in sorted(faults_in(tree, path, piece))]
