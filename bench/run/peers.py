"""The table of programs that are measured, and what each needs.

A peer has a program for a kind of work ("echo") if it has a target of Bazel for it, a source in its folder of
bench/peers that is named like the kind (in C++, Go or Rust), or a command. Everything else finds its way
from here: a new source is a new program.
"""
import glob
import os
from dataclasses import dataclass, field

import messages
from places import CACHE, PEERS, ROOT


@dataclass(frozen=True)
class Peer:
    name: str
    packages: tuple = ()  # Debian's.
    targets: dict = field(default_factory=dict)  # Kind to target of Bazel.
    wire: str = "plain"  # How a fan-out is spoken to.
    prefix: str = ""  # Of the names of workloads in its programs without a network.
    libraries: tuple = ()  # What g++ links.
    sources: dict = field(default_factory=dict)  # Kind to a glob of files that are not in its folder.
    commands: dict = field(default_factory=dict)  # Kind to the command of a server that is installed.
    arguments: dict = field(default_factory=dict)  # Kind to more arguments of a program of ours.


def _bazel(folder, *kinds):
    return {kind: "//%s:%s" % (folder, kind) for kind in kinds}


def _file(how):
    """The same server in several ways: each is a program of its own in the tables."""
    return {"targets": _bazel("bench/servers", "file"), "arguments": {"file": ("--file=" + FILE, "--how=" + how)}}


BARE = "bench/peers/bare"
FILE = os.path.join(CACHE, "file")
ALL = [
    Peer("sluice", targets={**_bazel("examples", "echo", "relay", "chat"), **_bazel("bench/servers", "http", "fan_out"),
                            **_bazel("bench/calls", "calls"),
                            **messages.targets({"messages": "//bench/sluice:messages",
                                                "savina": "//bench/savina/sluice:savina"})}),
    Peer("sluice_hello", targets={"http": "//cookbook:hello"}),
    Peer("sluice_send", **_file("send")),
    Peer("sluice_task", **_file("task")),
    Peer("sluice_pool", **_file("pool")),
    Peer("sluice_inline", **_file("inline")),
    Peer("bare", targets={**_bazel(BARE, "echo", "http", "fan_out"),
                          **messages.targets({"messages": "//bench/peers/bare_messages:messages"})}),
    Peer("bare_moodycamel", prefix="moodycamel_",
         targets=messages.targets({"messages": "//bench/peers/bare_messages:messages"})),
    Peer("bare_splice", targets=_bazel(BARE, "relay"), arguments={"relay": ("--how=splice",)}),
    Peer("bare_copy", targets=_bazel(BARE, "relay"), arguments={"relay": ("--how=copy",)}),
    Peer("asio", packages=("libasio-dev",), libraries=("-pthread",)),
    Peer("libuv", packages=("libuv1-dev",), libraries=("-luv",)),
    Peer("libevent", packages=("libevent-dev",), libraries=("-levent_core",)),
    Peer("caf", packages=("libcaf-dev",), libraries=("-lcaf_core", "-pthread"), sources={"savina": "bench/savina/caf/*.cc"}),
    Peer("go", packages=("golang-go",)),
    Peer("tokio", packages=("cargo", "rustc", "librust-tokio-dev")),
    Peer("nginx", packages=("nginx-light",),
         commands={"http": ("nginx", "-p", "{folder}", "-c", "{config}", "-e", "stderr")}),
    Peer("haproxy", packages=("haproxy",), commands=dict.fromkeys(("http", "relay"), ("haproxy", "-db", "-f", "{config}"))),
    Peer("socat", packages=("socat",), commands={"relay": (
        "socat", "-b65536", "TCP-LISTEN:{port},bind=127.0.0.1,fork,backlog=4096,nodelay", "TCP:{upstream},nodelay")}),
    Peer("redis", packages=("redis-server",), wire="redis", commands={"fan_out": (
        "redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--appendonly", "no", "--dir", "{folder}",
        "--client-output-buffer-limit", "pubsub 0 0 0")}),
    Peer("nats", packages=("nats-server",), wire="nats", commands={"fan_out": (
        "nats-server", "--addr", "127.0.0.1", "--port", "{port}")}),
]
BY_NAME = {peer.name: peer for peer in ALL}


def sources_of(peer, kind):
    """The files of the peer's program; none if it has no such program. Bazel knows those of its targets."""
    if peer.targets:
        return []
    folder = os.path.join(PEERS, peer.name)
    if os.path.exists(os.path.join(ROOT, folder, "Cargo.toml")):
        # The package has one main program, which is named in Cargo.toml, and others in src/bin.
        places = [os.path.join(folder, "src", "bin", kind + ".rs")]
        if kind == "messages":
            places.append(os.path.join(folder, "src", "main.rs"))
    else:
        places = [os.path.join(folder, kind + extension) for extension in (".cc", ".go")]
    for place in [peer.sources[kind]] if kind in peer.sources else places:
        found = sorted(glob.glob(os.path.join(ROOT, place)))
        if found:
            return [os.path.relpath(path, ROOT) for path in found]
    return []


def has(peer, kind):
    return kind in peer.targets or kind in peer.commands or bool(sources_of(peer, kind))
