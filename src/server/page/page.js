// The page of inferno: chat, models, charts. Plain JavaScript; everything comes from the server that sent it.
"use strict";

const $ = (id) => document.getElementById(id);
const MINUTES = 5; // of charts; the server keeps as much
const SVG = "http://www.w3.org/2000/svg";

// ---- asking the server

const key = () => sessionStorage.getItem("key") ?? "";

/** Asks; an answer that is no success becomes an Error with the server's words. */
async function ask(path, body, signal) {
  const headers = {};
  if (key()) headers.authorization = `Bearer ${key()}`;
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal,
  });
  if (answer.ok) return answer;
  if (answer.status === 401) {
    $("key-label").hidden = false;
    if (!key()) $("key").focus();
  }
  let message = `${answer.status} ${answer.statusText}`;
  try { message = (await answer.json()).error.message; } catch { /* no JSON: the status has to do */ }
  throw new Error(message);
}

const json = async (path, body) => (await ask(path, body)).json();

/** The events of a stream, as they come. */
async function* events(answer) {
  const decoder = new TextDecoder();
  const reader = answer.body.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.slice("data: ".length);
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

// ---- words for numbers

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit++; }
  return `${count.toFixed(unit && count < 100 ? 1 : 0)} ${units[unit]}`;
}

const number = (x) => x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(x ? 2 : 0);
const seconds = (x) => x < 1 ? `${(x * 1000).toFixed(0)} ms` : `${number(x)} s`;
const percent = (x) => `${(x * 100).toFixed(0)} %`;

// ---- chat

let conversation = [];
let running = null;

function add(role, text) {
  const place = document.createElement("p");
  place.className = `message ${role}`;
  const name = document.createElement("b");
  name.textContent = role === "user" ? "You" : $("model").value || "Model";
  const body = document.createElement("span");
  body.textContent = text;
  place.append(name, body);
  $("messages").append(place);
  bottom(true);
  return { body, place };
}

/** Follows the end of the conversation, unless its reader has gone back. */
function bottom(always) {
  const log = $("messages");
  const near = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  if (always || near) log.scrollTop = log.scrollHeight;
}

function wrong(error) {
  $("error").textContent = error ? error.message : "";
  $("error").hidden = !error;
}

function busy(is) {
  $("send").disabled = is;
  $("stop").disabled = !is;
  $("messages").setAttribute("aria-busy", is);
}

async function send(text) {
  wrong(null);
  conversation.push({ role: "user", content: text });
  add("user", text);
  const { body, place } = add("assistant", "");
  const control = running = new AbortController();
  busy(true);
  const began = performance.now();
  let first = null, answer = "", usage = null, stopped = false;
  const request = {
    model: $("model").value, messages: conversation, stream: true, stream_options: { include_usage: true },
    temperature: Number($("temperature").value),
  };
  if ($("tokens").value) request.max_tokens = Number($("tokens").value);
  try {
    for await (const event of events(await ask("/v1/chat/completions", request, control.signal))) {
      usage = event.usage ?? usage;
      const more = event.choices[0]?.delta?.content;
      if (!more) continue;
      first ??= performance.now() - began;
      answer += more;
      body.textContent = answer;
      bottom(false);
    }
  } catch (error) {
    stopped = error.name === "AbortError";
    if (!stopped) wrong(error);
  }
  if (running !== control) return; // a new chat has begun
  running = null;
  busy(false);
  if (answer) {
    conversation.push({ role: "assistant", content: answer });
  } else {
    conversation.pop(); // what was not answered was not said
  }
  const note = document.createElement("small");
  const parts = [];
  if (stopped) parts.push("stopped");
  if (first !== null) parts.push(`first token after ${seconds(first / 1000)}`);
  if (usage) {
    const time = (performance.now() - began - (first ?? 0)) / 1000;
    parts.push(`${usage.completion_tokens} tokens`);
    // of a few tokens, which come in one packet, there is no speed
    if (time > 0.05) parts.push(`${number((usage.completion_tokens - 1) / time)} tokens/s`);
    const cached = usage.prompt_tokens_details.cached_tokens;
    if (cached) parts.push(`${cached} of ${usage.prompt_tokens} prompt tokens cached`);
  }
  note.textContent = parts.join(" · ");
  place.append(note);
  bottom(false);
}

const stop = () => running?.abort();

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || running) return;
  $("text").value = "";
  send(text);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("form").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
$("stop").addEventListener("click", () => { stop(); $("text").focus(); });
$("new").addEventListener("click", () => {
  stop();
  running = null;
  conversation = [];
  $("messages").replaceChildren();
  wrong(null);
  busy(false);
  $("text").focus();
});

// ---- models

async function models() {
  const list = (await json("/v1/models")).data;
  const select = $("model");
  if ([...select.options].map((option) => option.value).join("\n") !== list.map((model) => model.id).join("\n")) {
    const chosen = select.value;
    select.replaceChildren(...list.map((model) => new Option(model.id)));
    if (list.some((model) => model.id === chosen)) select.value = chosen;
  }
  const table = $("models");
  for (const model of list) {
    let row = [...table.rows].find((row) => row.dataset.name === model.id);
    if (!row) {
      row = table.insertRow();
      row.dataset.name = model.id;
      for (let cell = 0; cell < 4; cell++) row.insertCell();
      row.cells[0].append(model.id);
      if (model.aliases.length) {
        const others = document.createElement("small");
        others.textContent = `also ${model.aliases.join(", ")}`;
        row.cells[0].append(others);
      }
      const button = document.createElement("button");
      button.type = "button";
      button.addEventListener("click", () => change(model.id, row));
      row.cells[3].append(button);
    }
    row.dataset.state = model.state;
    row.cells[1].textContent = model.progress === null ? model.state : `${model.state} ${percent(model.progress)}`;
    row.cells[2].textContent = model.bytes ? bytes(model.bytes) : "";
    const button = row.cells[3].firstChild;
    button.textContent = model.state === "unloaded" ? "Load" : "Unload";
    button.setAttribute("aria-label", `${button.textContent} ${model.id}`);
    button.disabled = model.state === "unloading";
  }
}

async function change(name, row) {
  wrong(null);
  try {
    const request = json(row.dataset.state === "unloaded" ? "/models/load" : "/models/unload", { model: name });
    setTimeout(models, 50);
    await request;
  } catch (error) {
    wrong(error);
  }
  await models().catch(wrong);
}

// ---- charts

let samples = [];

/** A chart: its title, one or two lines, how a value is written, and the top of its scale where that is known. */
const CHARTS = [
  { id: "generated", title: "Tokens/s", lines: [(s) => s.generated, (s) => s.prompt], names: ["generated", "prompt"], write: number },
  { id: "first", title: "Time to first token", lines: [(s) => s.first_token], write: seconds },
  { id: "queue", title: "Requests", lines: [(s) => s.running, (s) => s.queued], names: ["running", "queued"], write: (x) => x.toFixed(0) },
  { id: "cache", title: "Prompt tokens from the cache", lines: [(s) => s.cache_hits], write: percent, top: 1 },
  { id: "kv", title: "KV cache in use", lines: [(s) => s.kv], write: percent, top: 1 },
];

function figure(chart) {
  let place = $(`chart-${chart.id}`);
  if (place) return place;
  place = document.createElement("figure");
  place.id = `chart-${chart.id}`;
  const caption = document.createElement("figcaption");
  const title = document.createElement("span");
  title.textContent = chart.title;
  caption.append(title, document.createElement("output"));
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 300 50");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  place.append(caption, svg);
  if (chart.names) {
    const names = document.createElement("div");
    names.className = "key";
    names.append(...chart.names.map((name) => Object.assign(document.createElement("i"), { textContent: name })));
    place.append(names);
  }
  $("charts").append(place);
  return place;
}

const shape = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

function draw(chart) {
  const place = figure(chart);
  const svg = place.querySelector("svg");
  const now = samples.length ? samples[samples.length - 1].at : 0;
  const values = chart.lines.map((line) => samples.map((sample) => [sample.at, line(sample)]).filter(([, y]) => y !== null));
  const highest = Math.max(0, ...values.flat().map(([, y]) => y));
  const top = chart.top ?? (highest || 1);
  const x = (at) => 300 - (now - at) * 300 / (MINUTES * 60);
  const y = (value) => 48 - 46 * value / top;
  const shapes = [shape("line", { x1: 0, x2: 300, y1: 48, y2: 48, class: "grid" })];
  values.forEach((points, index) => {
    if (!points.length) return;
    const line = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    if (index === 0) {
      const last = x(points[points.length - 1][0]).toFixed(1);
      shapes.push(shape("polygon", { points: `${x(points[0][0]).toFixed(1)},48 ${line} ${last},48`, class: "area" }));
    }
    shapes.push(shape("polyline", { points: line, class: index ? "second" : "first" }));
  });
  svg.replaceChildren(...shapes);
  const last = values.map((points) => points.length ? chart.write(points[points.length - 1][1]) : "–").join(" · ");
  place.querySelector("output").textContent = last;
  svg.setAttribute("aria-label", `${chart.title}: ${last}, at most ${chart.write(highest)} in ${MINUTES} minutes`);
}

async function charts() {
  const last = samples.length ? samples[samples.length - 1].at : 0;
  const more = await json(`/history?since=${last}`);
  if (more.length && more[more.length - 1].at < last) samples = []; // the server is a new one
  samples = samples.concat(more).slice(-MINUTES * 60);
  const devices = samples.length ? samples[samples.length - 1].memory : [];
  const memory = devices.map((device) => {
    const of = (sample) => sample.memory.find((part) => part.device === device.device);
    return {
      id: `memory-${device.device}`, title: `Memory of ${device.device}, ${bytes(device.total)}`, write: bytes, top: device.total,
      lines: [(s) => of(s) ? of(s).total - of(s).free : null, (s) => of(s)?.models ?? null], names: ["in use", "by models"],
    };
  });
  for (const chart of [...CHARTS, ...memory]) draw(chart);
}

// ---- once a second

async function health() {
  const answer = await fetch("/health");
  const state = await answer.json();
  $("status").textContent = `${state.status} · ${state.loaded.join(", ") || "no model loaded"} · up ${seconds(state.uptime_seconds)}`;
}

async function tick() {
  try {
    await health();
    await Promise.all([models(), charts()]);
    if (key()) $("key-label").hidden = true;
  } catch (error) {
    $("status").textContent = error instanceof TypeError ? "the server does not answer" : error.message;
  }
  setTimeout(tick, document.hidden ? 5000 : 1000);
}

$("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value.trim()));
tick();
