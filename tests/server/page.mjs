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
/** How long anything may take, in milliseconds: only what never comes is to fail, also on a slow and busy machine. */
const PATIENCE = 180_000;

before(async () => {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.INFERNO_TEST_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
    viewport: { width: 1200, height: 800 },
    timeout: PATIENCE,
  });
  context.setDefaultTimeout(PATIENCE);
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
const finished = () => page.waitForFunction(() => document.querySelector("#stop").disabled);
const points = (chart) => page.locator(`#chart-${chart} polyline`).first().getAttribute("points");
const heights = (line) => line.split(" ").map((point) => point.split(",")[1]);

/** Waits until a chart's line has a value above its ground at its end, and after that another end. */
async function moved(chart) {
  const end = (other) => page.waitForFunction(([chart, other]) => {
    const line = document.querySelector(`#chart-${chart} polyline`)?.getAttribute("points");
    const height = line?.split(" ").at(-1).split(",")[1];
    return line && line !== other && Number(height) < 48 ? line : null;
  }, [chart, other]);
  await end(await (await end(null)).jsonValue());
}

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
  for (const chart of ["generated", "queue", "kv", "memory-CPU"]) await page.locator(`#chart-${chart} svg`).waitFor();
  // clients that ask until the page has shown what it is to show, however long that takes
  const over = new AbortController();
  const client = async (seed) => {
    for (let asked = 0; !over.signal.aborted; asked++) {
      const body = { prompt: "Once upon a time", max_tokens: 600, ignore_eos: true, temperature: 1, seed: 100 * asked + seed };
      const answer = await fetch(`${url}/v1/completions`, { method: "POST", body: JSON.stringify(body), signal: over.signal });
      assert.equal(answer.status, 200);
      await answer.text();
    }
  };
  const load = Array.from({ length: 12 }, (_, seed) => client(seed).catch((error) => { if (error.name !== "AbortError") throw error; }));
  const shown = (async () => {
    for (const chart of ["generated", "queue", "kv", "first"]) await moved(chart);
    await page.waitForFunction(() => Number.parseFloat(document.querySelector("#chart-first output").textContent) > 0);
  })();
  shown.catch(() => {}); // looked at in the race, if it is still of interest
  try {
    await Promise.race([shown, Promise.all(load)]); // a client ends before that only with an error
  } finally {
    over.abort();
  }
  await Promise.all(load);
  // and they come back to rest, but keep what was
  await page.waitForFunction(() => document.querySelector("#chart-queue output").textContent === "0 · 0");
  await page.waitForFunction(() => Number.parseFloat(document.querySelector("#chart-generated output").textContent) === 0);
  assert.ok(new Set(heights(await points("generated"))).size > 1);
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
