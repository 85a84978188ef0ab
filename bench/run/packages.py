"""Installs what a peer needs, or says why the peer is skipped."""
import contextlib
import os
import shutil
import subprocess

from places import ROOT, say

POLICY = "/usr/sbin/policy-rc.d"
_answers = {}


def _installed(package):
    state = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, check=False)
    return state.stdout == "installed"


@contextlib.contextmanager
def _no_services():
    """The package of a server would start it. Debian asks this program first, and 101 forbids it."""
    ours = os.geteuid() == 0 and not os.path.exists(POLICY)
    if ours:
        with open(POLICY, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(POLICY, 0o755)
    try:
        yield
    finally:
        if ours:
            os.unlink(POLICY)


def install(packages):
    """True if all packages are there now. Elsewhere than on Debian, the build will tell."""
    if not packages or shutil.which("dpkg-query") is None:
        return True
    if packages not in _answers:
        missing = [package for package in packages if not _installed(package)]
        if missing and os.geteuid() == 0:
            with _no_services():
                subprocess.run([os.path.join(ROOT, "sluice"), "install", *missing], stdout=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, check=False)
            missing = [package for package in missing if not _installed(package)]
        _answers[packages] = not missing
        if missing:
            say("missing: the Debian packages " + " ".join(missing))
    return _answers[packages]
