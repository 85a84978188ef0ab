#!/usr/bin/env python3
"""Copies the workspace of docs/embedding.md from the page, builds its echo and talks to it.

usage: tools/fresh.py KIND [FOLDER [BAZEL-OPTION...]]   KIND: debian, modern

Builds with $BAZEL or `bazel`, in FOLDER, which must not exist, or in a temporary folder. A
BAZEL-OPTION is an option of `bazel build`. The last line is `N passed, N failed`.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
PAGE = os.path.join(ROOT, "docs", "embedding.md")
FILES = 3  # The page promises three.
PATIENCE_SECONDS = 30  # Otherwise a program that hangs would hang the check.


def write(kind, folder):
    """FOLDER/echo with the files of the page, and FOLDER/sluice, which is this repository."""
    with open(PAGE, encoding="utf-8") as page:
        blocks = re.findall(r"<!-- write (\w+)/(\S+) -->\n\n```\w*\n(.*?)```\n", page.read(), re.S)
    workspace = os.path.join(folder, "echo")
    os.makedirs(workspace)
    files = {name: text for of, name, text in blocks if of == kind}
    if len(files) != FILES:
        sys.exit("docs/embedding.md has %d files for %s, not %d" % (len(files), kind, FILES))
    for name, text in files.items():
        with open(os.path.join(workspace, name), "w", encoding="utf-8") as file:
            file.write(text)
    shutil.copy(os.path.join(ROOT, "examples", "echo.cc"), workspace)
    os.symlink(ROOT, os.path.join(folder, "sluice"))
    return workspace


def talk(program):
    """The reason why the program is no echo, or None."""
    with subprocess.Popen([program, "--listen=127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            signal.alarm(PATIENCE_SECONDS)
            line = process.stdout.readline()
            listening = re.fullmatch(r"listening on (.*):(\d+)\n", line)
            if not listening:
                return "it said %r" % line
            with socket.create_connection((listening.group(1), int(listening.group(2)))) as peer:
                peer.sendall(b"Hello, echo.")
                peer.shutdown(socket.SHUT_WR)
                heard = peer.makefile("rb").read()
            if heard != b"Hello, echo.":
                return "it answered %r" % heard
            process.terminate()
            if process.wait() != 0:
                return "its exit code is %d" % process.returncode
            return None
        finally:
            signal.alarm(0)
            process.kill()


def impatient(*_):
    raise TimeoutError("the program does not answer")


def check(kind, folder, options):
    workspace = write(kind, folder)
    bazel = [os.environ.get("BAZEL", "bazel"), "--output_base=" + os.path.join(folder, "output")]
    print("%s: %s" % (workspace, ", ".join(sorted(os.listdir(workspace)))), flush=True)
    try:
        subprocess.run(bazel + ["build"] + options + ["//:echo"], cwd=workspace, check=True)
        program = os.path.join(workspace, "bazel-bin", "echo")
        error = talk(program)
    except (subprocess.CalledProcessError, TimeoutError, OSError) as failure:
        error = str(failure)
    finally:
        # This also ends Bazel's server.
        subprocess.run(bazel + ["clean", "--expunge"], cwd=workspace, stderr=subprocess.DEVNULL, check=False)
    print("the echo of docs/embedding.md, %s: %s" % (kind, error or "built, and it echoes"))
    print("%d passed, %d failed" % (not error, bool(error)))
    return 1 if error else 0


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("debian", "modern"):
        sys.exit(__doc__)
    signal.signal(signal.SIGALRM, impatient)
    if len(sys.argv) > 2:
        sys.exit(check(sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3:]))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(check(sys.argv[1], os.path.join(folder, "fresh"), []))


main()
