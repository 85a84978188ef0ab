#!/usr/bin/env python3
"""Writes compile_commands.json for clangd from Bazel's own actions."""
import json
import os
import re
import subprocess
import sys

def bazel(*args):
    return subprocess.run(["bazel", *args], check=True, stdout=subprocess.PIPE, text=True).stdout

root = bazel("info", "workspace").strip()
execroot = bazel("info", "execution_root").strip()
os.chdir(root)
query = 'mnemonic("CppCompile", //...)'
actions = json.loads(bazel("aquery", "--define=sluice_together=no", *sys.argv[1:], "--output=jsonproto", query)).get("actions", [])
# Headers are read where they are edited: .clangd/sluice is the repository itself.
os.makedirs(".clangd-include", exist_ok=True)
if not os.path.islink(".clangd-include/sluice"):
    os.symlink("..", ".clangd-include/sluice")

commands = {}
for action in actions:
    args, kept, skip = action["arguments"], [], False
    for arg in args:
        if skip or "_virtual_includes" in arg or arg in ("-MD", "-fno-canonical-system-headers"):
            skip = False
        elif arg in ("-MF", "-o", "-include"):
            skip = True
        elif not re.match("-fmodule|-Wprivate-header|-frandom-seed", arg):
            kept.append(arg)
    source = kept[kept.index("-c") + 1]
    if not source.startswith("external/"):
        kept[1:1] = ["-I" + root + "/.clangd-include", "-iquote", root]
        kept = [execroot + "/" + a if a.startswith(("external/", "bazel-out/")) else a for a in kept]
        commands[source] = {"directory": root, "file": source, "arguments": kept}
with open("compile_commands.json", "w") as out:
    json.dump(list(commands.values()), out, indent=1)
print("compile_commands.json: %d files" % len(commands))
