"""Counts what a program does for an operation: user instructions, system calls and allocations.

Each program runs twice, in a tool, for two numbers of operations. The difference leaves out its start and its end. A
warm-up is a tenth of the operations, and belongs to them.
"""
import mmap
import os
import re
import tempfile

import build
import packages
import rounds
from places import CACHE, say
from servers import Failed

MALLOC_COUNT = "//bench/load:malloc_count.so"
KINDS = ("instructions", "system_calls", "allocations")
PACKAGES = ("valgrind", "strace")
WITH_WARM_UP = 1.1
SHORTER = 20  # Than a round that is timed: valgrind slows a program some 50 times.


def _instructions(run, folder):
    """By valgrind. One thread runs at a time, in turn, so that a thread that spins does not starve the others."""
    log = os.path.join(folder, "callgrind")
    run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--fair-sched=try", "--log-file=" + log], None)
    with open(log, encoding="utf-8", errors="replace") as file:
        return int(re.search(r"Collected : (\d+)", file.read()).group(1))


def _system_calls(run, folder):
    """By strace. A server is slower in it, so that messages of many connections share more waits.

    Reads of a clock are left out: a worker looks from time to time how long it has run, so that their number follows
    the time and not the work.
    """
    log = os.path.join(folder, "strace")
    run(["strace", "-f", "-c", "-e", "trace=!clock_gettime,getrusage", "-o", log], None)
    with open(log, encoding="utf-8", errors="replace") as file:
        return int(re.search(r"^ *100\.00 +\S+ +\S+ +(\d+) .*total$", file.read(), re.M).group(1))


def _allocations(run, folder):
    page = os.path.join(folder, "page")
    with open(page, "wb") as file:
        file.write(bytes(4096))
    run(["env", "LD_PRELOAD=" + build.path_of(MALLOC_COUNT), "MALLOC_COUNT_FILE=" + page], None)
    with open(page, "rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as memory:
        return int.from_bytes(memory[:8], "little")


_TOOLS = {"instructions": _instructions, "system_calls": _system_calls, "allocations": _allocations}


def count(kind, workload, peer):
    """How many for an operation. None: this tool does not know this program."""
    operations = workload.operations // SHORTER
    if kind == "allocations" and build.is_go(peer, workload.kind):
        return None  # Go's own allocator.
    if kind != "allocations" and not packages.install(PACKAGES):
        raise Failed("valgrind and strace are missing")
    found = []
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for number in (operations, 3 * operations):
            done = []
            found.append((_TOOLS[kind](lambda wrap, environment: done.append(
                rounds.run(workload, peer, number, wrap, environment)), folder), done[0]["operations"]))
    (first, less), (second, more) = found
    return (second - first) / (more - less) / WITH_WARM_UP


def table(workload, programs):
    """The lines of a table, and the counts: peer's name to kind to number."""
    found = {}
    for peer in programs:
        found[peer.name] = {}
        for kind in KINDS:
            try:
                found[peer.name][kind] = count(kind, workload, peer)
            except Failed as error:
                say("%s: %s: %s: %s" % (workload.name, peer.name, kind, error))
                found[peer.name][kind] = None
    lines = ["## %s: %s" % (workload.name, workload.title), "", "counted for an operation", "",
             "| program | user instructions | system calls | allocations |", "|---|--:|--:|--:|"]
    for name, kinds in sorted(found.items(), key=lambda item: item[1]["instructions"] or float("inf")):
        lines.append("| %s | %s |" % (name, " | ".join("-" if kinds[kind] is None else form % kinds[kind]
                                                     for kind, form in zip(KINDS, ("%.0f", "%.3f", "%.4f")))))
    return lines, found
