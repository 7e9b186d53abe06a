// The console of a gateway, or of a hub in its own process: it reads the admin port every two seconds.
// Everything that comes from there is put in as text.
"use strict";

const INTERVAL_MS = 2000;
const KEPT_SAMPLES = 60;  // two minutes
const WINDOW = 5;  // scrapes: the figures are those of ten seconds, so that few requests can be read too

/** Return an element with attributes and children; texts are children too. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return the response to a GET at the admin port, with the token if there is one. */
async function get(path) {
  const token = sessionStorage.getItem("admin-token");
  const response = await fetch(path, {
    headers: token ? { Authorization: `Bearer ${token}` } : {}, signal: AbortSignal.timeout(10000),
  });
  if (response.status === 401) throw new TokenError();
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return response;
}

class TokenError extends Error {}

/** Return the samples of a text exposition as {name, labels, value}. */
function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

/** Return the sum of the samples of a name whose labels fit. */
function sum(samples, name, fits = () => true) {
  return samples.filter((sample) => sample.name === name && fits(sample.labels))
    .reduce((total, sample) => total + sample.value, 0);
}

/** Return the seconds below which a share of the observations between two scrapes lies; null without any. */
function quantile(before, after, name, share, fits = () => true) {
  const counts = new Map();
  for (const [samples, sign] of [[before, -1], [after, 1]]) {
    for (const { name: sampleName, labels, value } of samples) {
      if (sampleName !== `${name}_bucket` || !fits(labels)) continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      counts.set(bound, (counts.get(bound) || 0) + sign * value);
    }
  }
  const bounds = [...counts.keys()].sort((a, b) => a - b);
  const total = counts.get(Infinity) || 0;
  if (total <= 0) return null;
  let lower = 0, below = 0;
  for (const bound of bounds) {
    const count = counts.get(bound);
    if (count >= share * total) {
      if (bound === Infinity) return lower;
      return lower + (bound - lower) * (share * total - below) / Math.max(count - below, 1e-9);
    }
    [lower, below] = [bound, count];
  }
  return lower;
}

function formatSeconds(seconds) {
  if (seconds === null) return "-";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} us`;
  return seconds < 1 ? `${(seconds * 1000).toPrecision(3)} ms` : `${seconds.toFixed(2)} s`;
}

function formatAge(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

const formatRate = (rate) => (rate >= 100 ? Math.round(rate).toLocaleString("en") : rate.toFixed(1));

/** What the console shows: the latest scrape and the first of the window, and the history of two figures. */
const state = { scrapes: [], before: null, now: null, rates: [], latencies: [], details: new Map() };

/** Add a scrape to the window. The counters of another process begin anew, and so does the window. */
function addScrape(scrape) {
  const same = state.scrapes.filter((earlier) => earlier.info.pid === scrape.info.pid);
  state.scrapes = [...same, scrape].slice(-WINDOW - 1);
  state.before = same.length ? state.scrapes[0] : null;
  state.now = scrape;
}

/** Return the figures of the time between the two scrapes, of all services or of one. */
function figures(service = null) {
  const { before, now } = state;
  const fits = (labels) => service === null || labels.service === service;
  const seconds = before ? Math.max((now.at - before.at) / 1000, 0.001) : 1;
  const old = before ? before.samples : now.samples;
  const count = (filter) => Math.max(0, sum(now.samples, "ase_requests_total", filter) - sum(old, "ase_requests_total", filter));
  const failed = (labels) => fits(labels) && labels.status.startsWith("5");
  const requests = count(fits);
  return {
    rate: requests / seconds, failedShare: requests ? count(failed) / requests : 0,
    p50: quantile(old, now.samples, "ase_request_seconds", 0.5, fits),
    p99: quantile(old, now.samples, "ase_request_seconds", 0.99, fits),
    overhead: quantile(old, now.samples, "ase_overhead_seconds", 0.99, fits),
  };
}

/** Return a line of the values, from 0 up to their maximum. */
function sparkline(values) {
  const most = Math.max(...values, 1e-9), namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", `0 0 ${KEPT_SAMPLES - 1} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(namespace, "polyline");
  const start = KEPT_SAMPLES - values.length;
  line.setAttribute("points", values.map((value, i) => `${start + i},${19 - 18 * value / most}`).join(" "));
  svg.append(line);
  return svg;
}

function figure(name, value, values = null, kind = "") {
  return make("div", { class: "figure" }, make("span", { class: "muted" }, name),
    make("strong", { class: kind }, value), values && values.length > 1 ? sparkline(values) : null);
}

function renderFigures() {
  const { samples } = state.now, all = figures(), has = (name) => samples.some((sample) => sample.name === name);
  if (!has("ase_inflight")) {  // a hub
    const reports = state.before ? (sum(samples, "ase_lb_reports_total") - sum(state.before.samples, "ase_lb_reports_total")) / ((state.now.at - state.before.at) / 1000) : 0;
    return [figure("reports/s", formatRate(Math.max(0, reports))), figure("overload", String(sum(samples, "ase_lb_strain")))];
  }
  const waiting = sum(samples, "ase_pick_waiting");
  return [
    figure("requests/s", formatRate(all.rate), state.rates),
    figure("failed", `${(all.failedShare * 100).toFixed(1)} %`, null, all.failedShare > 0.01 ? "bad" : ""),
    figure("p50", formatSeconds(all.p50)),
    figure("p99", formatSeconds(all.p99), state.latencies),
    figure("gateway's share, p99", formatSeconds(all.overhead)),
    figure("in progress", String(sum(samples, "ase_inflight") + sum(samples, "ase_sessions"))),
    figure("wait for a slot", String(waiting), null, waiting ? "warn" : ""),
  ];
}

/** Return why an instance gets no requests, or an empty text. */
function problem(row) {
  if (row.state !== "up") return `${row.state} (${row.reason}) for ${formatAge(row.for_s)}`;
  if (row.health !== "in") return `${row.health} (${row.health_reason}) for ${formatAge(row.health_for_s)}`;
  return row.schema_active === false ? "has another schema than the gateway serves" : "";
}

function renderProblems(instances) {
  const rows = instances.filter(problem);
  if (!rows.length) return [];
  const items = rows.map((row) => make("li", {}, make("strong", {}, `${row.service} ${row.instance}`), ` ${problem(row)}`));
  return [make("h2", { class: "bad" }, `${rows.length} of ${instances.length} instances get no requests`), make("ul", {}, ...items)];
}

function cell(label, child, kind = "") {
  return make("td", { "data-label": label, class: kind }, child);
}

/** Return a table; each column has a title and a function from a row to its cell's content. */
function table(columns, rows) {
  const head = make("tr", {}, ...columns.map(([title]) => make("th", { scope: "col" }, title)));
  const body = rows.map((row) => make("tr", {}, ...columns.map(([title, content, kind]) => cell(title, content(row), kind))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

/** Return a bar of the slots of an instance that run a request, and of the requests that wait. */
function loadBar(row) {
  const slots = Math.max(row.slots, 1), width = (count) => `width:${Math.min(100, 100 * count / slots)}%`;
  const track = make("span", { class: "track", "aria-hidden": "true" });
  for (const count of [row.running, row.queued]) {
    const part = make("i");
    part.style.cssText = width(count);
    track.append(part);
  }
  return make("span", { class: "load" }, track, `${row.running} of ${row.slots}${row.queued ? ` + ${row.queued}` : ""}`);
}

const INSTANCE_COLUMNS = [
  ["instance", (row) => row.instance],
  ["state", (row) => make("span", { class: problem(row) ? "bad" : "good" }, problem(row) || "serves"), "wide"],
  ["load", loadBar, "wide"],
  ["ours", (row) => String(row.inflight)],
  ["takes", (row) => (row.service_ms ? `${row.service_ms.toPrecision(3)} ms` : "-")],
  ["expected", (row) => `${row.expected_ms.toPrecision(3)} ms`],
  ["report", (row) => (row.report_age_s === null ? "none" : `${Math.max(0, Math.round(row.report_age_s * 1000))} ms ago`)],
  ["served", (row) => row.served.toLocaleString("en")],
  ["errors", (row) => make("span", { class: row.errors ? "warn" : "" }, row.errors.toLocaleString("en"))],
];

function renderServices(instances) {
  const services = new Map();
  for (const row of instances) services.set(row.service, [...(services.get(row.service) || []), row]);
  if (!services.size) return [make("p", { class: "muted" }, "No instance is known: no loader reports here.")];
  return [...services.keys()].sort().map((service) => {
    const rows = services.get(service).sort((a, b) => a.instance.localeCompare(b.instance, "en", { numeric: true }));
    const serving = rows.filter((row) => !problem(row)), one = figures(service);
    const slots = serving.reduce((total, row) => total + row.slots, 0), running = serving.reduce((total, row) => total + row.running, 0);
    const summary = `${serving.length} of ${rows.length} instances serve, ${running} of ${slots} slots busy`;
    const traffic = one.p99 === null ? "" : `${formatRate(one.rate)}/s, p50 ${formatSeconds(one.p50)}, p99 ${formatSeconds(one.p99)}`;
    return make("article", {}, make("div", { class: "heading" }, make("h2", {}, service),
      make("span", { class: serving.length ? "muted" : "bad" }, summary), make("span", { class: "muted" }, traffic)), table(INSTANCE_COLUMNS, rows));
  });
}

/** Return the explanation of a request as text, as `asectl explain` has it. */
function explanationText(request) {
  const lines = [`${request.detail || ""}`];
  for (const attempt of request.attempts) {
    lines.push(`called ${attempt.instance}: ${attempt.fault || "answered"} after ${attempt.took_ms.toFixed(1)} ms, expected ${attempt.expected_ms.toFixed(1)} ms`);
  }
  lines.push(...request.candidates.map((one) => `${one.instance}: ${one.verdict}${one.reason ? `, ${one.reason}` : ""}; expected ${one.expected_ms.toFixed(1)} ms, ${one.own + one.others} of ${one.limit} requests`));
  return lines.filter(Boolean).join("\n");
}

async function toggleDetails(sid) {
  if (state.details.has(sid)) state.details.delete(sid);
  else {
    try {
      state.details.set(sid, explanationText(await (await get(`debug/requests/${encodeURIComponent(sid)}`)).json()));
    } catch (error) {
      state.details.set(sid, `not kept any more (${error.message})`);
    }
  }
  render();
}

function requestCell(request) {
  const details = state.details.get(request.sid);
  const button = make("button", { class: "link", type: "button", "aria-expanded": String(details !== undefined), onclick: () => toggleDetails(request.sid) }, request.sid);
  return make("div", {}, button, details === undefined ? null : make("pre", {}, details));
}

const REQUEST_COLUMNS = [
  ["request", requestCell, "wide"],
  ["ended", (request) => request.ended.slice(11, 19)],
  ["service", (request) => request.service || "-"],
  ["status", (request) => make("span", { class: request.status >= 500 ? "bad" : "" }, `${request.status} (${request.code})`)],
  ["fault", (request) => request.fault || "slow"],
  ["total", (request) => formatSeconds(request.phases_ms.total / 1000)],
  ["waited", (request) => formatSeconds(request.phases_ms.wait / 1000)],
  ["instance", (request) => request.instance || "-"],
];

function renderRequests(answer) {
  if (answer === null) return [];
  const rows = answer.requests.slice(0, 25);
  const note = answer.kept ? "none has failed by a fault of ours, or was slow" : "gateway.explained is 0: none is kept";
  return [make("article", {}, make("div", { class: "heading" }, make("h2", {}, "Failed and slow requests"),
    rows.length ? null : make("span", { class: "muted" }, note)), rows.length ? table(REQUEST_COLUMNS, rows) : null)];
}

function renderProcess(info) {
  const generation = info.generation ? `, config ${info.generation}` : "";
  const hub = info.options["lb.hub"] ? `, hubs ${info.options["lb.hub"]}` : "";
  return `${info.role}, version ${info.version}, pid ${info.pid}, up ${formatAge(info.uptime_s)}${generation}${hub}${info.compiled ? "" : ", not compiled"}`;
}

/** Show the latest scrape, without a change of what has the focus. */
function render() {
  const focused = document.activeElement && document.activeElement.textContent;
  const { info, instances, requests } = state.now;
  document.getElementById("process").textContent = renderProcess(info);
  document.getElementById("figures").replaceChildren(...renderFigures());
  document.getElementById("problems").replaceChildren(...renderProblems(instances));
  document.getElementById("services").replaceChildren(...renderServices(instances));
  document.getElementById("requests").replaceChildren(...renderRequests(requests));
  for (const button of document.querySelectorAll("#requests .link")) if (button.textContent === focused) button.focus();
}

async function scrape() {
  const [info, instances, metrics, requests] = await Promise.all([
    get("debug/process").then((response) => response.json()),
    get("lb/state").then((response) => response.json()),
    get("metrics").then((response) => response.text()),
    get("debug/requests").then((response) => response.json()).catch((error) => {
      if (error instanceof TokenError) throw error;
      return null;  // a hub has none
    }),
  ]);
  return { at: performance.now(), info, instances: instances.instances, samples: parseMetrics(metrics), requests };
}

function show(notice, asksToken) {
  document.getElementById("notice").textContent = notice;
  document.getElementById("notice").hidden = !notice;
  document.getElementById("login").hidden = !asksToken;
}

async function update() {
  try {
    addScrape(await scrape());
    const all = figures();
    state.rates = [...state.rates, all.rate].slice(-KEPT_SAMPLES);
    state.latencies = [...state.latencies, all.p99 || 0].slice(-KEPT_SAMPLES);
    document.querySelector("main").hidden = false;
    show("", false);
    render();
  } catch (error) {
    if (error instanceof TokenError) {
      show(sessionStorage.getItem("admin-token") ? "The token is wrong." : "", true);
      return;  // the form goes on
    }
    show(`No answer since ${new Date().toLocaleTimeString()}: ${error.message}`, false);
  }
  setTimeout(update, INTERVAL_MS);
}

document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("admin-token", document.getElementById("token").value.trim());
  update();
});
update();
