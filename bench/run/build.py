"""Builds programs: ours and the bare ones by Bazel, those of peers by the system's compilers."""
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


def _fingerprint(folder, command):
    """Changes when the command or any file of the folder does."""
    text = hashlib.sha256(repr(command).encode())
    for path, folders, files in sorted(os.walk(os.path.join(ROOT, folder))):
        folders[:] = [name for name in folders if name != "target"]
        for name in sorted(files):
            with open(os.path.join(path, name), "rb") as file:
                text.update(file.read())
    return text.hexdigest()


def is_go(peer, kind):
    return (peers.source_of(peer, kind) or "").endswith(".go")


def _command(peer, kind, source, output):
    """The compiler's command, its folder and its environment."""
    extension = os.path.splitext(source)[1]
    if extension == ".cc":
        return (["g++", "-std=c++20", "-O2", "-DNDEBUG", "-I.", source, "-o", output, *peer.libraries], ROOT, {})
    if extension == ".go":
        cache = {"GO111MODULE": "off", "GOCACHE": os.path.join(CACHE, "go"), "GOFLAGS": ""}
        return (["go", "build", "-o", output, source], ROOT, cache)
    raise ValueError(source)


def _compile(peer, kind):
    source = peers.source_of(peer, kind)
    output = os.path.join(CACHE, peer.name, kind)
    os.makedirs(os.path.dirname(output), exist_ok=True)
    command, folder, environment = _command(peer, kind, source, output)
    mark, stamp = _fingerprint(os.path.join(PEERS, peer.name), command), output + ".made_of"
    if os.path.exists(output) and os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == mark:
        return output
    if shutil.which(command[0]) is None:
        say("%s is skipped: no %s here" % (peer.name, command[0]))
        return None
    say("building " + source)
    made = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode != 0:
        say("%s is skipped: %s\n%s" % (peer.name, " ".join(command), made.stdout[-2000:]))
        return None
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(mark)
    return output


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
