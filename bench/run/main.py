#!/usr/bin/env python3
"""Measures Sluice beside the limit and beside what a user would pick instead: bench/README.md.

The programs of a workload take turns, round by round, pinned: the server to the first processor, the load to the last.
What is missing is installed or built first; a peer that cannot be is skipped with a line that says why.
"""
import argparse
import fnmatch
import json
import os
import sys

sys.dont_write_bytecode = True

import build
import counts
import guard
import peers
import plot
import report
import rounds
import workloads
from places import CACHE, ROOT, say


def arguments():
    parser = argparse.ArgumentParser(prog="./sluice bench", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--only", default="*", metavar="GLOB,...", help="workloads: echo/*,relay/*")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each program (5)")
    parser.add_argument("--peers", default="", metavar="NAME,...", help="only these, beside Sluice and the limits")
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    parser.add_argument("--plots", action="store_true", help="draws each workload into docs/bench")
    parser.add_argument("--instructions", action="store_true",
                        help="counts user instructions, system calls and allocations, in place of times")
    parser.add_argument("--guard", action="store_true", help="counts for Sluice, and compares with bench/guard.json")
    parser.add_argument("--update", action="store_true", help="with --guard: writes bench/guard.json")
    parser.add_argument("--list", action="store_true", help="prints workloads and peers, and ends")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    if chosen.update and not chosen.guard:
        parser.error("--update goes with --guard")
    unknown = [name for name in chosen.peers.split(",") if name and name not in peers.BY_NAME]
    if unknown:
        parser.error("no such peer: %s; the peers are %s" % (", ".join(unknown), ", ".join(peers.BY_NAME)))
    return parser, chosen


def wanted_peers(workload, chosen):
    names = [name for name in chosen.peers.split(",") if name]
    return [peer for peer in workloads.peers_of(workload)
            if not names or peer.name in names or peer.name.startswith(("sluice", "bare"))]


def able_peers(workload, chosen):
    return [peer for peer in wanted_peers(workload, chosen)
            if build.program(peer, workload.kind) is not None and rounds.knows(peer, workload)]


def count(chosen, table):
    """As measure(), by counting."""
    figures = {}
    for workload in table:
        if not workload.instructions:
            continue
        programs = able_peers(workload, chosen)
        lines, figures[workload.name] = counts.table(workload, programs)
        print("\n".join(lines) + "\n", flush=True)
    return figures, False


def measure(chosen, table):
    """Prints a table for each workload. Returns all figures, and whether any program failed."""
    figures, any_failed = {}, False
    for workload in table:
        programs = able_peers(workload, chosen)
        say("%s: %s" % (workload.name, " ".join(peer.name for peer in programs)))
        results, failed = rounds.run_rounds(workload, programs, chosen.rounds)
        any_failed = any_failed or bool(failed)
        if not results:
            continue
        found = report.summary(workload, results)
        print("\n".join(report.table(workload, found)) + "\n", flush=True)
        if chosen.plots:
            say("drew " + plot.write(workload, found))
        figures[workload.name] = {"title": workload.title, "unit": workload.unit, "figure": workload.figure,
                                  "programs": found, "failed": failed, "verdict": report.verdict(workload, found)}
    return figures, any_failed


def main():
    os.chdir(ROOT)
    os.makedirs(CACHE, exist_ok=True)
    with open(peers.FILE, "wb") as file:
        file.write(bytes(range(251)) * (6_500_000 // 251))
    parser, chosen = arguments()
    if chosen.guard:
        return guard.run(chosen.update)
    everything = workloads.all_of_them()
    table = [workload for workload in everything
             if any(fnmatch.fnmatchcase(workload.name, glob) for glob in chosen.only.split(","))]
    if not table:
        parser.error("no workload matches --only=%s" % chosen.only)
    if chosen.list:
        for workload in table:
            print("%-24s %s: %s" % (workload.name, workload.title,
                                    " ".join(peer.name for peer in workloads.peers_of(workload))))
        return 0
    build.bazel([rounds.LOAD, *{peer.targets[workload.kind] for workload in table
                                for peer in wanted_peers(workload, chosen) if workload.kind in peer.targets}])
    figures, any_failed = (count if chosen.instructions else measure)(chosen, table)
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 1 if any_failed else 0


if __name__ == "__main__":
    sys.exit(main())
