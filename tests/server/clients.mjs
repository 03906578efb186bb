// The official JavaScript client against a running server, whose address is in INFERNO_TEST_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const url = process.env.INFERNO_TEST_URL;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0 });
const ask = [{ role: "user", content: "What is 12 + 30?" }];
const story = [{ role: "user", content: "Tell me a story." }];

async function atWork() {
  const page = await (await fetch(`${url}/metrics`)).text();
  return Number(/^inferno_requests_at_work (\d+)$/m.exec(page)[1]);
}

/** Waits until so many requests are at work, however long a slow machine takes. */
async function untilAtWork(count) {
  for (let tries = 0; tries < 9000; tries++) {
    if ((await atWork()) === count) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`not ${count} at work`);
}

test("chat", async () => {
  const answer = await client.chat.completions.create({
    model: "spark", messages: ask, temperature: 0, logprobs: true, top_logprobs: 2, n: 2,
  });
  assert.deepEqual(answer.choices.map((choice) => choice.message.content), ["42", "42"]);
  assert.equal(answer.choices[0].logprobs.content[0].token, "4");
  assert.equal(answer.choices[0].logprobs.content[0].top_logprobs.length, 2);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.match(answer._request_id, /^[0-9a-f]{32}$/);
});

test("chat, streamed", async () => {
  const stream = await client.chat.completions.create({
    model: "spark", messages: story, temperature: 0, max_tokens: 20, stream: true, stream_options: { include_usage: true },
  });
  let text = "", finish, usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.ok(text.length > 20);
  assert.equal(finish, "length");
  assert.equal(usage.completion_tokens, 20);
  const runner = client.chat.completions.stream({ model: "spark", messages: ask, temperature: 0 });
  assert.equal((await runner.finalChatCompletion()).choices[0].message.content, "42");
});

test("completions", async () => {
  const answer = await client.completions.create({
    model: "spark", prompt: "Once upon a time", max_tokens: 5, temperature: 0, stop: ["zzz"], logprobs: 1, seed: 1,
    top_k: 10,
  });
  assert.equal(answer.choices[0].logprobs.tokens.length, 5);
  let text = "";
  for await (const part of await client.completions.create({
    model: "spark", prompt: "Once upon a time", max_tokens: 5, temperature: 0, stream: true,
  })) text += part.choices[0].text;
  assert.equal(text, answer.choices[0].text);
});

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["spark"]);
});

test("embeddings", async () => {
  const answer = await client.embeddings.create({ model: "spark", input: ["a cat", "a dog"], dimensions: 32 });
  assert.equal(answer.data.length, 2);
  assert.equal(answer.data[0].embedding.length, 32);
  const norm = answer.data[0].embedding.reduce((sum, x) => sum + x * x, 0);
  assert.ok(Math.abs(norm - 1) < 1e-3, `${norm}`);
});

test("errors have their types", async () => {
  await assert.rejects(client.chat.completions.create({ model: "spark", messages: ask, top_p: 7 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "top_p");
    return true;
  });
  await assert.rejects(client.chat.completions.create({ model: "gpt-4", messages: ask }), OpenAI.NotFoundError);
  await assert.rejects(
    client.chat.completions.create({ model: "spark", messages: ask, max_tokens: 1e9, stream: true }),
    (error) => error.code === "context_length_exceeded",
  );
});

test("a stream that is aborted is cancelled", async () => {
  const forEver = { model: "spark", messages: story, max_tokens: 1e7, ignore_eos: true, context_shift: true };
  const stream = await client.chat.completions.create({ ...forEver, stream: true });
  for await (const _ of stream) break;
  await untilAtWork(0);
  const control = new AbortController();
  const whole = client.chat.completions.create(forEver, { signal: control.signal });
  whole.catch(() => {}); // looked at below
  await untilAtWork(1);
  control.abort();
  await assert.rejects(whole, OpenAI.APIUserAbortError);
  await untilAtWork(0);
});
