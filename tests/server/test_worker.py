"""Plays the pool manager: hears that a worker is ready, gives it jobs, cancels them, kills it and starts it again."""

import http.server
import json
import signal
import threading
import unittest
import uuid

from harness import PATIENCE, SPARK, Server, answer_of, in_threads, main, wait_until

# The longest that fits: seconds on the fastest machine, and none that a test waits for.
LONG = {"prompt": "Once upon a time", "max_tokens": 16_000, "temperature": 1, "seed": 1}


class Manager:
    """Listens for workers that are ready; refuses the first so many with 503."""

    def __init__(self, refuse=0, status=503):
        self.heard, self.refused = [], 0
        manager = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if manager.refused < refuse:
                    manager.refused += 1
                    self.send_response(status)
                else:
                    manager.heard.append((self.path, body))
                    self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def wait_for_call(self, count=1):
        wait_until(lambda: len(self.heard) >= count, "a call of the worker")
        return self.heard[count - 1]


def start(manager, *flags, id=None, wait="ready"):
    # a job runs until its last token: what is cancelled here must not end by itself
    return Server("--worker-id", id or str(uuid.uuid4()), "--model", SPARK, "--device", "cpu",
                  "--context-size", 16384, "--kv-cells", 16384, "--callback-url", manager.url, *flags, command="worker", wait=wait,
                  env={"INFERNO_SAMPLING_IGNORE_EOS": "true"})


class Worker(unittest.TestCase):
    def test_it_calls_when_it_can_serve(self):
        id = str(uuid.uuid4())
        with Manager(refuse=2) as manager, start(manager, id=id) as worker:
            path, call = manager.wait_for_call()
            self.assertEqual(manager.refused, 2)  # and it came back
            self.assertEqual(path, "/v2/internal/workers/ready")
            self.assertEqual(call["worker_id"], id)
            self.assertEqual(call["model_ref"], str(SPARK))
            self.assertEqual(call["uri"], worker.url)
            self.assertGreater(call["vram_bytes"], SPARK.stat().st_size // 2)
            report = {"capabilities": ["cpu"], "device": "cpu", "backend": "cpu"}
            self.assertEqual({key: call[key] for key in report}, report)
            self.assertEqual(worker.get("/capabilities").json, report)
            health = worker.get("/health").json
            self.assertEqual(health["status"], "ready")
            self.assertEqual(health["model"], SPARK.stem)
            self.assertGreater(health["vram_bytes"], 0)
            self.assertIn("uptime_seconds", health)
            # OpenAI's interface is on the same port
            answer = worker.chat(ignore_eos=False).json
            self.assertEqual(answer["choices"][0]["message"]["content"], "42")
            self.assertEqual(len(manager.heard), 1)  # said once

    def test_a_manager_that_refuses_ends_it(self):
        with Manager(refuse=99, status=403) as manager:
            with start(manager, wait=None) as worker:
                self.assertEqual(worker.ended(), 1)
                self.assertRegex(worker.logged(), "the pool manager was not told: .*403 Forbidden")

    def test_jobs(self):
        with Manager() as manager, start(manager) as worker:
            job = {"job_id": "job-1", "prompt": "Once upon a time", "max_tokens": 20, "temperature": 0.7, "seed": 3}
            answer = worker.post("/execute", job)
            self.assertEqual(answer.headers["content-type"], "text/event-stream")
            (first, started), *tokens, (last, end) = answer.named_events
            self.assertEqual((first, started["job_id"]), ("started", "job-1"))
            self.assertEqual([name for name, _ in tokens], ["token"] * len(tokens))
            self.assertEqual([data["i"] for _, data in tokens], list(range(len(tokens))))
            text = "".join(data["t"] for _, data in tokens)
            self.assertGreater(len(text), 20)
            self.assertEqual(last, "end")
            self.assertEqual(end["tokens_out"], 20)
            self.assertGreaterEqual(end["decode_time_ms"], 0)
            # the same seed, the same text; the id is free again
            again = worker.post("/execute", job).named_events
            self.assertEqual("".join(data["t"] for name, data in again if name == "token"), text)
            self.assertEqual(worker.metric("worker_requests_total", outcome="ok"), 2)
            self.assertEqual(worker.metric("worker_tokens_generated_total"), 40)
            self.assertGreater(worker.metric("worker_tokens_in_total"), 0)
            self.assertGreater(worker.metric("worker_vram_bytes"), 0)
            self.assertEqual(worker.metric("worker_inference_duration_ms_count"), 2)
            worker.metric("worker_uptime_seconds")

            for body, words in [({}, "job_id"), ({"job_id": "x"}, "prompt"), ({"job_id": "", "prompt": "x"}, "job_id"),
                                ({**job, "temperature": "x"}, "temperature"), ({**job, "seed": -1}, "seed"),
                                ({**job, "max_tokens": -5}, "max_tokens"), (b"{", "JSON")]:
                wrong = worker.post("/execute", body)
                self.assertEqual(wrong.status, 400, body)
                self.assertEqual((wrong.json["code"], wrong.json["retriable"]), ("INVALID_REQUEST", False))
                self.assertIn(words, wrong.json["message"])
            name, error = worker.post("/execute", {**job, "max_tokens": 10 ** 9}).named_events[-1]
            self.assertEqual((name, error["code"], error["retriable"]), ("error", "INVALID_REQUEST", False))

    def test_cancelled_jobs_end_at_once(self):
        with Manager() as manager, start(manager) as worker:
            running = worker.begin("/execute", {"job_id": "long", **LONG})
            worker.at_work(1)
            twice = worker.post("/execute", {"job_id": "long", **LONG})
            self.assertEqual((twice.status, twice.json["code"]), (400, "INVALID_REQUEST"))
            self.assertEqual(worker.post("/cancel", {"job_id": "long"}).status, 202)
            name, error = answer_of(running).named_events[-1]
            self.assertEqual((name, error["code"], error["retriable"]), ("error", "CANCELLED", False))
            # again, and of a job that never was: no error
            self.assertEqual(worker.post("/cancel", {"job_id": "long"}).status, 202)
            self.assertEqual(worker.post("/cancel", {"job_id": "never"}).status, 202)
            self.assertEqual(worker.post("/cancel", {}).status, 400)
            self.assertEqual(worker.metric("worker_requests_total", outcome="cancelled"), 1)
            # a manager that goes away has cancelled its job
            with worker.begin("/execute", {"job_id": "gone", **LONG}) as connection:
                connection.recv(100)
            worker.idle()
            self.assertEqual(worker.metric("worker_requests_total", outcome="cancelled"), 2)

    def test_a_job_that_waits_is_cancelled(self):
        with Manager() as manager, start(manager, "--max-concurrent-requests", 1) as worker:
            with worker.begin("/execute", {"job_id": "runs", **LONG}):
                worker.at_work(1)
                waits = worker.begin("/execute", {"job_id": "waits", **LONG})
                wait_until(lambda: worker.metric("inferno_queued") == 1, "a job that waits")
                self.assertTrue(worker.post("/cancel", {"job_id": "waits"}).json["running"])
                name, error = answer_of(waits).named_events[-1]
                self.assertEqual((name, error["code"]), ("error", "CANCELLED"))
                self.assertEqual(worker.metric("inferno_requests_at_work"), 1)

    def test_a_deadline_is_an_inference_timeout(self):
        with Manager() as manager, start(manager, "--request-timeout", 0.2) as worker:
            name, error = worker.post("/execute", {"job_id": "late", **LONG}).named_events[-1]
            self.assertEqual((name, error["code"], error["retriable"]), ("error", "INFERENCE_TIMEOUT", True))

    def test_terminated_it_drains(self):
        with Manager() as manager, start(manager, "--drain-timeout", 0.5) as worker:
            running = worker.begin("/execute", {"job_id": "long", **LONG})
            worker.at_work(1)
            worker.process.send_signal(signal.SIGTERM)
            name, error = answer_of(running).named_events[-1]
            self.assertEqual((name, error["code"], error["retriable"]), ("error", "INTERNAL", True))
            self.assertEqual(worker.ended(), 0)

    def test_a_draining_worker_takes_no_jobs(self):
        with Manager() as manager, start(manager, "--drain-timeout", 3600) as worker:
            with worker.begin("/execute", {"job_id": "long", **LONG}):
                worker.at_work(1)
                worker.process.send_signal(signal.SIGTERM)
                worker.wait_for("draining")
                refused = worker.post("/execute", {"job_id": "new", "prompt": "x"})
                self.assertEqual((refused.status, refused.json["code"], refused.json["retriable"]), (503, "INTERNAL", True))
            self.assertEqual(worker.ended(), 0)

    def test_killed_and_started_again(self):
        with Manager() as manager:
            id = str(uuid.uuid4())
            with start(manager, id=id) as worker:
                manager.wait_for_call(1)
                jobs = threading.Thread(target=lambda: in_threads(
                    lambda n: worker.post("/execute", {"job_id": f"j{n}", **LONG}), 4))
                jobs.start()
                worker.at_work(4)
                worker.process.kill()
                jobs.join(PATIENCE)
                self.assertFalse(jobs.is_alive())
            with start(manager, id=id) as worker:
                _, call = manager.wait_for_call(2)
                self.assertEqual(call["worker_id"], id)
                self.assertEqual(worker.post("/execute", {"job_id": "j0", "prompt": "a", "max_tokens": 2}).named_events[-1][0],
                                 "end")

    def test_what_it_needs_is_said(self):
        for flags, words in [([], "--worker-id"), (["--worker-id", "a"], "--callback-url URL, or --no-callback"),
                             (["--worker-id", "a b", "--no-callback"], "worker.id"),
                             (["--worker-id", "a", "--callback-url", "https://pool"], "proxy")]:
            with self.assertRaisesRegex(AssertionError, "it ended with 2: .*" + words):
                Server(*flags, command="worker")
        with Server("--worker-id", "a", "--no-callback", command="worker") as worker:
            self.assertEqual(worker.get("/capabilities").status, 200)
        with Server() as server:
            self.assertEqual(server.post("/execute", {}).status, 404)


if __name__ == "__main__":
    main()
