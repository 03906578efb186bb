"""The HTTP interface from outside: answers, errors, keys, limits, and the end."""

import signal
import socket
import tempfile
import unittest

from harness import ENDLESS, MUCH, SPARK, Server, answer_of, head, main, raw, wait_until


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--alias", "gpt-test", "--models", f"other={SPARK}", "--max-concurrent-requests", 8)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_a_conversation(self):
        answer = self.server.chat(model="gpt-test")
        self.assertEqual(answer.status, 200)
        body = answer.json
        self.assertEqual(body["object"], "chat.completion")
        self.assertEqual(body["model"], "spark")
        choice = body["choices"][0]
        self.assertEqual(choice["message"], {"role": "assistant", "content": "42", "refusal": None})
        self.assertEqual(choice["finish_reason"], "stop")
        usage = body["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_a_stream_is_the_same_text(self):
        # numbers are compared exactly: in a batch they depend, in the last digits, on who else is in it
        fields = {"max_tokens": 40, "logprobs": True, "top_logprobs": 2, "isolated": True}
        whole = self.server.chat("Tell me a story.", **fields).json
        events = self.server.chat("Tell me a story.", stream=True, stream_options={"include_usage": True}, **fields).events
        self.assertEqual(events[-1], "[DONE]")
        *parts, usage = events[:-1]
        text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
        self.assertEqual(text, whole["choices"][0]["message"]["content"])
        self.assertEqual(parts[0]["choices"][0]["delta"]["role"], "assistant")
        self.assertEqual(parts[-1]["choices"][0]["finish_reason"], "length")
        self.assertTrue(all(part["usage"] is None for part in parts))
        self.assertEqual(usage["choices"], [])
        self.assertEqual(usage["usage"]["completion_tokens"], 40)
        tokens = [token for part in parts for token in (part["choices"][0]["logprobs"] or {"content": []})["content"]]
        self.assertEqual(tokens, whole["choices"][0]["logprobs"]["content"])
        self.assertEqual(len(tokens), 40)
        self.assertTrue(all(len(token["top_logprobs"]) == 2 and token["logprob"] <= 0 for token in tokens))
        self.assertEqual("".join(token["token"] for token in tokens), text)

    def test_a_stream_without_usage_has_none(self):
        events = self.server.chat(stream=True).events
        self.assertTrue(all("usage" not in part for part in events[:-1]))

    def test_choices_differ_and_repeat(self):
        ask = lambda **more: self.server.post("/v1/completions", {
            "prompt": ["Once upon a time", "The"], "n": 2, "seed": 5, "temperature": 1, "max_tokens": 12, "isolated": True, **more})
        body = ask().json
        texts = [choice["text"] for choice in body["choices"]]
        self.assertEqual([choice["index"] for choice in body["choices"]], [0, 1, 2, 3])
        self.assertEqual(len(set(texts)), 4)
        self.assertEqual(texts, [choice["text"] for choice in ask().json["choices"]])
        self.assertEqual(body["usage"]["completion_tokens"], 48)
        streamed = [""] * 4
        for part in ask(stream=True).events[:-1]:
            choice = part["choices"][0]
            streamed[choice["index"]] += choice["text"]
        self.assertEqual(streamed, texts)
        # the second choice is what its seed gives alone
        alone = ask(n=1, seed=6, prompt="Once upon a time").json["choices"][0]["text"]
        self.assertEqual(alone, texts[1])

    def test_stop_strings_do_not_leak(self):
        free = self.server.chat("Tell me a story.", max_tokens=60).json["choices"][0]["message"]["content"]
        word = free.split()[12]
        for stop in (word, [word, "never comes up"]):
            cut = self.server.chat("Tell me a story.", max_tokens=60, stop=stop).json["choices"][0]
            self.assertEqual(cut["message"]["content"], free[:free.index(word)])
            self.assertEqual(cut["finish_reason"], "stop")

    def test_sampling_fields_have_an_effect(self):
        base = {"prompt": "Once upon a time", "max_tokens": 16, "temperature": 0, "logprobs": 1}
        plain = self.server.post("/v1/completions", base).json["choices"][0]
        first = self.server.post("/v1/completions", {**base, "prompt": "Once upon a time"}).json["choices"][0]
        self.assertEqual(plain, first)
        tokens = self.server.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": "What is 12 + 30?"}], "temperature": 0, "logprobs": True})
        self.assertEqual(tokens.json["choices"][0]["logprobs"]["content"][0]["token"], "4")
        for change in ({"repeat_penalty": 3.0}, {"frequency_penalty": 2, "presence_penalty": 2, "repeat_last_n": -1},
                       {"temperature": 1.5, "seed": 3, "top_k": 0, "top_p": 1, "min_p": 0}):
            changed = self.server.post("/v1/completions", {**base, "max_tokens": 64, **change}).json["choices"][0]
            longer = self.server.post("/v1/completions", {**base, "max_tokens": 64}).json["choices"][0]
            self.assertNotEqual(changed["text"], longer["text"], change)
        for greedy in ({"top_k": 1}, {"top_p": 0}):
            same = self.server.post("/v1/completions", {**base, "temperature": 1, **greedy}).json["choices"][0]
            self.assertEqual(same["text"], plain["text"], greedy)

    def test_a_biased_token_comes_or_not(self):
        base = {"prompt": "Once upon a time", "max_tokens": 1, "temperature": 0}
        plain = self.server.post("/v1/completions", base).json["choices"][0]["text"]
        biased = lambda bias: self.server.post("/v1/completions", {**base, "logit_bias": bias}).json["choices"][0]["text"]
        forced = biased({"200": 100})
        self.assertNotEqual(forced, plain)
        self.assertEqual(biased([[200, 100]]), forced)
        self.assertEqual(biased([[200, False]]), plain)

    def test_tokens_are_prompts_and_prompts_are_echoed(self):
        answer = self.server.post("/v1/completions", {"prompt": "Once", "echo": True, "max_tokens": 3, "temperature": 0}).json
        self.assertTrue(answer["choices"][0]["text"].startswith("Once"))
        answer = self.server.post("/v1/completions", {"prompt": [[5, 6, 7], [8]], "max_tokens": 2}).json
        self.assertEqual(answer["usage"]["prompt_tokens"], 4)

    def test_wrong_fields_are_named(self):
        for fields, param in [
            ({"temperature": "hot"}, "temperature"), ({"temperature": -1}, "temperature"), ({"top_p": 7}, "top_p"),
            ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"), ({"messages": [1]}, "messages[0]"),
            ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
             "messages[0].content[0].type"),
            ({"stream": 1}, "stream"), ({"stream_options": {"include_usage": True}}, "stream_options"),
            ({"n": 0}, "n"), ({"n": 1000}, "n"), ({"logit_bias": {"99999": 1}}, "logit_bias"),
            ({"top_logprobs": 3}, "top_logprobs"), ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
            ({"response_format": {"type": "json_object"}}, "response_format.type"), ({"tools": [{}]}, "tools"),
            ({"model": 7}, "model"), ({"max_tokens": 10 ** 9}, "max_tokens"), ({"stop": ["x"] * 10_000}, "stop"),
            ({"max_completion_tokens": 5000}, "max_completion_tokens"), ({"mirostat": 9}, "mirostat"),
        ]:
            answer = self.server.chat(**fields)
            self.assertEqual((answer.status, answer.error["param"]), (400, param), fields)
            self.assertEqual(answer.error["type"], "invalid_request_error")
            self.assertIn(param.split(".")[0].split("[")[0], answer.error["message"])
        long = self.server.chat("word " * 5000)
        self.assertEqual((long.status, long.error["param"], long.error["code"]),
                         (400, "messages", "context_length_exceeded"))

    def test_unknown_fields_are_ignored(self):
        answer = self.server.chat(user="me", store=False, service_tier="auto", whatever={"a": [1]}, metadata={})
        self.assertEqual(answer.status, 200)

    def test_bodies_that_are_no_objects(self):
        for body, code in [(b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b"\xff\xfe", 400), (b'"x"', 400),
                           (b'{"a":"\xff"}', 400), (b"[" * 100_000, 400), (b'{"a":1e999}', 400)]:
            answer = self.server.post("/v1/chat/completions", body)
            self.assertEqual((answer.status, answer.error["code"]), (code, "invalid_json"), body[:20])

    def test_paths_and_methods(self):
        for method, path, status in [("GET", "/nothing", 404), ("GET", "/v1/chat/completions", 405),
                                     ("POST", "/health", 405), ("GET", "/../../etc/passwd", 404),
                                     ("GET", "/v1/models/../../etc/passwd", 404), ("GET", "/page.js/../../x", 404),
                                     ("GET", "/v1/models/%2e%2e%2fetc%2fpasswd", 404), ("GET", "/v1/models/%ff", 400),
                                     ("GET", "/history?since=x", 400)]:
            answer = self.server.request(method, path)
            self.assertEqual(answer.status, status, path)
            self.assertIn("message", answer.error)
        # a model is named, never a path
        answer = self.server.chat(model=str(SPARK))
        self.assertEqual((answer.status, answer.error["code"]), (404, "model_not_found"))

    def test_every_answer_has_an_id(self):
        self.assertRegex(self.server.get("/health").headers["x-request-id"], "^[0-9a-f]{32}$")
        own = self.server.post("/v1/chat/completions", b"{", headers={"X-Request-Id": "mine-1"})
        self.assertEqual(own.headers["x-request-id"], "mine-1")
        self.assertIn("mine-1", self.server.logged())

    def test_models_are_listed_loaded_and_unloaded(self):
        names = [model["id"] for model in self.server.get("/v1/models").json["data"]]
        self.assertEqual(names, ["spark", "other"])
        other = lambda: self.server.get("/v1/models/other").json
        self.assertEqual(self.server.post("/models/load", {"model": "other"}).json["state"], "loaded")
        self.assertEqual(self.server.chat(model="other").json["model"], "other")
        self.assertEqual(self.server.get("/props?model=other").json["model"], "other")
        self.assertEqual(self.server.post("/models/unload", {"model": "other"}).json["state"], "unloaded")
        self.assertEqual(self.server.get("/props?model=other").status, 503)
        self.assertEqual(other()["loaded"], False)
        self.assertEqual(self.server.chat(model="other").status, 200)  # on demand
        self.assertEqual(other()["loaded"], True)
        self.assertEqual(self.server.get("/v1/models/nope").status, 404)
        self.assertEqual(self.server.post("/models/load", {}).error["param"], "model")

    def test_a_client_that_hangs_up_cancels(self):
        before = self.server.metric("inferno_requests_total", outcome="cancelled")
        for stream in (True, False):
            with self.server.begin("/v1/completions", {**ENDLESS, "stream": stream}) as connection:
                self.server.at_work(1)
                if stream:
                    connection.recv(1000)
            self.server.idle()
        self.assertEqual(self.server.metric("inferno_requests_total", outcome="cancelled"), before + 2)

    def test_metrics_tell(self):
        before = self.server.metric("inferno_time_to_first_token_seconds_count")
        tokens = self.server.metric("inferno_generated_tokens_total", model="spark")
        self.server.chat()
        self.assertEqual(self.server.metric("inferno_time_to_first_token_seconds_count"), before + 1)
        self.assertGreater(self.server.metric("inferno_generated_tokens_total", model="spark"), tokens)
        self.assertGreater(self.server.metric("inferno_device_memory_bytes", device="CPU", state="total"), 0)
        self.assertGreater(self.server.metric("inferno_model_memory_bytes", use="weights"), 0)
        self.assertGreater(self.server.metric("process_resident_memory_bytes"), 0)
        for line in self.server.get("/metrics").body.decode().splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+)$')
        wait_until(lambda: any(sample["generated"] > 0 for sample in self.server.get("/history").json), "a sample")


class Keys(unittest.TestCase):
    def test_keys(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("# for tests\nsecret-key-1\nsecret-key-2\n")
            file.flush()
            with Server("--api-keys-file", file.name) as server:
                for key, status in [(None, 401), ("wrong-key-1", 401), ("secret-key-1", 200), ("secret-key-2", 200)]:
                    headers = {"Authorization": f"Bearer {key}"} if key else {}
                    answer = server.get("/v1/models", headers=headers)
                    self.assertEqual(answer.status, status, key)
                    self.assertEqual(server.get("/metrics", headers=headers).status, status)
                    if status == 401:
                        self.assertEqual(answer.error["code"], "invalid_api_key")
                        self.assertEqual(answer.headers["www-authenticate"], "Bearer")
                self.assertEqual(server.get("/health").status, 200)
                self.assertEqual(server.get("/").status, 200)
                self.assertNotIn("secret-key", server.logged())

    def test_strangers_are_not_let_in_by_accident(self):
        with self.assertRaisesRegex(AssertionError, "can be reached by other machines"):
            Server("--host", "0.0.0.0")
        with Server("--host", "0.0.0.0", "--allow-anonymous") as server:
            self.assertEqual(server.get("/health").status, 200)

    def test_pages_of_other_sites(self):
        with Server("--cors-origins", "https://app.example") as server:
            ask = lambda **headers: server.get("/v1/models", headers=headers)
            self.assertEqual(ask().status, 200)
            self.assertEqual(ask(Origin="https://evil.example").error["code"], "origin_not_allowed")
            self.assertEqual(ask(Host="evil.example").error["code"], "wrong_host")
            allowed = ask(Origin="https://app.example")
            self.assertEqual(allowed.headers["access-control-allow-origin"], "https://app.example")
            self.assertEqual(ask(Origin=server.url).status, 200)
            preflight = server.request("OPTIONS", "/v1/chat/completions", headers={
                "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization"})
            self.assertEqual(preflight.status, 200)
            self.assertIn("authorization", preflight.headers["access-control-allow-headers"])


class Limits(unittest.TestCase):
    def test_slow_heads_bodies_and_floods(self):
        with Server("--header-timeout", 1, "--body-timeout", 1, "--max-body-bytes", 2048,
                    "--max-header-bytes", 8192) as server:
            self.assertEqual(raw(server, b"POST /v1/chat"), b"")  # no head
            slow = raw(server, head("/v1/chat/completions", 100) + b"{", close=False)
            self.assertIn(b" 408 ", slow)
            long = server.post("/v1/chat/completions", b" " * 4096)
            self.assertEqual((long.status, long.error["code"]), (413, "body_too_large"))
            flood = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 500 + b"\r\n"
            self.assertIn(b" 431 ", raw(server, flood))
            wide = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\n"
            self.assertIn(b" 431 ", raw(server, wide))
            self.assertEqual(server.chat(max_tokens=1).status, 200)

    def test_more_than_can_run_and_wait_are_turned_away(self):
        with Server("--max-concurrent-requests", 1, "--max-queued-requests", 1) as server:
            with server.begin("/v1/completions", ENDLESS), server.begin("/v1/completions", ENDLESS):
                server.at_work(2)
                wait_until(lambda: server.metric("inferno_queued") == 1, "one that waits")
                refused = server.chat()
                self.assertEqual((refused.status, refused.error["code"]), (429, "queue_full"))
                self.assertEqual(refused.headers["retry-after"], "1")
            # those that hung up leave their places
            wait_until(lambda: server.chat().status == 200, "a place")

    def test_a_request_has_a_deadline(self):
        with Server("--request-timeout", 0.3) as server:
            late = server.post("/v1/completions", ENDLESS)
            self.assertEqual((late.status, late.error["code"]), (504, "timeout"))
            stream = server.post("/v1/completions", {**ENDLESS, "stream": True})
            # where nothing had come by then, it has the status as well
            error = stream.error if stream.status == 504 else stream.events[-1]["error"]
            self.assertEqual(error["code"], "timeout")
            self.assertEqual(server.metric("inferno_requests_total", outcome="expired"), 2)


class End(unittest.TestCase):
    def test_what_runs_may_end(self):
        with Server("--drain-timeout", 3600, "--write-timeout", 3600) as server:
            # at work until it is read
            running = server.begin("/v1/completions", MUCH, buffer=4096)
            server.at_work(1)
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("draining")
            self.assertEqual(server.get("/health").status, 503)
            refused = server.chat()
            self.assertEqual((refused.status, refused.error["code"]), (503, "draining"))
            events = answer_of(running).events
            self.assertEqual(events[-1], "[DONE]")
            self.assertEqual(events[-2]["choices"][0]["finish_reason"], "length")
            self.assertEqual(server.ended(), 0)

    def test_what_does_not_end_is_cancelled(self):
        with Server("--drain-timeout", 0.2) as server:
            running = server.begin("/v1/completions", {**ENDLESS, "stream": True})
            server.at_work(1)
            # past its head, which could still have become a 503
            self.assertTrue(running.recv(1000, socket.MSG_PEEK).startswith(b"HTTP/1.1 200 "))
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(answer_of(running).events[-1]["error"]["code"], "draining")
            self.assertEqual(server.ended(), 0)

    def test_an_idle_connection_does_not_hold_up_the_end(self):
        with Server("--header-timeout", 3600, "--drain-timeout", 3600) as server, server.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(1000)
            self.assertEqual(server.terminate(), 0)

    def test_the_first_model_is_waited_for(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            known = SPARK.read_bytes()
            at = known.index(b"general.architecture") + len("general.architecture") + 12
            file.write(known[:at] + b"sigma" + known[at + 5:])
            file.flush()
            with self.assertRaisesRegex(AssertionError, "(?s)it ended with 3: .*sigma"):
                Server("--model", file.name)

    def test_settings_that_cannot_work_are_told_before_the_address(self):
        for flags, code, words in [(["--kv-cells", 3], 2, "kv-cells: 3 is less than one request's context, which holds 2048"),
                                   (["--kv-cells", 3, "--max-sequences", 9], 2, "kv_cells: 3 is less than max_sequences"),
                                   (["--model", "/nowhere/model.gguf"], 3, "/nowhere/model.gguf"),
                                   (["--device", "GPU9"], 2, "--device: there is no \"GPU9\"")]:
            with self.assertRaisesRegex(AssertionError, f"it ended with {code}: .*{words}"):
                Server(*flags, wait=None)
        for name, value, words in [("BACKEND_DEVICE", "GPU9", "backend_config.device: there is no"),
                                   ("SERVER_HOST", "0.0.0.0", "server.host: 0.0.0.0 can be reached by other machines")]:
            with self.assertRaisesRegex(AssertionError, f"it ended with 2: .*INFERNO_{name}: {words}"):
                Server(wait=None, env={f"INFERNO_{name}": value})

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with self.assertRaisesRegex(AssertionError, "it ended with 1: .*Address already in use"):
                Server(port=taken.getsockname()[1])


if __name__ == "__main__":
    main()
