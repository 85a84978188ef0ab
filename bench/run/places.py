"""Where things are."""
import os
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CACHE = os.path.join(ROOT, ".cache", "bench")  # What the runner builds and writes on the way.
PEERS = os.path.join("bench", "peers")
PLOTS = os.path.join("docs", "bench")


def say(line):
    print("bench: " + line, file=sys.stderr, flush=True)
