"""The part of the table for programs without a network, messages and Savina. Their READMEs say what an operation is."""
import os

from places import ROOT

# Name, workers, operation, operations, what is wanted, and against what. A time is that of an operation.
MESSAGES = (
    ("message", 1, "a message of 64 B", 4_000_000, 0.5, "best"),
    ("ping_pong", 1, "round trip", 2_000_000, 0.4, "best"),
    ("ping_pong", 2, "round trip", 200_000, 1.2, "limit"),
    ("one_producer", 2, "a message of 64 B from the other worker", 2_000_000, 0.7, "go"),
    ("four_producers", 2, "a message of 64 B of four senders", 2_000_000, 0.8, "go"),
    ("ring", 1, "a hop in a ring of 1,000", 2_000_000, 0.35, "best"),
    ("ring", 2, "a hop in a ring of 1,000", 400_000, 1.2, "limit"),
    ("fork_join", 1, "a task of 64", 2_000_000, 0.55, "go"),
    ("fork_join", 2, "a task of 64", 1_000_000, 0.75, "go"),
    ("create", 1, "an actor created, one message, its end", 500_000, 0.5, "best"),
    ("create", 2, "an actor created, one message, its end", 500_000, 0.5, "best"),
)
SAVINA = (
    ("ping_pong", "round trip", 40_000), ("counting", "message", 1_000_000),
    ("fork_join_throughput", "message", 600_000), ("fork_join_create", "actor", 40_000),
    ("thread_ring", "hop", 100_000), ("chameneos", "meeting", 200_000), ("big", "ping", 2_400_000),
    ("philosophers", "meal", 200_000), ("dictionary", "request", 200_000), ("bounded_buffer", "item", 40_000),
    ("bank", "transfer", 50_000), ("sieve", "number", 100_000), ("all_pairs", "relaxation", 27_000_000),
    ("n_queens", "solution", 14_200),
)


def _there(target):
    return os.path.exists(os.path.join(ROOT, *target.lstrip("/").partition(":")[0].split("/"), "BUILD.bazel"))


def targets(kind_to_target):
    """Of these targets, those whose package is in this tree."""
    return {kind: target for kind, target in kind_to_target.items() if _there(target)}


def all_of_them(workload, alone):
    """Nothing where the programs are not in this tree."""
    found = []
    if _there("//bench/sluice:messages"):
        for name, workers, title, operations, wanted, against in MESSAGES:
            found.append(alone("messages", name, workers, title, operations, wanted=wanted, against=against,
                               instructions=workers == 1))
        found.append(alone("messages", "idle", 1, "memory of an idle actor", 1_000_000, unit="B", figure="bytes_each",
                           wanted=192, against="itself", instructions=False))
        found.append(alone("messages", "flood", 2, "peak of memory while a sender is faster than its receiver", 300_000,
                           unit="MiB", figure="peak_bytes", instructions=False))
    if _there("//bench/savina/sluice:savina"):
        for name, title, operations in SAVINA:
            for workers in (1, 2):
                found.append(alone("savina", name, workers, title, operations, program_workload="savina_" + name,
                                   instructions=False))
    return found
