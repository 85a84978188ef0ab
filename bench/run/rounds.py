"""Runs the programs of a workload in turn, round by round, so that other load on the machine slows all."""
import json
import subprocess

import build
import peers
from places import ROOT, say
from servers import Failed, Server, beside, pinned

RUN_SECONDS_MAX = 600
LOAD = "//bench/load:load"


def _json_of(process, text, errors):
    if process.returncode != 0:
        raise Failed("exit code %d: %s" % (process.returncode, errors.strip()[-2000:]))
    return json.loads(text.strip().splitlines()[-1])


def _run_alone(workload, peer, operations, wrap, environment):
    """A program without a load, which measures itself."""
    program = build.program(peer, workload.kind)
    if program is None:
        raise Failed("it is not here")
    command = pinned([*wrap, program, "--workload=" + peer.prefix + workload.workload_of_program(), "--operations=%d" % operations,
                      "--workers=%d" % workload.workers], workload.workers)
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=RUN_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise Failed("it does not end") from None
    return _json_of(done, done.stdout, done.stderr)


_lists = {}


def knows(peer, workload):
    """Whether a program that needs no load has the workload in its --list."""
    if workload.load:
        return True
    program = build.program(peer, workload.kind)
    if program not in _lists:
        done = subprocess.run([program, "--list"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
        _lists[program] = done.stdout.split()
    return peer.prefix + workload.workload_of_program() in _lists[program]


def _load(workload, flags, **streams):
    return subprocess.Popen(beside(["setpriv", "--pdeathsig=KILL", "--", build.path_of(LOAD), *workload.load, *flags]),
                            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **streams)


def _finish(load, server, text=None):
    try:
        out, errors = load.communicate(text, timeout=RUN_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Failed("the load does not end; the server said: " + server.errors()) from None
    finally:
        load.kill()
        load.wait()
    return _json_of(load, out, errors + server.errors())


def run(workload, peer, operations=0, wrap=(), environment=None):
    """One run: the line of JSON as a dictionary. `wrap` is a tool to run the program in."""
    operations = operations or workload.operations
    if not workload.load:
        return _run_alone(workload, peer, operations, wrap, environment)
    flags = ["--operations=%d" % operations]
    if workload.kind == "fan_out":
        flags.append("--wire=" + peer.wire)
    more = {"workers": workload.workers, "wrap": wrap, "environment": environment,
            "arguments": workload.arguments if peer.name.startswith("sluice") else ()}
    if workload.upstream == "load":
        load = _load(workload, flags, stdin=subprocess.PIPE)
        try:
            upstream = load.stdout.readline().split()[-1:]
            if not upstream:
                raise Failed("the load did not start: " + load.stderr.read())
            with Server(peer, workload.kind, upstream=upstream[0], **more) as server:
                result = _finish(load, server, "%s %d\n" % (server.address, server.process.pid))
                if wrap:
                    server.end()
                return result
        finally:
            load.kill()
            load.wait()
    if workload.upstream == "echo":
        with Server(peers.BY_NAME["bare"], "echo", on_load_side=True) as echo:
            return _run_against(workload, peer, flags, upstream=echo.address, **more)
    return _run_against(workload, peer, flags, **more)


def _run_against(workload, peer, flags, **more):
    with Server(peer, workload.kind, **more) as server:
        flags = ["--address=" + server.address, "--pid=%d" % server.process.pid, *flags]
        result = _finish(_load(workload, flags, stdin=subprocess.DEVNULL), server)
        if "grown_bytes" in result:
            result["printed"] = server.line_with("memory ceiling")
        if more["wrap"]:
            server.end()
        return result


def run_rounds(workload, programs, rounds):
    """Peer's name to its results, one for each round. A program that fails is left out, and named."""
    results = {peer.name: [] for peer in programs}
    failed = {}
    for number in range(rounds):
        at = number % len(programs)
        for peer in programs[at:] + programs[:at]:
            if peer.name in failed:
                continue
            try:
                results[peer.name].append(run(workload, peer))
            except Failed as error:
                failed[peer.name] = str(error)
                say("%s: %s: %s" % (workload.name, peer.name, error))
    return {name: found for name, found in results.items() if name not in failed}, failed
