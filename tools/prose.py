#!/usr/bin/env python3
"""Holds the comments of our C++ to plain English, as far as a script can.

usage: tools/prose.py   prints the counts; where a limit is passed, the places too, and the exit code is 1

1. A comment begins with its subject or its verb. Behind a bare "What", "Of" or "It" a reader has to look for the noun
   elsewhere.
2. "Who", "whom", "whose" and "whoever" are said of people, not of things.
3. A banner ("// --- Name.") stands on one line: the formatter breaks one that is too long.
"""
import os
import re
import subprocess
import sys

import comments

BARE = re.compile(r"(?:Of|What|Who|Whoever|Whose|One|It|Its|So|That|This that)\b")
WHO = re.compile(r"\b(?:(\w+),? )?(?<!/)\b(who|whom|whose|whoever)\b", re.I)  # Not the command /who.
# A "who" behind one of these is said of people.
PEOPLE = set("""administrator anybody anyone attacker author developer engineer everybody everyone human maintainer operator
    people person programmer reader reviewer somebody someone user""".split())
BARE_PERCENT_MAX = 3
WHO_PERCENT_MAX = 1.5
BROKEN_BANNERS_MAX = 0


def who_of_a_thing(text):
    """The offset of the first such word, or None."""
    for match in WHO.finditer(text):
        before = (match.group(1) or "").lower()
        if before not in PEOPLE and before.removesuffix("s") not in PEOPLE:
            return match.start()
    return None


def is_broken_banner(comment):
    return comment.text.startswith("--- ") and comment.last > comment.line or comment.text == "---"


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    if sys.argv[1:]:
        sys.exit(__doc__)
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "*.h", "*.cc"],
                           stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    found = {"begin with a bare word": [], "say who, whom or whose of a thing": [], "are banners broken over lines": []}
    bare, who, banners = found.values()
    count = 0
    for path in filter(os.path.exists, files):
        for comment in comments.split(path, open(path, encoding="utf-8").read())[0]:
            count += 1
            place = "%s:%d: %s" % (path, comment.line, comment.text[:90])
            if BARE.match(comment.text):
                bare.append(place)
            offset = who_of_a_thing(comment.text)
            if offset is not None:
                who.append("%s:%d: %s" % (path, comment.line_at(offset), comment.text[max(0, offset - 30):offset + 60]))
            if is_broken_banner(comment):
                banners.append(place)
    limits = [count * BARE_PERCENT_MAX / 100, count * WHO_PERCENT_MAX / 100, BROKEN_BANNERS_MAX]
    passed = False
    for (what, places), limit in zip(found.items(), limits):
        if len(places) > limit:
            passed = True
            print("\n".join(places))
        print("%d of %d comments %s; at most %d may" % (len(places), count, what, limit))
    sys.exit(1 if passed else 0)


main()
