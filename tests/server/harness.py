"""Starts the real program and talks to it; what all tests here share. Standard library only."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INFERNO = os.environ.get("INFERNO_TEST_BINARY", str(ROOT / "target/debug/inferno"))
SPARK = ROOT / "models/spark-7m-q8_0.gguf"
# Seconds that anything may take. No test measures time: only what never comes is to fail, also on a slow and busy machine.
PATIENCE = 180
# A request that ends only when somebody ends it.
ENDLESS = {"prompt": "Once upon a time", "max_tokens": 10 ** 7, "ignore_eos": True, "context_shift": True, "temperature": 1}
# One that writes more than the buffers between server and client hold: who does not read it keeps it at work.
MUCH = {"prompt": "Once upon a time", "max_tokens": 600, "ignore_eos": True, "temperature": 1, "logprobs": 100, "stream": True}


def wait_until(condition, what):
    """Asks again and again; what it gave once that is true."""
    end = time.monotonic() + PATIENCE
    while not (given := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)
    return given


class Server:
    """A running `inferno serve` or `inferno worker`; killed at the end if it has not ended by itself."""

    def __init__(self, *flags, command="serve", port=0, env=None, wait="ready"):
        self.home = tempfile.TemporaryDirectory(prefix="inferno-test-")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INFERNO_")}
        clean.update(HOME=self.home.name, TMPDIR=self.home.name, INFERNO_BACKEND_THREADS="1", **(env or {}))
        clean.pop("XDG_CONFIG_HOME", None)
        self.log = open(pathlib.Path(self.home.name) / "log", "w+b")
        self.process = subprocess.Popen(
            [INFERNO, command, "--port", str(port), "--log-level", "info", *map(str, flags)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, cwd=self.home.name, env=clean)
        self.url = self.process.stdout.readline().decode().strip()
        try:
            if not self.url:
                raise AssertionError(f"it ended with {self.process.wait()}: {self.logged()}")
            self.port = int(self.url.rsplit(":", 1)[1])
            if wait:
                self.wait_for(wait)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        self.home.cleanup()

    def wait_for(self, status):
        def reached():
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.logged()}")
            try:
                return self.get("/health").json["status"] == status
            except ConnectionError:
                # it was ending while it was asked
                raise AssertionError(f"it ended with {self.ended()}: {self.logged()}") from None
        wait_until(reached, status)

    def request(self, method, path, body=None, headers=()):
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def chat(self, text="What is 12 + 30?", **fields):
        fields = {"messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
        return self.post("/v1/chat/completions", fields)

    def metric(self, name, **labels):
        """The sum of the samples of this name with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        total = None
        for line in self.get("/metrics").body.decode().splitlines():
            found = re.match(r"([a-z_]+)(?:\{(.*)\})? (\S+)$", line)
            if found and found[1] == name and all(label in (found[2] or "") for label in wanted):
                total = (total or 0) + float(found[3])
        if total is None:
            raise AssertionError(f"no metric {name} {labels}")
        return total

    def resident(self):
        """Memory of its own in RAM, in bytes; not the pages of the program's file, which come as its code is first run."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024

    def at_work(self, count):
        """Waits until so many requests are at work."""
        wait_until(lambda: self.metric("inferno_requests_at_work") == count, f"{count} at work")

    def idle(self):
        self.at_work(0)

    def cancelled(self, count):
        """Waits until so many requests were cancelled."""
        wait_until(lambda: self.metric("inferno_requests_total", outcome="cancelled") == count, f"{count} cancelled")

    def terminate(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self):
        """The exit code, once there is one."""
        return self.process.wait(PATIENCE)

    def connect(self, buffer=None):
        """A connection; `buffer` is how many bytes the system may hold for it unread."""
        connection = socket.socket()
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def begin(self, path, body, **more):
        """A connection on which a request was sent, and nothing read."""
        connection = self.connect(**more)
        body = json.dumps(body).encode()
        connection.sendall(head(path, len(body)) + body)
        return connection

    def logged(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(errors="replace")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    @property
    def events(self):
        """The data of server-sent events, as JSON but for [DONE]."""
        lines = [part for part in self.body.decode().split("\n\n") if part]
        data = [part.split("data: ", 1)[1] for part in lines]
        return [part if part == "[DONE]" else json.loads(part) for part in data]

    @property
    def named_events(self):
        """(name, data) of server-sent events with names."""
        parts = [part.split("\n") for part in self.body.decode().split("\n\n") if part]
        return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


def raw(server, data, close=True):
    """Sends bytes as they are and reads what comes until the server closes, or answers if `close` is false."""
    with server.connect() as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
                if not close and b"\r\n\r\n" in received:
                    break
        except ConnectionResetError:
            pass
        return received


def answer_of(connection):
    """What comes on a connection on which a request was sent."""
    with connection, http.client.HTTPResponse(connection, method="POST") as answer:
        answer.begin()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def head(path, length, *more):
    """The head of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def in_threads(work, count):
    """Runs work(0), …, work(count-1) at once; the results in order, an exception where one was raised."""
    results = [None] * count

    def one(index):
        try:
            results[index] = work(index)
        except Exception as error:  # noqa: the caller decides
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main():
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
