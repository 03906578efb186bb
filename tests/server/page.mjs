// The page in headless Chromium, against a running server whose address is in INFERNO_TEST_URL: a turn, a stop, models,
// charts that move, the keyboard, dark and light. Pictures go to INFERNO_TEST_PICTURES, if that is set.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const url = process.env.INFERNO_TEST_URL;
const pictures = process.env.INFERNO_TEST_PICTURES;
const profile = mkdtempSync(join(tmpdir(), "inferno-page-"));
let context, page;
const complaints = [], foreign = [];

before(async () => {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.INFERNO_TEST_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
    viewport: { width: 1200, height: 800 },
  });
  page = await context.newPage();
  page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(`${error}`));
  page.on("request", (request) => { if (!request.url().startsWith(url) && !request.url().startsWith("data:")) foreign.push(request.url()); });
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("ready"));
});

after(async () => {
  await context?.close();
  rmSync(profile, { recursive: true, force: true });
});

const picture = async (name) => { if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) }); };
const lastAnswer = () => page.locator(".message.assistant span").last();
const finished = () => page.waitForFunction(() => document.querySelector("#stop").disabled, null, { timeout: 60_000 });
const points = (chart) => page.locator(`#chart-${chart} polyline`).first().getAttribute("points");

test("a turn, with the keyboard alone", async () => {
  assert.equal(await page.evaluate(() => document.activeElement.id), "text");
  await page.locator("#temperature").fill("0");
  await page.locator("#text").focus();
  await page.keyboard.type("What is 12 + 30?");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".message").length === 2);
  await finished();
  assert.match(await lastAnswer().textContent(), /42/);
  assert.match(await page.locator(".message small").last().textContent(), /first token after .*tokens/);
  // the conversation goes on
  await page.keyboard.type("What is 2 + 2?");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".message").length === 4);
  await finished();
  assert.ok((await lastAnswer().textContent()).length > 0);
});

test("a stop keeps what was said", async () => {
  await page.locator("#new").click();
  await page.locator("#temperature").fill("1.5");
  // held back so that there is time to press the key: the stream itself is the server's
  await page.locator("#text").fill("Tell me a very long story about a dog.");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".message.assistant span")?.textContent.length > 0);
  await page.keyboard.press("Escape");
  await finished();
  const text = await lastAnswer().textContent();
  assert.ok(text.length > 0);
  const note = await page.locator(".message small").last().textContent();
  // a short story may have ended by itself
  assert.match(note, /stopped|tokens/);
  assert.equal(await page.locator("#error").isHidden(), true);
});

test("what the server refuses is shown", async () => {
  await page.locator("#new").click();
  await page.locator("#tokens").fill("1000000");
  await page.locator("#text").fill("Hello");
  await page.locator("#send").click();
  await page.locator("#error").waitFor();
  assert.match(await page.locator("#error").textContent(), /max_tokens: the context holds/);
  await page.locator("#tokens").fill("");
  await page.locator("#new").click();
});

test("a model is unloaded and loaded", async () => {
  const row = page.locator("#models tr[data-name=other]");
  await row.waitFor();
  assert.match(await row.textContent(), /unloaded/);
  await row.getByRole("button", { name: "Load other" }).press("Enter");
  await page.locator("#models tr[data-name=other][data-state=loaded]").waitFor();
  assert.match(await row.textContent(), /MiB/);
  await row.getByRole("button", { name: "Unload other" }).click();
  await page.locator("#models tr[data-name=other][data-state=unloaded]").waitFor();
});

test("the charts move under load", async () => {
  await page.locator("#chart-generated polyline").first().waitFor();
  for (const chart of ["generated", "queue", "kv", "memory-CPU"]) await page.locator(`#chart-${chart} svg`).waitFor();
  const still = await points("generated");
  const load = Promise.all(Array.from({ length: 12 }, (_, seed) => fetch(`${url}/v1/completions`, {
    method: "POST", body: JSON.stringify({ prompt: "Once upon a time", max_tokens: 600, ignore_eos: true, temperature: 1, seed }),
  })));
  await page.waitForFunction(() => Number.parseFloat(document.querySelector("#chart-generated output").textContent) > 0, null, { timeout: 30_000 });
  await page.waitForFunction(() => document.querySelector("#chart-queue output").textContent !== "0 · 0", null, { timeout: 30_000 });
  assert.notEqual(await points("generated"), still);
  for (const answer of await load) assert.equal(answer.status, 200);
  await page.locator("#chart-first polyline").first().waitFor();
  await page.waitForFunction(() => document.querySelector("#chart-first output").textContent !== "–");
  await page.waitForTimeout(1500);
  await page.locator("#text").fill("What is 12 + 30?");
  await page.locator("#temperature").fill("0");
  await page.locator("#send").click();
  await page.waitForFunction(() => document.querySelectorAll(".message").length === 2);
  await finished();
});

test("dark, light and narrow", async () => {
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  const light = await back();
  await picture("light");
  await page.emulateMedia({ colorScheme: "dark" });
  assert.notEqual(await back(), light);
  await picture("dark");
  await page.setViewportSize({ width: 390, height: 800 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide}`);
  await picture("narrow");
});

test("what a model writes is text, and nothing came from elsewhere", async () => {
  await page.evaluate(() => add("assistant", "<img src=x onerror=alert(1)><b>bold</b>"));
  assert.equal(await page.locator(".message img").count(), 0);
  assert.deepEqual(foreign, []);
  // the refused request of an earlier test is one the browser complains of
  assert.deepEqual(complaints.filter((text) => !text.includes("400 (Bad Request)")), []);
});
