"""What goes wrong with clients, bodies, signals and files. After each the server answers, nothing is left running, and the
memory is back within 5 % of where it stood once the server had met its like, or within a step of the allocator."""

import json
import os
import random
import shutil
import socket
import struct
import tempfile
import threading
import time
import pathlib
import unittest

from harness import ENDLESS, MUCH, PATIENCE, SPARK, Server, head, in_threads, main, raw, wait_until

CLIENTS = int(os.environ.get("INFERNO_TEST_CLIENTS", "1000"))
# Heaps grow in steps: eight rounds of a thousand clients were seen to take one of 3 MB, and then none. Of the 60 MB that the
# server has with the built-in model that is as much as the 5 %.
STEP = 8 << 20
LONG = {"prompt": "Once upon a time", "max_tokens": 300, "ignore_eos": True, "temperature": 1}


def answers(test, server):
    """The server serves as before."""
    test.assertEqual(server.chat().json["choices"][0]["message"]["content"], "42")


class Clients(unittest.TestCase):
    """One server for all: whatever one test leaves behind, the next one meets."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--max-queued-requests", 2000, "--write-timeout", 3, "--header-timeout", 3, "--body-timeout", 20)
        # contexts, buffers and threads that serving takes
        in_threads(lambda n: cls.server.post("/v1/completions", {**LONG, "seed": n}), 24)
        in_threads(lambda _: cls.server.get("/health"), 64)
        cls.server.post("/v1/chat/completions", b" " * (8 << 20))
        cls.server.post("/v1/completions", {"prompt": "word " * 500_000})
        cls.server.post("/v1/completions", {"prompt": ["a"] * 100_000})
        in_threads(lambda n: cls.server.post("/v1/completions", {"prompt": f"{n}", "max_tokens": 8}), 100)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    @classmethod
    def settle(cls):
        """Memory in RAM, once the server has given back what it does not need."""
        cls.server.idle()
        time.sleep(4)
        return cls.server.resident()

    def setUp(self):
        type(self).before = getattr(type(self), "before", None) or self.settle()

    def tearDown(self):
        self.server.idle()
        answers(self, self.server)
        # connections that were left are closed after a while
        most = max(self.before * 1.05, self.before + STEP)
        wait_until(lambda: self.server.resident() <= most, f"memory is back to {self.before} bytes")

    def test_a_third_of_many_clients_vanishes(self):
        """Twice: the first time memory may grow to what so many threads and connections need, the second time not."""
        self.many_of_which_a_third_vanishes(1)
        first = self.settle()
        self.assertLessEqual(first, self.before * 1.25)
        type(self).before = max(self.before, first)
        self.many_of_which_a_third_vanishes(2)

    def many_of_which_a_third_vanishes(self, seed):
        chance = random.Random(seed)
        plans = [(chance.random() < 1 / 3, chance.random() * 0.5, chance.choice([True, False])) for _ in range(CLIENTS)]
        answered = self.server.metric("inferno_requests_total", outcome="done")
        places = threading.Semaphore(100)  # at once

        def client(index):
            vanishes, after, stream = plans[index]
            body = {"prompt": f"{index} times upon a time", "max_tokens": 8, "stream": stream, "seed": index}
            with places:
                if not vanishes:
                    return self.server.post("/v1/completions", body)
                with self.server.begin("/v1/completions", {**body, "max_tokens": 500}) as connection:
                    time.sleep(after)
                    if index % 2:  # a reset rather than an end
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return None

        results = in_threads(client, CLIENTS)
        faults = [result for result in results if isinstance(result, Exception)]
        self.assertEqual(faults, [])
        stayed = [result for result in results if result is not None]
        self.assertEqual(len(stayed), sum(not vanishes for vanishes, *_ in plans))
        for result in stayed:
            self.assertEqual(result.status, 200)
            if result.headers["content-type"] == "text/event-stream":
                self.assertEqual(result.events[-1], "[DONE]")
            else:
                self.assertIn(result.json["choices"][0]["finish_reason"], ("stop", "length"))
        self.server.idle()
        done = self.server.metric("inferno_requests_total", outcome="done") - answered
        self.assertGreaterEqual(done, len(stayed))
        self.assertEqual(self.server.metric("inferno_requests_total", outcome="failed"), 0)

    def test_slow_readers(self):
        """They hold up nobody, and are hung up on."""
        before = self.server.metric("inferno_requests_total", outcome="cancelled")
        readers = [self.server.begin("/v1/completions", {**MUCH, **ENDLESS}, buffer=4096) for _ in range(6)]
        answers(self, self.server)
        self.server.cancelled(before + 6)
        for reader in readers:
            reader.close()

    def test_many_connections_that_say_nothing(self):
        silent = [self.server.connect() for _ in range(200)]
        for connection in silent[:100]:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        answers(self, self.server)
        wait_until(lambda: self.server.metric("inferno_connections") <= 1, "the others are closed")
        for connection in silent:
            connection.close()

    def test_a_body_of_100_megabytes(self):
        answer = self.server.post("/v1/chat/completions", b" " * (100 << 20))
        self.assertEqual((answer.status, answer.error["code"]), (413, "body_too_large"))
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertIn(b" 413 ", raw(self.server, head + chunk * 160 + b"0\r\n\r\n", close=False))

    def test_bodies_that_make_no_sense(self):
        for body in [b"{", b'{"prompt": "\xff\xfe"}', b'{"prompt": 1e400}', b"\0" * 1000, b"[" * 200_000, b'{"prompt"' * 10_000,
                     b'{"prompt": "a", "max_tokens": 1000000000}', b'{"prompt": "a", "max_tokens": 1e300}',
                     json.dumps({"prompt": "a", "stop": ["x"] * 10_000}).encode(),
                     json.dumps({"prompt": ["a"] * 100_000}).encode(), b'{"prompt": {"a": []}}',
                     json.dumps({"prompt": "a", "logit_bias": {str(n): 1 for n in range(100_000)}}).encode(),
                     json.dumps({"prompt": "word " * 500_000}).encode(), b'{"prompt": "a", "n": -1}',
                     b'{"prompt": [1, 2, 4000000]}', b'{"prompt": [-1]}', b'{"prompt": "a", "seed": "' + b"9" * 100_000 + b'"}']:
            answer = self.server.post("/v1/completions", body)
            self.assertEqual(answer.status, 400, body[:60])
            self.assertLess(len(answer.body), 4000)
            self.assertEqual(answer.error["type"], "invalid_request_error")

    def test_requests_that_are_no_http(self):
        for data in [b"\0\1\2\3" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n" * 1000,
                     b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                     b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n"]:
            received = raw(self.server, data)
            self.assertNotIn(b" 200 ", received[:20], data[:40])


class Ends(unittest.TestCase):
    def under_load(self, server):
        """Clients that ask again and again; what they got, once `stop` is set."""
        stop, got = threading.Event(), []

        def client(index):
            while not stop.is_set():
                try:
                    got.append(server.post("/v1/completions", {**LONG, "max_tokens": 50, "seed": index}).status)
                except OSError as error:
                    got.append(error)
                    time.sleep(0.02)

        threads = [threading.Thread(target=client, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(got) >= 8, "eight answers")
        return stop, got, threads

    def test_terminated_under_load(self):
        with Server() as server:
            stop, got, threads = self.under_load(server)
            self.assertEqual(server.terminate(), 0)
            stop.set()
            for thread in threads:
                thread.join()
            # who was answered was answered well; the rest found the door closed
            statuses = [status for status in got if isinstance(status, int)]
            self.assertLessEqual(set(statuses), {200, 503})
            refused = [error for error in got if not isinstance(error, int)]
            # RemoteDisconnected is a reset too: the connection was made, and closed before its request was read
            for error in refused:
                self.assertIsInstance(error, (ConnectionRefusedError, ConnectionResetError))
            self.assertIn("draining", server.logged())

    def test_killed_under_load_and_started_again(self):
        with Server() as server:
            stop, _, threads = self.under_load(server)
            files = set(os.listdir(server.home.name))
            self.assertEqual(files, {"log"})
            server.process.kill()
            server.process.wait()
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive())
            port = server.port
            self.assertEqual(set(os.listdir(server.home.name)), files)
        with Server(port=port) as server:
            answers(self, server)

    def test_the_model_file_is_replaced_or_deleted(self):
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "model.gguf"
            shutil.copy(SPARK, file)
            with Server("--model", file) as server:
                answers(self, server)
                # as programs replace files: a new one under the old name
                new = file.with_suffix(".new")
                new.write_bytes(b"no model")
                new.rename(file)
                answers(self, server)
                self.assertEqual(server.post("/models/unload", {"model": "model"}).status, 200)
                broken = server.chat()
                self.assertEqual((broken.status, broken.error["code"]), (500, "model_load_failed"))
                self.assertEqual(server.get("/health").status, 200)
                file.unlink()
                gone = server.chat()
                self.assertEqual((gone.status, gone.error["code"]), (500, "model_load_failed"))
                shutil.copy(SPARK, file)
                answers(self, server)
                file.unlink()
                answers(self, server)
                self.assertEqual(server.terminate(), 0)

    def test_a_decode_that_fails(self):
        """A model whose last normalisation multiplies by NaN: its logits are no numbers."""
        with tempfile.TemporaryDirectory() as directory:
            broken = pathlib.Path(directory) / "broken.gguf"
            broken.write_bytes(poisoned(SPARK.read_bytes(), b"output_norm.weight"))
            with Server("--models", f"broken={broken}") as server:
                for stream in (False, True):
                    answer = server.chat(model="broken", stream=stream)
                    error = answer.events[-1]["error"] if answer.status == 200 else answer.error
                    self.assertEqual(error["type"], "server_error")
                    self.assertIn("not numbers", error["message"])
                vector = server.post("/v1/embeddings", {"model": "broken", "input": "a"})
                self.assertEqual(vector.status, 500)
                answers(self, server)
                self.assertEqual(server.metric("inferno_requests_total", outcome="failed"), 2)
                before = server.resident()
                in_threads(lambda _: server.chat(model="broken"), 20)
                self.assertLess(server.resident(), before * 1.05)
                answers(self, server)


def poisoned(gguf, name):
    """The file with a tensor of 32-bit floats filled with NaN. Its header is read as far as the tensor's entry."""
    at = gguf.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    dimensions, = struct.unpack_from("<I", gguf, at)
    shape = struct.unpack_from(f"<{dimensions}Q", gguf, at + 4)
    kind, offset = struct.unpack_from("<IQ", gguf, at + 4 + 8 * dimensions)
    assert kind == 0, "a tensor of 32-bit floats"
    # the data begins after the last entry, aligned to 32 bytes
    count, = struct.unpack_from("<Q", gguf, 8)
    at = end_of_header(gguf, count)
    data = (at + 31) // 32 * 32
    size = shape[0] * 4
    return gguf[:data + offset] + struct.pack("<f", float("nan")) * shape[0] + gguf[data + offset + size:]


def end_of_header(gguf, tensors):
    keys, = struct.unpack_from("<Q", gguf, 16)
    at = 24
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def text(at):
        return at + 8 + struct.unpack_from("<Q", gguf, at)[0]

    def value(kind, at):
        if kind in sizes:
            return at + sizes[kind]
        if kind == 8:
            return text(at)
        inner, count = struct.unpack_from("<IQ", gguf, at)
        at += 12
        for _ in range(count):
            at = value(inner, at)
        return at

    for _ in range(keys):
        at = text(at)
        at = value(struct.unpack_from("<I", gguf, at)[0], at + 4)
    for _ in range(tensors):
        at = text(at)
        at += 4 + 8 * struct.unpack_from("<I", gguf, at)[0] + 12
    return at


if __name__ == "__main__":
    main()
