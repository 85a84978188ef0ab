#!/usr/bin/env python3
"""Counts the test cases of one `bazel test`, from its build event file.

usage: count_tests.py BUILD_EVENT_JSON_FILE EXIT_CODE_OF_BAZEL

The last line printed is `N passed, N failed`; the exit code is 0 only when something passed and
nothing failed. Only results named in the events count: bazel-testlogs/ keeps those of other runs.
"""
import json
import sys
import urllib.parse
import xml.etree.ElementTree

BUILD_FAILED, TESTS_FAILED, NO_TESTS, INTERRUPTED = 1, 3, 4, 8


def last_attempts(events_path):
    """The final result of each test target, shard and run."""
    results = {}
    keep_going = False
    with open(events_path, encoding="utf-8") as events:
        for line in events:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # Bazel was killed while writing.
            key = event.get("id", {}).get("testResult")
            if key and "testResult" in event:
                place = (key["label"], key.get("run", 0), key.get("shard", 0))
                if place not in results or key.get("attempt", 0) >= results[place][0]:
                    results[place] = (key.get("attempt", 0), event["testResult"])
            options = event.get("optionsParsed", {}).get("cmdLine", [])
            keep_going = keep_going or "--keep_going" in options or "--keep_going=1" in options
    return {place: result for place, (_, result) in results.items()}, keep_going


def count_cases(result):
    """(passed, failed) test cases of one result. A target without a report is one case."""
    target_passed = result.get("status") == "PASSED"
    passed = failed = 0
    try:
        uri = next(o["uri"] for o in result.get("testActionOutput", []) if o["name"] == "test.xml")
        report = xml.etree.ElementTree.parse(urllib.parse.unquote(urllib.parse.urlparse(uri).path))
        for case in report.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.get("status") != "notrun" and case.get("result") not in ("skipped", "suppressed"):
                passed += 1
    except (StopIteration, OSError, xml.etree.ElementTree.ParseError):
        passed = 1 if target_passed else 0
    # A sanitizer's report at exit, a crash or a timeout fails a target whose cases all passed.
    if not target_passed and not failed:
        failed = 1
    return passed, failed


def main():
    bazel_status = int(sys.argv[2])
    results, keep_going = last_attempts(sys.argv[1])
    passed = failed = 0
    for result in results.values():
        counted = count_cases(result)
        passed += counted[0]
        failed += counted[1]
    if bazel_status == BUILD_FAILED:
        print("sluice: the build failed: see the first error above")
        if keep_going:
            failed += 1
        else:
            passed, failed = 0, 1
    elif bazel_status == NO_TESTS or (bazel_status == 0 and passed + failed == 0):
        print("sluice: no test ran")
    elif bazel_status == INTERRUPTED:
        print("sluice: interrupted")
        failed += 1
    elif bazel_status not in (0, TESTS_FAILED):
        print("sluice: bazel ended with exit code %d" % bazel_status)
        failed += 1
    elif bazel_status == TESTS_FAILED and not failed:
        failed = 1
    print("%d passed, %d failed" % (passed, failed))
    return 0 if passed and not failed else 1


sys.exit(main())
