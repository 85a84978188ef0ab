#!/usr/bin/env python3
"""Talks to the programs of this folder as their users would, by redis-cli, redis-benchmark, curl and nc.

  cookbook/test.py FOLDER [NAME...]    FOLDER has the built programs; NAME: only the tests with it in their names

./sluice cookbook builds the programs and runs this. Each program listens on a port that the kernel chooses. The
last line is `N passed, N failed`.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

WAIT_SECONDS = 20  # For what must happen; a test that passes never waits so long.
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def expect(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}\n  got    {got!r:.300}\n  wanted {wanted!r:.300}")


def eventually(condition, what):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.01)


class Program:
    """A program that serves; stop() ends it by SIGTERM."""

    folder = ""

    def __init__(self, name, *flags, listens=True):
        self.errors = tempfile.TemporaryFile()
        flags = (["--listen=127.0.0.1:0"] if listens else []) + list(flags)
        self.process = subprocess.Popen(
            [f"{self.folder}/{name}", *flags], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors
        )
        self.port = None
        if listens:
            line = self.process.stdout.readline().decode()
            found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            if not found:
                self.kill()
                raise AssertionError(f"{name} did not listen, it said {line!r}")
            self.port = found.group(1)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.process.poll() is None:
            self.stop()
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        expect(self.process.wait(WAIT_SECONDS), 0, "the exit code after SIGTERM")

    def memory(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def nc(self, text, *options):
        """What nc prints that sends `text` and then, by -N, ends its side."""
        data = text if isinstance(text, bytes) else text.encode()
        command = ["nc", "-N", *options, "127.0.0.1", self.port]
        return subprocess.run(command, input=data, capture_output=True, timeout=WAIT_SECONDS, check=False).stdout

    def connect(self, receive_bytes=None):
        return Client(self.port, receive_bytes)

    def converse(self, data):
        """All that comes until the program ends the connection, whose client does not end its side."""
        with self.connect() as client:
            client.sendall(data)
            return client.reader.read()


class Client(socket.socket):
    """For what nc does not do: to read late, and to go on after an answer."""

    def __init__(self, port, receive_bytes=None):
        super().__init__()
        if receive_bytes:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.settimeout(WAIT_SECONDS)
        socket.socket.connect(self, ("127.0.0.1", int(port)))
        self.reader = self.makefile("rb")

    def close(self):
        self.reader.close()
        super().close()


def fill(client, piece):
    """Writes until the other side takes nothing more for a while; answers the bytes that it took."""
    client.settimeout(1)
    taken = 0
    try:
        while taken < 256 << 20:
            taken += client.send(piece)
    except TimeoutError:
        pass
    client.settimeout(WAIT_SECONDS)
    return taken


# --- redis


def redis_cli(program, *words, **options):
    command = ["redis-cli", "-p", program.port, *words]
    done = subprocess.run(command, capture_output=True, timeout=WAIT_SECONDS, check=False, **options)
    return done.stdout.decode(errors="replace").rstrip("\n")


@test
def redis_answers_redis_cli():
    with Program("redis") as redis:
        for words, answer in [
            ("PING", "PONG"), ("ping hello", "hello"), ("GET a", ""), ("SET a 1", "OK"), ("GET a", "1"), ("INCR a", "2"),
            ("INCR b", "1"), ("DEL a b c", "2"), ("GET a", ""), ("EXPIRE a 10", "0"), ("SET a x", "OK"), ("COMMAND", ""),
        ]:  # fmt: skip
            expect(redis_cli(redis, *words.split()), answer, words)
        expect(redis_cli(redis, "INCR", "a"), "ERR value is not an integer or out of range")
        expect(redis_cli(redis, "FLY", "a")[:22], "ERR unknown command, o")
        expect(redis_cli(redis, "-x", "SET", "a", input=b"\0\r\n\xff"), "OK")
        expect(redis.nc("GET a\r\n"), b"$4\r\n\0\r\n\xff\r\n")
        expect(redis_cli(redis, "EXPIRE", "a", "1"), "1")
        expect(redis_cli(redis, "GET", "a") != "", True, "a key lives until its deadline")
        eventually(lambda: redis_cli(redis, "GET", "a") == "", "the key expires")


@test
def redis_serves_redis_benchmark():
    with Program("redis") as redis:
        for pipeline in ("1", "16", "64"):
            command = ["redis-benchmark", "-p", redis.port, "-q", "-c", "50", "-n", "8000", "-P", pipeline]
            command += ["-r", "1000", "-t", "ping_mbulk,set,get,incr"]
            done = subprocess.run(command, capture_output=True, timeout=WAIT_SECONDS, check=True)
            rates = re.findall(r"(\w+): [\d.]+ requests per second", done.stdout.decode())
            expect(rates, ["PING_MBULK", "SET", "GET", "INCR"], f"-P {pipeline}")


@test
def redis_ends_only_the_connection_with_bad_input():
    with Program("redis") as redis, redis.connect() as good:
        bad = b"-ERR Protocol error\r\n"
        good.sendall(b"*2\r\n$3\r\nGET\r\n$1")  # The rest follows below.
        for text in (b"*x\r\n", b"*1\r\n:4\r\nPING\r\n", b"*-1\r\n", b"*1\r\n$99999999999\r\n", b"*1\r\n$1\n"):
            expect(redis.converse(b"PING\r\n" + text + b"PING\r\n"), b"+PONG\r\n" + bad, text)
        expect(redis.converse(b"x" * 600_000), bad, "a line without an end")
        expect(redis.nc(b"PING\r\n\r\nPING\r\nSET a"), b"+PONG\r\n" * 2, "a half-close within a command")
        good.sendall(b"\r\na\r\nPING\r\n")
        expect(good.reader.read(12), b"$-1\r\n+PONG\r\n")


@test
def redis_keeps_its_data_and_its_answers_within_bounds():
    with Program("redis", "--memory=16M", "--workers=1") as redis:
        value = "v" * 200_000
        sets = "".join(f"SET key{i} {value}\r\n" for i in range(100)).encode()
        answers = redis.nc(sets).split(b"\r\n")
        stored = answers.count(b"+OK")
        expect((stored, answers.count(b"-OOM full")), (83, 17), "sets within and past 16 MB")
        expect(redis_cli(redis, "SET", "key0", "short"), "OK")
        expect(redis_cli(redis, "DEL", "key1"), "1")
        before = redis.memory()
        with redis.connect(receive_bytes=4096) as slow:
            # Some GB of answers to a client that reads none of them.
            taken = fill(slow, b"GET key2\r\n" * 5_000)
            expect(taken < 64 << 20, True, f"a client that reads nothing could write {taken} bytes")
            expect(redis.memory() - before < 32 << 20, True, f"memory grew from {before} to {redis.memory()}")
            expect(redis_cli(redis, "PING"), "PONG", "others are served meanwhile")
            slow.close()


# --- lines


@test
def lines_answer_in_order_behind_a_half_close():
    with Program("lines") as lines:
        expect(lines.nc("get tea\nset tea green, hot\nget tea\ncount\nfly\nget"), b"none\nok\ngreen, hot\n1\n" + b"error: what?\n" * 2)
        text = "".join(f"set {i} {i}\nget {i}\n" for i in range(20_000))
        expect(lines.nc(text), "".join(f"ok\n{i}\n" for i in range(20_000)).encode())
        expect(lines.nc("x" * 5_000 + "\ncount\n"), b"error: a line has at most 1000 bytes\n20001\n")


@test
def lines_stop_reading_from_a_client_that_reads_nothing():
    with Program("lines") as lines, lines.connect(receive_bytes=4096) as slow:
        request = b"get " + b"k" * 400 + b"\n"
        lines.nc(request.replace(b"get", b"set").replace(b"\n", b" " + b"v" * 500 + b"\n"))
        before = lines.memory()
        taken = fill(slow, request * 100)
        expect(taken < 64 << 20, True, f"it took {taken} bytes")
        expect(lines.memory() - before < 16 << 20, True, f"memory grew by {lines.memory() - before}")
        expect(lines.nc("count\n"), b"1\n")
        slow.shutdown(socket.SHUT_WR)  # All questions are answered when the client reads at last.
        answers = slow.reader.read().split(b"\n")
        expect(answers.count(b"v" * 500), taken // len(request), f"answers to {taken} bytes")


# --- files


@test
def files_are_sent_whole_and_only_from_their_folder():
    with tempfile.TemporaryDirectory() as folder:
        big = os.urandom(6_500_000)
        for name, data in (("big", big), ("empty", b""), ("sub/small", b"hi\n")):
            os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
            with open(f"{folder}/{name}", "wb") as file:
                file.write(data)
        os.symlink("/etc/passwd", f"{folder}/link")
        os.mkfifo(f"{folder}/pipe")
        error = b"error: no such file\n"
        with Program("files", f"--folder={folder}") as files:
            expect(files.nc("sub/small\nempty\n"), b"3\nhi\n0\n")
            expect(files.nc("big"), b"6500000\n" + big, "a half-close behind the name")
            for name in ("none", "../big", "/etc/passwd", "link", "sub", "pipe", ""):
                expect(files.nc(name + "\nempty\n"), error + b"0\n", name)
            got = []
            clients = [threading.Thread(target=lambda: got.append(files.nc("big\nsub/small\n"))) for _ in range(8)]
            for client in clients:
                client.start()
            with files.connect(receive_bytes=4096) as slow:
                before = files.memory()
                slow.sendall(b"big\n" * 20)
                for client in clients:
                    client.join()
                expect(got, [b"6500000\n" + big + b"3\nhi\n"] * 8, "eight clients, one of which reads nothing")
                expect(files.memory() - before < 48 << 20, True, f"memory grew by {files.memory() - before}")
                slow.close()


# --- hello


def curl(program, *options):
    command = ["curl", "-sS", "--max-time", "10", *options, f"http://127.0.0.1:{program.port}/"]
    done = subprocess.run(command, capture_output=True, timeout=WAIT_SECONDS, check=False)
    return (done.stdout + done.stderr).decode()


@test
def hello_answers_curl():
    with Program("hello") as hello:
        url = f"http://127.0.0.1:{hello.port}/again"
        expect(curl(hello), "Hello, world!\n")
        expect(curl(hello, "-w", "%{num_connects}", url), "Hello, world!\n1Hello, world!\n0", "keep-alive")
        expect(re.sub("Date: .*", "", curl(hello, "-I")).splitlines()[0], "HTTP/1.1 200 OK")
        for options, status in [
            (["-X", "DELETE"], "405"), (["-d", "x"], "413"), (["-H", "Host:"], "400"), (["-0"], "505"),
            (["-H", "X: " + "x" * 9_000], "431"), (["-H", "Transfer-Encoding: chunked", "-d", "x"], "501"),
        ]:  # fmt: skip
            expect(curl(hello, "-o", "/dev/null", "-w", "%{http_code}", *options), status, options)


@test
def hello_answers_pipelined_requests_and_refuses_bad_ones():
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with Program("hello") as hello:
        answers = hello.nc(get * 100 + b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get[:-1])
        expect(answers.count(b"HTTP/1.1 200 OK\r\n"), 101, "the last one has no end")
        expect(answers.count(b"Hello, world!\n"), 100)
        for bad in (
            b"GET / HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        ):  # fmt: skip
            answer = hello.converse(bad + get)
            expect((answer[:25], answer.count(b"HTTP/1.1")), (b"HTTP/1.1 400 Bad Request\r", 1), bad)
        closes = get.replace(b"\r\n\r\n", b"\r\nConnection: x, Close\r\n\r\n")
        expect(hello.converse(closes + get).count(b"200 OK"), 1, "Connection: close")


# --- game


@test
def game_moves_players_by_ticks():
    with Program("game") as game, game.connect() as ada, game.connect() as bob:
        numbers = []
        for player in (ada, bob):
            numbers.append(player.reader.readline().split()[-1].decode())
        a, b = numbers
        bob.sendall(b"e\n" * 100)  # One tick, one step.
        ada.sendall(b"fly\nn\n")
        seen = []
        while f"{b} 9 8" not in seen or f"{a} 8 7" not in seen:
            seen.append(ada.reader.readline().decode().rstrip("\n"))
        expect("error: n, e, s or w" in seen, True)
        expect([line for line in seen if line.startswith(f"{b} 1")], [], "bob has not run")
        bob.close()
        while ada.reader.readline() != f"{b} gone\n".encode():
            pass
        listing = game.nc("", "-w", "1").decode().splitlines()
        expect((listing[0].split()[:2], f"{a} 8 7" in listing), (["you", "are"], True), listing)


@test
def game_waits_for_no_player_that_reads_nothing():
    with Program("game") as game, game.connect(receive_bytes=2048) as slow, game.connect() as runner:
        number = runner.reader.readline().split()[-1]
        slow.sendall(b"w\ne\n" * 10_000)
        for step in range(1, 5):
            runner.sendall(b"n\n")
            while runner.reader.readline() != number + b" 8 %d\n" % (8 - step):
                pass


# --- jobs


@test
def jobs_come_back_with_their_numbers():
    with Program("jobs") as jobs:
        answers = sorted(jobs.nc("primes 10000\nprimes 2\nfly\nprimes 100\nprimes 99999999").decode().splitlines())
        error = "error: primes N, N at most 3000000"
        expect(answers, ["1: 1229", "2: 0", f"3: {error}", "4: 25", f"5: {error}"])


@test
def jobs_say_that_the_queue_is_full():
    with Program("jobs") as jobs, jobs.connect() as client:
        client.sendall(b"primes 300000\n" * 40)
        client.shutdown(socket.SHUT_WR)
        answers = client.reader.read().decode().splitlines()
        results = [line.split(": ", 1)[1] for line in answers]
        expect(sorted(int(line.split(":")[0]) for line in answers), list(range(1, 41)), "each line has one answer")
        expect(results.count("25997") + results.count("error: the queue is full"), 40)
        expect(results[0], "error: the queue is full", "it is said at once")
        expect(results.count("25997") >= 16, True, "what was taken is done")


@test
def jobs_under_way_are_answered_in_a_drain():
    with Program("jobs") as jobs, jobs.connect() as client:
        client.sendall(b"fly\nprimes 1000000\nprimes 1000000\n")
        expect(client.reader.readline()[:2], b"1:")
        jobs.stop()
        expect(sorted(client.reader.read().splitlines()), [b"2: 78498", b"3: 78498"])


# --- feed


@test
def feed_connects_again_until_sigterm():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_SECONDS)
        port = server.getsockname()[1]
        with Program("feed", f"--address=127.0.0.1:{port}", "--topic=tea", listens=False) as feed:
            for turn in range(3):
                client, _ = server.accept()
                with client, client.makefile("rb") as reader:
                    expect(reader.readline(), b"subscribe tea\n")
                    client.sendall(f"one {turn}\ntwo {turn}\nhal".encode())
                    expect(feed.process.stdout.readline(), f"one {turn}\n".encode())
                    expect(feed.process.stdout.readline(), f"two {turn}\n".encode())
            client, _ = server.accept()
            with client:
                feed.stop()
                expect(client.recv(100), b"subscribe tea\n")
                expect(client.recv(100), b"", "the connection is closed in order")


@test
def feed_waits_for_a_server_and_for_its_reader():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # Nobody listens there yet.
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        with Program("feed", f"--address={address}", listens=False) as feed:
            def attempts():
                feed.errors.seek(0)
                return feed.errors.read().count(b"the next attempt follows")
            eventually(lambda: attempts() >= 3, "three attempts fail")
            reserved.listen()
            reserved.settimeout(WAIT_SECONDS)
            client, _ = reserved.accept()
            with client:
                # Nobody reads the program's output now: it stops reading, too, and keeps little.
                taken = fill(client, (b"x" * 99 + b"\n") * 1_000)
                expect(taken < 64 << 20, True, f"it took {taken} bytes")
                printed = 0
                while printed < taken - 100:
                    printed += len(os.read(feed.process.stdout.fileno(), 1 << 20))
        expect(feed.process.returncode, 0)


# --- all


@test
def servers_answer_and_end_on_sigterm_with_open_connections():
    for name in ("redis", "lines", "files", "hello", "game", "jobs"):
        with Program(name) as program, program.connect() as idle, program.connect() as other:
            idle.sendall(b"x")  # A request that has no end.
            program.stop()
            with contextlib.suppress(ConnectionResetError):
                other.reader.read()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Program.folder = sys.argv[1]
    passed = failed = 0
    for function in TESTS:
        if sys.argv[2:] and not any(name in function.__name__ for name in sys.argv[2:]):
            continue
        begin = time.monotonic()
        try:
            function()
            passed += 1
            outcome = "ok    "
        except Exception:
            failed += 1
            outcome = "FAILED"
            traceback.print_exc(file=sys.stdout)
        print(f"{outcome} {function.__name__} {time.monotonic() - begin:.1f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
