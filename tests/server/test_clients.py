"""The official Python client against the running server: what it sends is understood, what it gets it understands."""

import asyncio
import base64
import struct
import unittest

import openai

from harness import ENDLESS, Server, main

ASK = [{"role": "user", "content": "What is 12 + 30?"}]
STORY = [{"role": "user", "content": "Tell me a story."}]
# what only its end ends
FOR_EVER = {"max_tokens": ENDLESS["max_tokens"], "extra_body": {"ignore_eos": True, "context_shift": True}}


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = openai.OpenAI(base_url=f"{cls.server.url}/v1", api_key="unused", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.__exit__()

    def chat(self, messages=ASK, **more):
        return self.client.chat.completions.create(model="spark", messages=messages, temperature=0, **more)

    def test_chat(self):
        answer = self.chat(logprobs=True, top_logprobs=3, n=2, seed=1, user="me", max_completion_tokens=10)
        self.assertEqual([choice.message.content for choice in answer.choices], ["42", "42"])
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        token = answer.choices[1].logprobs.content[0]
        self.assertEqual((token.token, bytes(token.bytes), len(token.top_logprobs)), ("4", b"4", 3))
        self.assertEqual(answer.usage.completion_tokens, 6)
        self.assertGreaterEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)
        self.assertEqual(answer.model, "spark")
        self.assertRegex(answer._request_id, "^[0-9a-f]{32}$")

    def test_parts_and_roles(self):
        answer = self.chat([{"role": "developer", "content": "Be brief."},
                            {"role": "user", "content": [{"type": "text", "text": "What is 12 "},
                                                         {"type": "text", "text": "+ 30?"}]}])
        self.assertIn("42", answer.choices[0].message.content)

    def test_chat_streamed(self):
        text, finish, usage, id = "", None, None, set()
        for chunk in self.chat(STORY, stream=True, stream_options={"include_usage": True}, max_tokens=30, stop=["zzz"]):
            id.add(chunk.id)
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
                finish = chunk.choices[0].finish_reason or finish
            else:
                usage = chunk.usage
        self.assertGreater(len(text), 30)
        self.assertEqual((finish, usage.completion_tokens, len(id)), ("length", 30, 1))
        with self.client.chat.completions.stream(model="spark", messages=ASK, temperature=0) as stream:
            contents = [event.delta for event in stream if event.type == "content.delta"]
            self.assertEqual("".join(contents), "42")
            self.assertEqual(stream.get_final_completion().choices[0].message.content, "42")

    def test_completions(self):
        answer = self.client.completions.create(model="spark", prompt=["Once", "Once upon"], max_tokens=5, logprobs=2,
                                                temperature=0, logit_bias={"5": -100}, presence_penalty=0.1,
                                                extra_body={"top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1})
        self.assertEqual([choice.index for choice in answer.choices], [0, 1])
        self.assertEqual(len(answer.choices[0].logprobs.tokens), 5)
        self.assertEqual(len(answer.choices[0].logprobs.top_logprobs[0]), 2)
        parts = self.client.completions.create(model="spark", prompt="Once", max_tokens=5, temperature=0, stream=True)
        self.assertGreater(len("".join(part.choices[0].text for part in parts)), 3)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["spark"])
        self.assertEqual(self.client.models.retrieve("spark").owned_by, "inferno")

    def test_embeddings(self):
        texts = ["The cat sat on the mat.", "A cat sits on a mat.", "12 + 30 = 42"]
        answer = self.client.embeddings.create(model="spark", input=texts)
        vectors = [item.embedding for item in answer.data]
        self.assertEqual([item.index for item in answer.data], [0, 1, 2])
        for vector in vectors:
            self.assertAlmostEqual(sum(x * x for x in vector), 1, places=3)
        cosine = lambda a, b: sum(x * y for x, y in zip(a, b))
        self.assertGreater(cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2]))
        self.assertGreater(answer.usage.prompt_tokens, 10)
        # the client asks for base64 unless told otherwise: the same numbers
        plain = self.client.embeddings.create(model="spark", input=texts, encoding_format="float")
        for a, b in zip(vectors, plain.data):
            self.assertTrue(all(abs(x - y) < 1e-6 for x, y in zip(a, b.embedding)))
        short = self.client.embeddings.create(model="spark", input=texts[0], dimensions=16).data[0].embedding
        self.assertEqual(len(short), 16)
        self.assertAlmostEqual(sum(x * x for x in short), 1, places=3)
        raw = self.client.embeddings.with_raw_response.create(model="spark", input=texts[0], encoding_format="base64")
        packed = raw.http_response.json()["data"][0]["embedding"]
        self.assertEqual(len(base64.b64decode(packed)), 4 * len(vectors[0]))
        self.assertAlmostEqual(struct.unpack("<f", base64.b64decode(packed)[:4])[0], vectors[0][0], places=4)

    def test_errors_have_their_types(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(extra_body={"temperature": "hot"})
        self.assertEqual((caught.exception.param, caught.exception.type), ("temperature", "invalid_request_error"))
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(max_tokens=10 ** 9, stream=True)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.chat.completions.create(model="gpt-4", messages=ASK)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("gpt-4")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.embeddings.create(model="spark", input=[])
        self.assertEqual(caught.exception.param, "input")

    def test_a_stream_that_is_left_is_cancelled(self):
        before = self.server.metric("inferno_requests_total", outcome="cancelled")
        stream = self.chat(STORY, stream=True, **FOR_EVER)
        next(iter(stream))
        stream.close()
        self.server.cancelled(before + 1)
        with self.assertRaises(openai.APITimeoutError):
            self.chat(STORY, timeout=2, **FOR_EVER)
        self.server.cancelled(before + 2)

    def test_an_error_in_a_stream_is_raised(self):
        with Server("--request-timeout", 0.3) as server:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
            with self.assertRaises(openai.APIError) as caught:
                for _ in client.chat.completions.create(model="spark", messages=STORY, stream=True, **FOR_EVER):
                    pass
            self.assertEqual(caught.exception.code, "timeout")

    def test_many_at_once(self):
        async def ask():
            async with openai.AsyncOpenAI(base_url=f"{self.server.url}/v1", api_key="unused") as client:
                one = client.chat.completions.create(model="spark", messages=ASK, temperature=0)
                many = [client.chat.completions.create(model="spark", messages=ASK, temperature=0) for _ in range(23)]
                return await asyncio.gather(one, *many)
        answers = asyncio.run(ask())
        self.assertEqual({answer.choices[0].message.content for answer in answers}, {"42"})

    def test_a_full_queue_is_tried_again(self):
        with Server("--max-concurrent-requests", 1, "--max-queued-requests", 0) as server:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
            stream = client.chat.completions.create(model="spark", messages=STORY, stream=True, **FOR_EVER)
            next(iter(stream))
            with self.assertRaises(openai.RateLimitError):
                client.chat.completions.create(model="spark", messages=ASK)
            patient = client.with_options(max_retries=50)
            stream.close()
            self.assertTrue(patient.chat.completions.create(model="spark", messages=ASK).choices)

    def test_keys(self):
        with Server("--api-keys-file", self.keys()) as server:
            wrong = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong-key-9", max_retries=0)
            with self.assertRaises(openai.AuthenticationError):
                wrong.models.list()
            self.assertTrue(wrong.with_options(api_key="right-key-9").models.list().data)

    def keys(self):
        import tempfile
        file = tempfile.NamedTemporaryFile("w", suffix=".txt")
        self.addCleanup(file.close)
        file.write("right-key-9\n")
        file.flush()
        return file.name


if __name__ == "__main__":
    main()
