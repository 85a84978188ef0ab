#!/usr/bin/env python3
"""Compiles what is wrong, and reads what the compiler says.

  tools/compile_errors.py [--compiler=g++,clang++] [--show] [NAME...]

Each file of tests/compile_errors has one mistake. Its first line is a comment with a phrase that the compiler's
first error contains. There is only one error, and at most 12 lines of output. --show prints them. A file whose name
ends with _gxx is for g++ only: it would compile with clang++. The last line is `N passed, N failed`.
"""

import argparse
import concurrent.futures
import glob
import os
import shutil
import sys
import tempfile

import headers

LINES_MAX = 12
HEADER = "sluice.h"


def precompile(compiler, folder):
    """Reads sluice.h once for all files. Answers the flags that make the compiler use that."""
    os.makedirs(f"{folder}/{compiler}/sluice")
    made = f"{folder}/{compiler}/sluice/{HEADER}.gch"
    code, output = headers.compile_header(compiler, ["-std=c++20"], f"{folder}/sluice/{HEADER}", made, folder)
    if code != 0:
        sys.exit(f"{compiler}: {output}")
    return ["-include-pch", made] if compiler.startswith("clang") else [f"-I{folder}/{compiler}"]


def look(path, compiler, precompiled, include_folder):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    phrase = text.splitlines()[0].removeprefix("// ")
    code, output = headers.compile_text(compiler, precompiled + ["-std=c++20"], text, include_folder)
    lines = output.splitlines()
    errors = [line for line in lines if "error: " in line]
    faults = []
    if code == 0:
        faults.append("it compiles")
    elif phrase not in errors[0]:
        faults.append(f"the first error lacks: {phrase}")
    if len(errors) > 1:
        faults.append(f"{len(errors)} errors")
    # With a precompiled header g++ does not say that sluice.h was included from the user's file: a line each.
    unsaid = 0 if compiler.startswith("clang") else sum(line.endswith(":") and "included from" in line for line in lines)
    if len(lines) + unsaid > LINES_MAX:
        faults.append(f"{len(lines) + unsaid} lines")
    return f"{compiler}: {os.path.basename(path)}", faults, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="g++,clang++")
    parser.add_argument("--show", action="store_true", help="print what the compilers say")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these files, without .cc")
    arguments = parser.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    paths = sorted(glob.glob(f"{root}/tests/compile_errors/*.cc"))
    if arguments.names:
        paths = [path for path in paths if os.path.basename(path)[:-3] in arguments.names]
    compilers = [compiler for compiler in arguments.compiler.split(",") if shutil.which(compiler)]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        os.symlink(root, f"{folder}/sluice")
        flags = dict(zip(compilers, pool.map(lambda compiler: precompile(compiler, folder), compilers)))
        jobs = [
            pool.submit(look, path, compiler, flags[compiler], folder)
            for compiler in compilers
            for path in paths
            if not (path.endswith("_gxx.cc") and compiler.startswith("clang"))
        ]
        for job in jobs:
            name, faults, lines = job.result()
            if faults or arguments.show:
                print(f"{'FAILED ' if faults else ''}{name}: {'; '.join(faults) or len(lines)}", *lines[:40], sep="\n  ")
            passed += not faults
            failed += bool(faults)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
