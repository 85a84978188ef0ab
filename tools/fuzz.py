#!/usr/bin/env python3
"""Runs built fuzz targets, for `./sluice fuzz`.

usage: fuzz.py BIN_FOLDER TARGET [--seconds=N] [ARGUMENT_OF_LIBFUZZER...]
       fuzz.py BIN_FOLDER all [--seconds=N] [ARGUMENT_OF_LIBFUZZER...]

A target starts from its kept corpus (tests/fuzz/corpus/TARGET) and from the finds of earlier runs,
in .cache/fuzz/TARGET. An input that breaks a promise stays in .cache/fuzz/. If an argument is a
file, the target runs that input alone. The last line counts runs, or targets: `N passed, N failed`.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys

SECONDS = 60
CACHE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".cache", "fuzz"))
KEPT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "tests", "fuzz", "corpus"))


def run(bin_folder, target, seconds, arguments, show):
    """(exit code, runs, the file of the input that failed or None)."""
    program = os.path.join(bin_folder, target)
    found = os.path.join(CACHE, target)
    os.makedirs(found, exist_ok=True)
    command = [program, "-print_final_stats=1", "-timeout=20", "-artifact_prefix=%s/%s-" % (CACHE, target)]
    if any(os.path.isfile(argument) for argument in arguments):
        command += arguments
    else:
        command += ["-max_total_time=%d" % seconds, *arguments, found]
        command += [folder for folder in [os.path.join(KEPT, target)] if os.path.isdir(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if show:
            print(line, end="", flush=True)
    text = "".join(lines)
    runs = re.findall(r"stat::number_of_executed_units: +(\d+)", text)
    crash = re.findall(r"Test unit written to (\S+)", text)
    status = process.wait()
    if status != 0 and not show:
        print(text, end="")
    return status, int(runs[-1]) if runs else 0, crash[-1] if crash else None


def report(target, status, runs, crash):
    if crash:
        print("sluice: %s failed on the input in %s; to repeat it:\n  ./sluice fuzz %s %s" % (target, crash, target, crash))
    elif status != 0:
        print("sluice: %s failed" % target)
    print("%s: %d runs" % (target, runs), flush=True)


def main():
    bin_folder, target, *arguments = sys.argv[1:]
    seconds = SECONDS
    for argument in [argument for argument in arguments if argument.startswith("--seconds=")]:
        text = argument.partition("=")[2]
        if not text.isdecimal() or int(text) == 0:  # libFuzzer takes 0 as no limit.
            sys.exit("sluice: --seconds must be a number from 1 on, not '%s'" % text)
        seconds = int(text)
        arguments.remove(argument)
    if target != "all":
        print("sluice: new inputs are kept in %s" % os.path.join(CACHE, target), flush=True)
        status, runs, crash = run(bin_folder, target, seconds, arguments, show=True)
        report(target, status, runs, crash)
        return 0 if status == 0 else 1
    targets = sorted(os.path.basename(source)[:-len("_fuzz.cc")] for source in glob.glob(KEPT + "/../*_fuzz.cc"))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda each: run(bin_folder, each, seconds, arguments, show=False), targets)
        for each, result in zip(targets, results):
            report(each, *result)
            failed += result[0] != 0
    print("%d passed, %d failed" % (len(targets) - failed, failed))
    return 0 if failed == 0 else 1


sys.exit(main())
