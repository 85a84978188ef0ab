"""Builds programs: ours and the bare ones by Bazel, those of peers by the system's compilers."""
import glob
import hashlib
import os
import shutil
import subprocess

import packages
import peers
from places import CACHE, PEERS, ROOT, say

BAZEL = ["--config=opt", "--show_result=0", "--ui_event_filters=-info", "--noshow_progress"]
_built = {}  # Of Bazel: target to path.
_peers_programs = {}


def bazel(targets):
    """Builds the targets. Fails as a whole, as these are ours."""
    new = [target for target in targets if target not in _built]
    if not new:
        return
    say("building " + " ".join(new))
    program = os.environ.get("BAZEL", "bazel")
    subprocess.run([program, "build", *BAZEL, *new], cwd=ROOT, check=True)
    bin_folder = subprocess.run([program, "info", *BAZEL, "bazel-bin"], cwd=ROOT, check=True, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    for target in new:
        _built[target] = os.path.join(bin_folder, target.lstrip("/").replace(":", "/"))


def path_of(target):
    bazel([target])
    return _built[target]


def _fingerprint(folders, command):
    """Changes when the command or any file of the folders does."""
    text = hashlib.sha256(repr(command).encode())
    for folder in sorted({*folders, "bench/program"}):
        for path in sorted(glob.glob(os.path.join(ROOT, folder, "**", "*"), recursive=True)):
            if os.path.isfile(path) and os.path.basename(path) != "Cargo.lock" and "/target/" not in path:
                with open(path, "rb") as file:
                    text.update(path.encode() + file.read())
    return text.hexdigest()


def is_go(peer, kind):
    return any(path.endswith(".go") for path in peers.sources_of(peer, kind))


def _command(peer, kind, sources, output):
    """The compiler's command, its folder and its environment, and where the program is then."""
    extension = os.path.splitext(sources[0])[1]
    if extension == ".cc":
        return ["g++", "-std=c++20", "-O2", "-DNDEBUG", "-I.", *sources, "-o", output, *peer.libraries], ROOT, {}, output
    if extension == ".go":
        cache = {"GO111MODULE": "off", "GOCACHE": os.path.join(CACHE, "go"), "GOFLAGS": ""}
        return ["go", "build", "-o", output, *sources], ROOT, cache, output
    # Debian's own, as a newer one does not know Debian's crates. The lock file is made anew for them.
    folder = os.path.join(ROOT, PEERS, peer.name)
    target = os.path.join(CACHE, peer.name)
    environment = {"RUSTC": "/usr/bin/rustc", "CARGO_TARGET_DIR": target}
    return (["/usr/bin/cargo", "build", "--release", "--offline", "--bin", kind], folder, environment,
            os.path.join(target, "release", kind))


def _compile(peer, kind):
    sources = peers.sources_of(peer, kind)
    output = os.path.join(CACHE, peer.name, kind)
    os.makedirs(os.path.dirname(output), exist_ok=True)
    command, folder, environment, made_at = _command(peer, kind, sources, output)
    mark, stamp = _fingerprint({PEERS + "/" + peer.name, os.path.dirname(sources[0])}, command), output + ".made_of"
    if os.path.exists(made_at) and os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == mark:
        return made_at
    if shutil.which(command[0]) is None:
        say("%s is skipped: no %s here" % (peer.name, command[0]))
        return None
    say("building %s of %s" % (kind, peer.name))
    made = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode != 0:
        say("%s is skipped: %s\n%s" % (peer.name, " ".join(command), made.stdout[-2000:]))
        return None
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(mark)
    return made_at


def program(peer, kind):
    """The path of the peer's program, or None, with the reason on stderr. Says it once."""
    if kind in peer.targets:
        return path_of(peer.targets[kind])
    if (peer.name, kind) not in _peers_programs:
        if not packages.install(peer.packages):
            say("%s is skipped" % peer.name)
            path = None
        elif kind in peer.commands:
            path = shutil.which(peer.commands[kind][0])
            if path is None:
                say("%s is skipped: no %s here" % (peer.name, peer.commands[kind][0]))
        else:
            path = _compile(peer, kind)
        _peers_programs[peer.name, kind] = path
    return _peers_programs[peer.name, kind]
