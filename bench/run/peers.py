"""The table of programs that are measured, and what each needs.

A peer has a program for a kind of work ("echo") if it has a target of Bazel for it, a source in its folder of
bench/peers that is named like the kind (in C++, Go or Rust), or a command. Everything else finds its way
from here: a new source is a new program.
"""
import os
from dataclasses import dataclass, field

from places import PEERS, ROOT


@dataclass(frozen=True)
class Peer:
    name: str
    packages: tuple = ()  # Debian's.
    targets: dict = field(default_factory=dict)  # Kind to target of Bazel.
    libraries: tuple = ()  # What g++ links.
    commands: dict = field(default_factory=dict)  # Kind to the command of a server that is installed.
    arguments: dict = field(default_factory=dict)  # Kind to more arguments of a program of ours.


def _bazel(folder, *kinds):
    return {kind: "//%s:%s" % (folder, kind) for kind in kinds}


BARE = "bench/peers/bare"
ALL = [
    Peer("sluice", targets={**_bazel("examples", "echo", "relay"), **_bazel("bench/servers", "http", "fan_out")}),
    Peer("bare", targets=_bazel(BARE, "echo", "http", "fan_out")),
    Peer("bare_splice", targets=_bazel(BARE, "relay"), arguments={"relay": ("--how=splice",)}),
    Peer("bare_copy", targets=_bazel(BARE, "relay"), arguments={"relay": ("--how=copy",)}),
    Peer("asio", packages=("libasio-dev",), libraries=("-pthread",)),
    Peer("libuv", packages=("libuv1-dev",), libraries=("-luv",)),
    Peer("libevent", packages=("libevent-dev",), libraries=("-levent_core",)),
    Peer("go", packages=("golang-go",)),
]
BY_NAME = {peer.name: peer for peer in ALL}


def source_of(peer, kind):
    """The source of the peer's program, or None. Bazel knows those of its targets."""
    if peer.targets:
        return None
    for extension in (".cc", ".go", ".rs"):
        path = os.path.join(PEERS, peer.name, kind + extension)
        if os.path.exists(os.path.join(ROOT, path)):
            return path
    return None


def has(peer, kind):
    return kind in peer.targets or kind in peer.commands or source_of(peer, kind) is not None
