"""The guard of continuous integration: counts what Sluice does for an operation, and compares with bench/guard.json.

Counts do not depend on the machine's speed, as times do. guard.json says what may differ, and why.
"""
import json
import os

import counts
import peers
import workloads
from places import ROOT, say
from servers import Failed

FILE = os.path.join("bench", "guard.json")
# Workload to what is counted of it, which is what is the same in each run. With many connections, how many messages
# share a wait follows the speed of the load. How many requests share a turn follows the time that they take. Two
# workers spin and sleep as the machine has it, so that of their messages only allocations are compared. Workers without
# connections have no system calls but those of their sleep.
ROWS = {
    "echo/64B/1": counts.KINDS,
    "echo/64B/128": ("allocations",),
    "http/1": counts.KINDS,
    "http/pipelined/1": ("system_calls", "allocations"),
    "fan_out/100/paced": counts.KINDS,
    "calls/in_flight/1": ("instructions", "allocations"),
    "calls/ask/1": ("instructions", "allocations"),
    "messages/message/1": ("instructions", "allocations"),
    "messages/create/1": ("instructions", "allocations"),
    "messages/one_producer/2": ("allocations",),
}


# Counts of one build differ by some per cent between runs, upwards, where a load was slow. So a count that is too high is
# counted again; what got dearer stays too high.
TRIES = 3


def _count(kind, workload):
    """A number; a Failed where it could not be counted."""
    say("counting %s of %s" % (kind, workload.name))
    try:
        return max(0.0, round(counts.count(kind, workload, peers.BY_NAME["sluice"]), 3))
    except Failed as error:
        return error


def _measure(kept):
    """Workload to kind to number; a Failed where it could not be counted."""
    by_name = {workload.name: workload for workload in workloads.all_of_them()}
    found = {}
    for name, kinds in ROWS.items():
        if name not in by_name:  # If guard.json has a count of it, that is a failure: run() sees it.
            continue
        found[name] = {}
        for kind in kinds:
            number = _count(kind, by_name[name])
            before = kept["counts"].get(name, {}).get(kind)
            for _ in range(1, TRIES):
                if before is None or not _judge(before, number, kept["allowed"][kind]):
                    break
                again = _count(kind, by_name[name])
                number = again if isinstance(number, Failed) or isinstance(again, Failed) else min(number, again)
            found[name][kind] = number
    return found


def _judge(kept, found, allowed):
    """None, or why the count fails."""
    if isinstance(found, Failed):
        return str(found)
    if kept is None:
        return "bench/guard.json has no number for it: ./sluice bench --guard --update"
    most = kept * (1 + allowed["percent"] / 100) + allowed["more"]
    return None if found <= most else "at most %.3f may be" % most


def _read():
    with open(os.path.join(ROOT, FILE), encoding="utf-8") as file:
        return json.load(file)


def run(update):
    """Prints a line for each count, and `N passed, N failed` at the end. Returns the exit code."""
    kept = _read()
    found = _measure(kept)
    passed = failed = 0
    for name in kept["counts"]:
        if name not in found:
            print("%-20s FAILED: bench/guard.json has counts of it, and there is no such workload" % name)
            failed += 1
    for name, kinds in found.items():
        for kind, number in kinds.items():
            before = kept["counts"].get(name, {}).get(kind)
            wrong = _judge(before, number, kept["allowed"][kind])
            if update and not isinstance(number, Failed):
                wrong = None
            print("%-20s %-13s %10s, kept %10s  %s" % (
                name, kind, "-" if isinstance(number, Failed) else "%.3f" % number,
                "-" if before is None else "%.3f" % before, "FAILED: " + wrong if wrong else "ok"), flush=True)
            passed, failed = passed + (not wrong), failed + bool(wrong)
    if update and not failed:
        with open(os.path.join(ROOT, FILE), "w", encoding="utf-8") as file:
            json.dump({**kept, "counts": found}, file, indent=2)
            file.write("\n")
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0
