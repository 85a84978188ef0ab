"""Starts a program under measurement, pinned, and ends it."""
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import build
from places import CACHE, PEERS, ROOT

PATIENCE_SECONDS = 60  # Until a server listens; under valgrind that takes a while.
ATTEMPTS = 5  # For a port that another program takes between our look and the server's bind.
PROCESSORS = os.cpu_count() or 1


class Failed(Exception):
    """The program under measurement, or its load, did not do what it should."""


def pinned(command, workers):
    """The command on the first `workers` processors, killed when the runner ends."""
    command = ["setpriv", "--pdeathsig=KILL", "--", *command]
    return command if PROCESSORS == 1 else ["taskset", "-c", "0-%d" % (min(workers, PROCESSORS) - 1), *command]


def beside(command):
    """The command on the last processor, where loads are."""
    return command if PROCESSORS == 1 else ["taskset", "-c", str(PROCESSORS - 1), *command]


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _listens(port):
    """Without a connection: a relay would pass that on to its upstream."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(line.split()[1].endswith(":%04X" % port) and line.split()[3] == "0A" for line in list(table)[1:])


class Server:
    """A running server. Use it with `with`."""

    def __init__(self, peer, kind, workers=1, upstream="", wrap=(), environment=None, arguments=(), on_load_side=False):
        program = build.program(peer, kind)
        if program is None:
            raise Failed("it is not here")
        self.name = peer.name
        self.folder = tempfile.mkdtemp(dir=CACHE, prefix="server.")
        self._errors = open(os.path.join(self.folder, "stderr"), "w+", encoding="utf-8", errors="replace")
        self._environment = {**os.environ, **(environment or {})}
        self._pin = (lambda command: beside(["setpriv", "--pdeathsig=KILL", "--", *command])) if on_load_side \
            else (lambda command: pinned(command, workers))
        self.process = None
        try:
            if kind in peer.commands:
                self._start_installed(peer, kind, list(wrap), program, upstream)
            else:
                flags = ["--listen=127.0.0.1:0", "--workers=%d" % workers]
                if upstream:
                    flags.append("--upstream=" + upstream)
                own = [text.format(folder=self.folder) for text in (*peer.arguments.get(kind, ()), *arguments)]
                self._start_ours([*wrap, program, *flags, *own])
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _spawn(self, command, stdout):
        self.process = subprocess.Popen(self._pin(command), cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL,
                                        stdout=stdout, stderr=self._errors, text=True)

    def _start_ours(self, command):
        """A program that prints one line, which ends in its port."""
        self._spawn(command, subprocess.PIPE)
        killer = signal.signal(signal.SIGALRM, lambda *_: self.process.kill())
        signal.alarm(PATIENCE_SECONDS)
        line = self.process.stdout.readline()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, killer)
        port = re.search(r":(\d+)$", line.rstrip())
        if not port:
            raise Failed("it does not listen: %s%s" % (line, self.errors()))
        self.address = "127.0.0.1:" + port.group(1)

    def _start_installed(self, peer, kind, wrap, program, upstream):
        """A server that takes a port: we pick one that is free, and try again if it is taken meanwhile."""
        for _ in range(ATTEMPTS):
            port = _free_port()
            words = {"port": port, "folder": self.folder, "upstream": upstream,
                     "upstream_port": upstream.rpartition(":")[2]}
            config = os.path.join(ROOT, PEERS, peer.name, kind + ".conf")
            if os.path.exists(config):
                with open(config, encoding="utf-8") as file:
                    text = re.sub(r"@(\w+)@", lambda match: str(words[match.group(1)]), file.read())
                words["config"] = os.path.join(self.folder, kind + ".conf")
                with open(words["config"], "w", encoding="utf-8") as file:
                    file.write(text)
            self._spawn([*wrap, program, *[word.format(**words) for word in peer.commands[kind][1:]]], self._errors)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while self.process.poll() is None and time.monotonic() < deadline:
                if _listens(port):
                    self.address = "127.0.0.1:%d" % port
                    return
                time.sleep(0.02)
            if os.strerror(errno.EADDRINUSE).lower() not in self.errors().lower():
                break
        raise Failed("it does not listen: " + self.errors())

    def errors(self):
        self._errors.flush()
        with open(self._errors.name, encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def line_with(self, words):
        """What the server printed on stderr from these words to the end of their line."""
        self._errors.flush()
        with open(self._errors.name, encoding="utf-8", errors="replace") as file:
            return (re.findall("%s.*" % re.escape(words), file.read()) or [""])[0]

    def end(self):
        """Asks the program to end, and waits. A tool around it then writes its report."""
        inner = [self.process.pid]
        for pid in inner:
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
                    inner.extend(map(int, file.read().split()))
            except OSError:
                pass
        # strace does not pass signals on.
        for pid in (inner[1:] if os.path.basename(_exe(inner[0])) == "strace" else inner[:1]):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed("it does not end") from None

    def stop(self):
        """Kills the program, if it still runs, with its children."""
        if self.process is not None:
            if self.process.poll() is None:
                children = _children(self.process.pid)
                for pid in [self.process.pid, *children]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _exe(pid):
    try:
        return os.readlink("/proc/%d/exe" % pid)
    except OSError:
        return ""


def _children(pid):
    """All descendants of the process."""
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir("/proc/%d/task" % parent):
                with open("/proc/%d/task/%s/children" % (parent, thread), encoding="ascii") as file:
                    found.extend(map(int, file.read().split()))
        except OSError:
            pass
    return found[1:]
