"""The table of workloads: what is measured, beside which limit, and what is wanted."""
from dataclasses import dataclass

import messages
import peers

UNITS = {"us": 1e6, "ns": 1e9, "s/GB": 1e9, "us/MB": 1e12, "B": 1, "MiB": 2**-20, "wake-ups": 1}


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    kind: str  # The peers' programs of this kind take part.
    operations: int  # In a round.
    load: tuple = ()  # The kind of load and its flags; none: the program needs no load, and measures itself.
    unit: str = "us"
    figure: str = "processor"  # `processor` or `wall` seconds for an operation, or a name in the load's JSON.
    workers: int = 1
    limit: str = "bare"
    wanted: float = None  # At most this many times what `against` names; None: nothing is wanted.
    against: str = "limit"  # Or `best` (peer), or a peer's name, or `itself`: the figure, and no ratio.
    only: tuple = ()  # If not empty, the peers that take part.
    without: tuple = ()  # Peers that take no part.
    upstream: str = ""  # `load`: the load is the upstream of the server, too; `echo`: a bare echo beside the load.
    arguments: tuple = ()  # More arguments of our own servers.
    program_workload: str = ""  # Its name in a program that needs no load, where it is not the second part of `name`.
    instructions: bool = True  # Whether an operation is one that can be counted.

    def workload_of_program(self):
        return self.program_workload or self.name.split("/")[1]

    def figure_of(self, result):
        if self.figure in ("processor", "wall"):
            return result[self.figure + "_seconds"] / result["operations"] * UNITS[self.unit]
        return result[self.figure] * UNITS[self.unit]


def _echo():
    for connections, wanted in ((1, 1.08), (128, 1.00), (1000, 1.05)):
        yield Workload("echo/64B/%d" % connections, "echo of 64 B, %d connections" % connections, "echo", 60_000,
                       ("echo", "--connections=%d" % connections, "--bytes=64"), wanted=wanted)
    yield Workload("echo/16KiB/128", "echo of 16 KiB, 128 connections", "echo", 30_000,
                   ("echo", "--connections=128", "--bytes=16384"), wanted=1.05)


def _http():
    for connections, wanted in ((1, 1.08), (128, 1.05), (1000, 1.05)):
        yield Workload("http/%d" % connections, "HTTP hello, %d connections" % connections, "http", 60_000,
                       ("http", "--connections=%d" % connections), wanted=wanted)
    for connections in (1, 128):
        yield Workload("http/pipelined/%d" % connections, "HTTP hello, %d connections, 16 requests at once" % connections,
                       "http", 320_000, ("http", "--connections=%d" % connections, "--pipeline=16"), wanted=1.15)


def _fan_out():
    for subscribers, saturated, paced in ((100, 1.15, 1.08), (1000, 1.15, 1.08)):
        load = ("fan_out", "--subscribers=%d" % subscribers)
        yield Workload("fan_out/%d/saturated" % subscribers, "64 B to %d subscribers, as fast as can be" % subscribers,
                       "fan_out", 5_000_000, (*load, "--burst=256", "--ahead=4"), wanted=saturated)
        yield Workload("fan_out/%d/paced" % subscribers, "64 B to %d subscribers, one message on its way" % subscribers,
                       "fan_out", 400_000, (*load, "--burst=1", "--ahead=1"), wanted=paced)


def _relay():
    yield Workload("relay/64B/128", "relay of 64 B there and back, 128 connections", "relay", 60_000,
                   ("echo", "--connections=128", "--bytes=64"), upstream="echo", limit="bare_copy", wanted=1.20)
    for connections, wanted in ((1, 1.10), (64, 1.15)):
        yield Workload("relay/bulk/%d" % connections, "relay of bytes, one way, %d connections" % connections, "relay",
                       1_000_000_000, ("bulk", "--connections=%d" % connections), unit="s/GB", upstream="load",
                       limit="bare_splice", wanted=wanted, instructions=False)
    yield Workload("relay/memory", "user memory of a relayed pair, of 10,000 or as many as may be open", "relay", 10_000,
                   ("pairs", "--connections=10000"), unit="B", figure="bytes_each", upstream="load", limit="bare_copy",
                   wanted=1024, against="itself",
                   without=("bare_splice", "socat", "haproxy", "go"), instructions=False)


def _connections():
    yield Workload("connections/churn", "connect, one byte there and back, reset", "echo", 20_000, ("churn",), wanted=1.06)
    yield Workload("connections/memory", "user memory of an idle connection, of 10,000", "echo", 10_000,
                   ("idle", "--connections=10000"), unit="B", figure="bytes_each", wanted=256,
                   against="itself", instructions=False)
    yield Workload("connections/rest", "wake-ups in 10 s with 1,000 idle connections", "echo", 10,
                   ("rest", "--connections=1000", "--seconds=10"), unit="wake-ups", figure="sleeps", wanted=0,
                   against="itself", instructions=False)


def _file():
    yield Workload("file", "a file of 6.5 MB that is in memory, 4 connections", "file", 400_000_000,
                   ("file", "--file=" + peers.FILE), unit="us/MB", limit="sluice_send", instructions=False)


def _stopped():
    more = {"unit": "MiB", "figure": "grown_bytes", "instructions": False}
    yield Workload("stopped/echo", "100 MB at a reader that has stopped: growth of the server's memory", "echo",
                   100_000_000, ("stopped_echo",), only=("sluice",), **more)
    yield Workload("stopped/chat", "100 MB said in a chat where one of three has stopped: growth of its memory", "chat",
                   100_000_000, ("stopped_chat",), only=("sluice",), **more)


def _alone(kind, name, workers, title, operations, **more):
    return Workload("%s/%s/%d" % (kind, name, workers), "%s, %d worker%s" % (title, workers, "s" * (workers > 1)), kind,
                    operations, workers=workers, **{"unit": "ns", "figure": "wall", **more})


def _calls():
    yield _alone("calls", "ask", 1, "question and answer", 1_000_000)
    yield _alone("calls", "ask", 2, "question and answer", 200_000, instructions=False)
    yield _alone("calls", "in_flight", 1, "a message of 64 B, 100 on their way", 4_000_000)
    yield _alone("calls", "parking", 1, "a message of 64 B to a full mailbox", 4_000_000)
    yield _alone("calls", "outside", 1, "a message of 64 B from a thread outside", 1_000_000, instructions=False)


def all_of_them():
    return [*_echo(), *_http(), *_relay(), *_fan_out(), *_connections(), *_file(), *_stopped(), *_calls(),
            *messages.all_of_them(Workload, _alone)]


def peers_of(workload):
    """The peers that have a program for the workload, Sluice first and the limit second."""
    found = [peer for peer in peers.ALL if peers.has(peer, workload.kind)]
    return [peer for peer in found
            if (not workload.only or peer.name in workload.only) and peer.name not in workload.without]
