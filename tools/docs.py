#!/usr/bin/env python3
"""Keeps docs/*.md and README.md true to the code they show.

usage: tools/docs.py           updates the pages
       tools/docs.py --check   prints what is wrong; exit code 1 if anything is

1. A code block behind the line `<!-- FILE -->` is that file, complete.
2. docs/limits.md has a row for each field of an `...Options` struct in core/ and actors/, and for
   each constant there and in protocols/ with a name of a bound or a time; its default is that of
   the code. Units and reasons are written by hand; a new row gets the code's comment.
3. Each time among the options and policies has a test in tests/sim/time_limits_*_test.cc that
   judges it by its name, `TimeLimit x(simulation, "NAME", ...)`: it acts not too early, and
   promptly. (Only --check looks for these tests.)
4. The laws, files, sections, functions and tests that comments and pages name exist:
   tools/pointers.py. (Only --check looks for them, and only in a git repository: a test under
   Bazel sees only a part of the files.)
5. docs/cookbook.md has the number of lines of code of each file that it names in its table, and a row
   for each program of cookbook/.
"""
import glob
import os
import re
import sys

import pointers

LIMITS = "docs/limits.md"
COOKBOOK = "docs/cookbook.md"
DOCS = ["README.md", "docs/guide.md", "docs/testing.md", "CONTRIBUTING.md"]
FENCES = {".cc": "cpp", ".h": "cpp", ".bazel": "python", "WORKSPACE": "python"}
# A constant whose name has one of these words is a bound or a time.
BOUND = re.compile(r"^k\w*(Max|Min|Ms|Ns|Bytes|Kept|PerTurn)(?![a-z])\w*$")
# Parts of a format or of an algorithm, and fields that bound nothing.
NO_BOUNDS = {"kMallocHeaderBytes", "kOverheadBytes", "kExactNs", "kConnectionBytes", "name", "missed_notice",
             "filter", "kSecondNs", "kNobodyMs"}


TIME_TESTS = "tests/sim/time_limits_*_test.cc"


# --- Code blocks.

def with_blocks(text, path, wrong):
    """The text, each marked block replaced by its file."""
    def block(match):
        name = match.group(1)
        if not os.path.exists(name):
            wrong.append("%s: %s is not there" % (path, name))
            return match.group(0)
        code = open(name, encoding="utf-8").read().rstrip("\n")
        base = os.path.basename(name)
        fence = FENCES.get(os.path.splitext(base)[1] or base, "")
        made = "<!-- %s -->\n\n```%s\n%s\n```\n" % (name, fence, code)
        if made != match.group(0):
            wrong.append("%s: the block of %s is not that file" % (path, name))
        return made
    return re.sub(r"<!-- (\S+) -->\n+```\w*\n(?:.*?\n)??```\n", block, text, flags=re.S)


# --- Limits.

def number(expression, known):
    """The value of a constant expression of the code, or None."""
    text = re.sub(r"(?<=\d)'(?=\d)", "", expression)
    text = re.sub(r"int64_t\{(\d+)\}|size_t\{(\d+)\}", lambda m: m.group(1) or m.group(2), text)
    text = re.sub(r"\b\w+::(k\w+)", r"\1", text)
    text = re.sub(r"\bint64_t\{(\w[\w +*]*)\}", r"(\1)", text)
    text = re.sub(r"\bsizeof\(sockaddr_un::sun_path\)", "108", text)
    text = text.replace("INT32_MAX", str(2**31 - 1)).replace("INT64_MAX", str(2**63 - 1))
    text = re.sub(r"\bk[A-Z]\w*", lambda m: str(known.get(m.group(0), m.group(0))), text)
    if not re.fullmatch(r"[\d\s+*()<>/-]+", text):
        return None
    return int(eval(text.replace("/", "//")))  # Digits and operators only.


def in_bytes(value):
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size and value % size == 0:
            return "%s %s" % (format(value // size, ","), unit)
    return "%s" % format(value, ",")


def default_of(name, expression, known):
    """The default, in the words of the table."""
    if expression in ("", "{}"):
        return "none" if expression == "" else "empty"
    duration = re.fullmatch(r"absl::(\w+)\(([\d.']*)\)", expression)
    if duration:
        if duration.group(1).startswith("Infinite"):
            return "inf"
        if duration.group(1).startswith("Zero"):
            return "0"
        units = {"Minutes": "min", "Seconds": "s", "Milliseconds": "ms", "Microseconds": "us"}
        return "%s %s" % (duration.group(2).replace("'", ","), units[duration.group(1)])
    enum = re.fullmatch(r"\w+::k(\w+)", expression)
    if enum and not BOUND.match("k" + enum.group(1)):
        return re.sub(r"(?<!^)(?=[A-Z])", "_", enum.group(1)).lower()
    if re.fullmatch(r'"[^"]*"', expression):
        return expression[1:-1] or "empty"
    value = number(expression, known)
    if value is None:
        return expression
    if re.search(r"bytes|Bytes|kDiscardMax|kGatherMax|kReadHeadroom|kMemory", name) and value > 0:
        return in_bytes(value)
    return format(value, ",")


def comments_of(lines, index, trailing):
    """The comment of a field: behind it, or in the lines above it."""
    if trailing:
        return trailing.strip()
    above = []
    while index > 0 and lines[index - 1].strip().startswith("//"):
        index -= 1
        above.insert(0, lines[index].strip()[2:].strip())
    return " ".join(above)


def statements(lines):
    """(index of the first line, text without comments, comment behind it) of each statement."""
    index = 0
    while index < len(lines):
        start, text, trailing = index, "", []
        while index < len(lines):
            code, _, comment = lines[index].partition("//")
            text += " " + code.strip()
            if code.strip() and comment:
                trailing.append(comment.strip())
            index += 1
            if not code.strip() or code.rstrip().endswith((";", "{", "}", ":")):
                break
        yield start, text.strip(), " ".join(trailing)


def bounds(known):
    """{(file, name): (default, comment)} of each row that the table must have."""
    found = {}
    paths = sorted(p for d in ("core", "actors", "protocols") for e in ("h", "cc")
                   for p in glob.glob("%s/**/*.%s" % (d, e), recursive=True))
    for path in paths:
        lines = open(path, encoding="utf-8").read().split("\n")
        struct = None
        for start, text, trailing in statements(lines):
            comment = comments_of(lines, start, trailing)
            opening = re.match(r"struct (\w*(?:Options|Policy)) \{$", text)
            if opening:
                struct = opening.group(1)
            elif text.startswith("};") or text == "}":
                struct = None
            constant = re.match(r"(?:inline |static )*constexpr [\w:]+ (k\w+)\s*=\s*(.*);", text)
            if constant and BOUND.match(constant.group(1)) and constant.group(1) not in NO_BOUNDS:
                name, expression = constant.groups()
                known.setdefault(name, number(expression, known))
                found[(path, name)] = (default_of(name, expression, known), comment)
            field = re.match(r"([\w:]+(?:<.*>)?) (\w+)(?: = (.*?)|(\{\}))?;$", text)
            if struct and field and not text.startswith(("return ", "static ", "using ")):
                name = field.group(2)
                if name in NO_BOUNDS:
                    continue
                default = default_of(name, field.group(3) or field.group(4) or "", known)
                if field.group(3) is None and field.group(1) == "std::string":
                    default = "empty"
                found[(path, name)] = (default, comment)
    return found


def limits_text(text, wrong):
    found = bounds({})
    out, seen = [], set()
    for line in text.split("\n"):
        row = re.match(r"\| `(\w+)` \| (\S+) \| ([^|]*) \| ", line)
        if row:
            key = (row.group(2), row.group(1))
            if key not in found:
                wrong.append("%s: %s is not in %s" % (LIMITS, key[1], key[0]))
                continue
            seen.add(key)
            if row.group(3).strip() != found[key][0]:
                wrong.append("%s: %s is %s in %s" % (LIMITS, key[1], found[key][0], key[0]))
                line = "| `%s` | %s | %s | " % (key[1], key[0], found[key][0]) + line[row.end():]
        out.append(line)
    missing = [key for key in found if key not in seen]
    for path, name in missing:
        wrong.append("%s: %s of %s is missing" % (LIMITS, name, path))
        default, comment = found[(path, name)]
        marker = "<!-- new constants -->" if name[0] == "k" else "<!-- new options -->"
        unit = "bytes" if "bytes" in name.lower() else ("ms" if name.endswith("Ms") else "")
        row = "| `%s` | %s | %s | %s | %s |" % (name, path, default, unit, comment.replace("|", "/"))
        out.insert(out.index(marker), row)
    return "\n".join(out)


def untested_times(wrong):
    """Reports each time without a test that judges it by its name."""
    tests = "".join(open(p, encoding="utf-8").read() for p in sorted(glob.glob(TIME_TESTS)))
    judged = set(re.findall(r'TimeLimit \w+\(\s*(?:\w+\.)?simulation,\s*"(\w+)"', tests))
    times = {}
    for path in sorted(p for d in ("core", "actors", "protocols")
                       for p in glob.glob(d + "/**/*.*", recursive=True)):
        text = open(path, encoding="utf-8").read()
        for struct in re.finditer(r"struct \w*(?:Options|Policy) \{(.*?)\n\};", text, re.S):
            for name in re.findall(r"\n  absl::Duration (\w+) =", struct.group(1)):
                times[name] = path
    for name in sorted(set(times) - judged):
        wrong.append("%s: %s of %s is a time, and no test there judges it by its name: TimeLimit"
                     % (TIME_TESTS, name, times[name]))


# --- Cookbook.

def cookbook_text(text, wrong):
    """The page, with the lines of code of each file in its table."""
    for path in sorted(glob.glob("cookbook/*.cc") + glob.glob("cookbook/*.h")):
        lines = [line.strip() for line in open(path, encoding="utf-8")]
        count = sum(1 for line in lines if line and not line.startswith("//"))
        row = re.search(r"^\| %s \| (\d+) \|" % re.escape(path), text, flags=re.M)
        if not row:
            wrong.append("%s: no row for %s" % (COOKBOOK, path))
        elif int(row.group(1)) != count:
            wrong.append("%s: %s has %d lines of code" % (COOKBOOK, path, count))
            text = text[:row.start(1)] + str(count) + text[row.end(1):]
    return text


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    wrong = []
    for path in DOCS + [LIMITS, COOKBOOK]:
        before = open(path, encoding="utf-8").read()
        text_of = {LIMITS: limits_text, COOKBOOK: cookbook_text}.get(path)
        after = text_of(before, wrong) if text_of else with_blocks(before, path, wrong)
        if after != before and not check:
            open(path, "w", encoding="utf-8").write(after)
    if check:
        untested_times(wrong)
        if os.path.exists(".git"):
            pointers.check(wrong)
    for line in wrong:
        print(line)
    if check and wrong:
        print("tools/docs.py updates code blocks and tables; mend the rest by hand")
        sys.exit(1)


main()
