#!/usr/bin/env python3
"""Compiles the public headers with a user's flags.

  tools/headers.py [--compiler=g++,clang++]

Our headers give no warning, whatever warnings a user's file enables: tests/headers/user.cc, and a file that
includes every public header, are compiled with the warnings below as errors. If C++20, exceptions or RTTI is
missing, the compiler prints one sentence, and stops. For that each header must include core/base/language.h first: its
text is checked, as compiling each header alone takes minutes, and sluice.h and some others are compiled without
these features. The last line is `N passed, N failed`.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

FOLDERS = ("core/*", "actors/*", "protocols", "sim/*")
WARNINGS = """-Werror -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wold-style-cast -Wcast-qual -Wcast-align -Wunused -Wextra-semi -Wundef -Wformat=2
  -Wdouble-promotion -Wimplicit-fallthrough""".split()
SENTENCES = (  # The missing feature, and the error for it.
    ("-std=c++17", "Sluice needs C++20: compile with -std=c++20"),
    ("-std=c++20 -fno-exceptions", "Sluice needs exceptions"),
    ("-std=c++20 -fno-rtti", "Sluice needs RTTI"),
)
STOP = "the compiler stops here"
LANGUAGE = "core/base/language.h"
ALONE = ("sluice.h", "core/base/check.h", "protocols/line_session.h", "sim/run/gtest.h")
INCLUDE = re.compile(r'^#include "sluice/(.*)"$', re.MULTILINE)


def public_headers(root):
    headers = [os.path.relpath(path, root) for folder in FOLDERS for path in glob.glob(f"{root}/{folder}/*.h")]
    return ["sluice.h"] + sorted(headers)


def run(command, text, include_folder):
    for folder in ("/usr/include/concurrentqueue", "/usr/include/concurrentqueue/moodycamel"):
        if os.path.isdir(folder):
            command += ["-isystem", folder]
    done = subprocess.run(command + [f"-I{include_folder}"], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def compile_text(compiler, flags, text, include_folder):
    return run([compiler, "-x", "c++", "-fsyntax-only"] + flags + ["-"], text, include_folder)


def compile_header(compiler, flags, header, made, include_folder):
    return run([compiler, "-x", "c++-header"] + flags + [header, "-o", made], "", include_folder)


def no_warning(compiler, name, text, include_folder):
    code, output = compile_text(compiler, ["-std=c++20"] + WARNINGS, text, include_folder)
    return f"{compiler}: no warning from {name}", code == 0, output


def one_sentence(compiler, header, lacks, sentence, include_folder):
    code, output = compile_text(compiler, lacks.split(), f'#include "sluice/{header}"\n', include_folder)
    errors = [line for line in output.splitlines() if "error:" in line]
    good = code != 0 and len(errors) == 2 and sentence in errors[0] and STOP in errors[1]
    return f"{compiler} {lacks}: one sentence from {header}", good, output or "it compiles"


def language_comes_first(header, root):
    """The first of our headers that it includes is core/base/language.h, or one that does. By induction each header does."""
    with open(f"{root}/{header}", encoding="utf-8") as file:
        ours = INCLUDE.findall(file.read())
    return f"{header} comes to include {LANGUAGE}", header == LANGUAGE or bool(ours), "it includes nothing of ours"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="g++,clang++")
    arguments = parser.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    headers = public_headers(root)
    with open(f"{root}/tests/headers/user.cc", encoding="utf-8") as file:
        user = file.read()
    everything = "".join(f'#include "sluice/{header}"\n' for header in headers)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        os.symlink(root, f"{folder}/sluice")
        results = [pool.submit(language_comes_first, header, root) for header in headers]
        for compiler in arguments.compiler.split(","):
            if shutil.which(compiler) is None:
                results.append(pool.submit(lambda c=compiler: (c, False, "it is not installed")))
                continue
            results.append(pool.submit(no_warning, compiler, "tests/headers/user.cc", user, folder))
            results.append(pool.submit(no_warning, compiler, "all public headers", everything, folder))
            for header in ALONE:
                for lacks, sentence in SENTENCES:
                    results.append(pool.submit(one_sentence, compiler, header, lacks, sentence, folder))
        for result in results:
            name, good, output = result.result()
            if good:
                passed += 1
                continue
            failed += 1
            print(f"FAILED {name}", *output.splitlines()[:12], sep="\n  ")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
