// The page of a deployer: projects, applications, models and positions, by its API.
// Everything that comes from there is put in as text.
"use strict";

const INTERVAL_MS = 2000;
const KEPT_EVENTS = 30;
const API = "api/v1";

/** Return an element with attributes and children; texts are children too. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

class KeyError extends Error {}

function headers() {
  const key = sessionStorage.getItem("api-key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Return the data of an answer of the API. Throws what the deployer says is wrong. */
async function send(method, path, body = undefined) {
  const own = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(`${API}${path}`, {
    method, headers: { ...headers(), ...own }, body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(15000),
  });
  if (response.status === 401) throw new KeyError();
  let answer = {};
  try { answer = await response.json(); } catch { /* what is no JSON has no message */ }
  if (!response.ok) throw new Error(answer.message || `${path} answers ${response.status}`);
  return answer.data;
}

/** What the page shows; `drafts` are the values of fields that somebody has changed, by their names. */
const state = { projects: [], applications: [], models: new Map(), positions: [], usages: new Map(), events: [], drafts: new Map() };

async function load() {
  const [projects, applications, positions] = await Promise.all(["/projects", "/applications", "/positions"].map((path) => send("GET", path)));
  const models = await Promise.all(applications.map(({ name }) => send("GET", `/applications/${encodeURIComponent(name)}/models`)));
  const usages = await Promise.all(positions.map(({ name }) => send("GET", `/positions/${encodeURIComponent(name)}/usage`).catch(() => null)));
  Object.assign(state, { projects, applications, positions });
  state.models = new Map(applications.map(({ name }, index) => [name, models[index]]));
  state.usages = new Map(positions.map(({ name }, index) => [name, usages[index]]));
}

function notify(text, kind = "bad") {
  const notice = document.querySelector("#notice");
  notice.textContent = text;
  notice.className = kind;
  notice.hidden = !text;
}

/** Do what a button is for; say what is wrong, or that it has begun. */
async function act(message, method, path, body = undefined) {
  try {
    await send(method, path, body);
    notify(message, "good");
  } catch (error) {
    if (error instanceof KeyError) askForKey("The key is missing or wrong.");
    else notify(error.message);
  }
  await refresh();
}

async function confirmed(question) {
  const dialog = document.querySelector("#confirm");
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

/** Return a field whose value stays while the page is drawn again. */
function field(name, label, attributes = {}, options = null) {
  const control = options === null
    ? make("input", { name, autocomplete: "off", spellcheck: "false", ...attributes })
    : make("select", { name, ...attributes }, ...options.map((option) => make("option", {}, option)));
  if (state.drafts.has(name)) control.value = state.drafts.get(name);
  control.addEventListener("input", () => state.drafts.set(name, control.value));
  return make("label", {}, label, control);
}

/** Return a form whose fields are given to `submit` by the last part of their names. */
function form(button, fields, submit) {
  const element = make("form", {}, ...fields, make("button", {}, button));
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = {};
    for (const control of element.querySelectorAll("input, select")) {
      values[control.name.split(":").pop()] = control.value.trim();
      state.drafts.delete(control.name);
    }
    submit(values);
  });
  return element;
}

/** Return a table; each column has a title and a function from a row to its cell's content. */
function table(columns, rows) {
  const head = make("tr", {}, ...columns.map(([title]) => make("th", { scope: "col" }, title)));
  const body = rows.map((row) => make("tr", {}, ...columns.map(([title, content]) => make("td", { "data-label": title }, content(row)))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

function formatBytes(bytes) {
  if (bytes < 0) return "-";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  for (; bytes >= 1024 && index < units.length - 1; index += 1) bytes /= 1024;
  return `${bytes >= 100 || index === 0 ? Math.round(bytes) : bytes.toPrecision(3)} ${units[index]}`;
}

const share = (part) => (part === null ? "-" : `${Math.round(part * 100)} %`);
const KINDS = { InService: "good", OutOfService: "bad", Deploying: "warn" };
const path = (kind, name, rest = "") => `/${kind}/${encodeURIComponent(name)}${rest}`;

function deleteButton(what, kind, name, rest = "") {
  return make("button", { class: "bad", type: "button", onclick: async () => {
    if (await confirmed(`Delete ${what}?`)) await act(`${what} is deleted`, "DELETE", path(kind, name, rest));
  } }, "Delete");
}

const REPLICA_COLUMNS = [
  ["replica", (row) => row.name],
  ["CPU", (row) => (row.cpu < 0 ? "-" : row.cpu.toFixed(2))],
  ["of its limit", (row) => share(row.cpuShare)],
  ["memory", (row) => formatBytes(row.memory)],
  ["of the limit", (row) => share(row.memoryShare)],
];

function modelNames(application) {
  const models = state.models.get(application) || [];
  const best = models.some((model) => model.accuracy !== null && model.accuracy !== undefined) ? ["best"] : [];
  return [...best, ...models.map((model) => model.id)];
}

function renderPosition(position) {
  const { name } = position, usage = state.usages.get(name);
  const load = usage ? `${usage.requests.running} of ${usage.requests.slots} slots busy${usage.requests.queued ? `, ${usage.requests.queued} wait` : ""}` : "";
  const others = modelNames(position.application).filter((id) => id !== position.model);
  return make("article", { id: `position-${name}` },
    make("div", { class: "heading" }, make("h3", {}, name),
      make("span", { class: KINDS[position.phase] || "" }, position.phase),
      make("span", {}, position.model),
      make("span", { class: "muted" }, [`${position.replicaCount} ${position.replicaCount === 1 ? "replica" : "replicas"}`, load].filter(Boolean).join(", ")),
      make("span", { class: "muted" }, position.endpoint)),
    position.reason ? make("pre", { class: "warn" }, position.reason) : null,
    usage && usage.replicas.length ? table(REPLICA_COLUMNS, usage.replicas) : null,
    make("div", { class: "heading" },
      others.length ? form("Switch", [field(`${name}:switch:model`, "to", {}, others)], ({ model }) =>
        act(`${name} switches to ${model}`, "POST", path("positions", name, "/switch"), { model })) : null,
      form("Scale", [field(`${name}:scale:replicaCount`, "to", { type: "number", min: "0", max: "1000", required: true, value: String(position.replicaCount) })], ({ replicaCount }) =>
        act(`${name} scales to ${replicaCount}`, "POST", path("positions", name, "/scale"), { replicaCount: Number(replicaCount) })),
      deleteButton(`position ${name}`, "positions", name)));
}

const modelColumns = (application) => [
  ["model", (model) => model.id],
  ["accuracy", (model) => (model.accuracy === null || model.accuracy === undefined ? "-" : String(model.accuracy))],
  ["trained from", (model) => model.source || "-"],
  ["runs", (model) => model.wrapper || model.image || "-"],
  ["file", (model) => model.modelUrl || model.modelFile || "-"],
  ["from", (model) => model.origin || "here"],
  ["", (model) => deleteButton(`model ${model.id}`, "applications", application, `/models/${encodeURIComponent(model.id)}`)],
];

function renderApplication({ name, description }) {
  const models = state.models.get(name) || [], positions = state.positions.filter((position) => position.application === name);
  const addModel = form("Add the model", [
    field(`${name}:model:name`, "name", { required: true }), field(`${name}:model:version`, "version", { required: true, size: "6" }),
    field(`${name}:model:wrapper`, "wrapper", { placeholder: "wrapper.py" }), field(`${name}:model:modelFile`, "file"),
    field(`${name}:model:accuracy`, "accuracy", { type: "number", min: "0", max: "1", step: "any" }),
  ], ({ accuracy, ...texts }) => {
    const model = { application: name, ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text)) };
    if (accuracy) model.accuracy = Number(accuracy);
    act(`model ${model.name}:${model.version} is added`, "POST", "/models", model);
  });
  const create = form("Put into service", [
    field(`${name}:position:name`, "position", { required: true }), field(`${name}:position:model`, "model", {}, modelNames(name)),
    field(`${name}:position:replicaCount`, "replicas", { type: "number", min: "0", max: "1000", value: "1", required: true }),
  ], ({ replicaCount, ...texts }) =>
    act(`position ${texts.name} is created`, "POST", "/positions", { application: name, ...texts, replicaCount: Number(replicaCount) }));
  return make("article", { id: `application-${name}` },
    make("div", { class: "heading" }, make("h3", {}, name), make("span", { class: "muted" }, description),
      models.length || positions.length ? null : deleteButton(`application ${name}`, "applications", name)),
    ...positions.map(renderPosition),
    make("details", { "data-name": `${name}:models`, open: state.drafts.has(`${name}:models`) },
      make("summary", {}, `${models.length} ${models.length === 1 ? "model" : "models"}`),
      models.length ? table(modelColumns(name), models) : null, addModel),
    models.length ? create : null);
}

function renderProject({ name, description }) {
  const applications = state.applications.filter((application) => application.project === name);
  const add = form("Add an application", [field(`${name}:application:name`, "name", { required: true }), field(`${name}:application:description`, "what for")],
    (values) => act(`application ${values.name} is created`, "POST", "/applications", { project: name, ...values }));
  return make("section", { id: `project-${name}` },
    make("div", { class: "heading" }, make("h2", {}, name), make("span", { class: "muted" }, description),
      applications.length ? null : deleteButton(`project ${name}`, "projects", name)),
    ...applications.map(renderApplication), add);
}

function renderEvents() {
  if (!state.events.length) return [];
  const lines = state.events.map(({ topic, id, at, ...data }) =>
    `${new Date(at * 1000).toISOString().slice(11, 19)} ${topic} ${id} ${Object.entries(data).filter(([, value]) => value !== "" && value !== null).map(([key, value]) => `${key}=${value}`).join(" ")}`);
  return [make("h2", {}, "What happens"), make("pre", {}, lines.join("\n"))];
}

function render() {
  const focused = document.activeElement?.name, selection = document.activeElement?.selectionStart;
  document.querySelector("#projects").replaceChildren(...state.projects.map(renderProject));
  document.querySelector("#new-project").replaceChildren(form("Add a project",
    [field("new:project:name", "name", { required: true }), field("new:project:description", "what for")],
    (values) => act(`project ${values.name} is created`, "POST", "/projects", values)));
  document.querySelector("#events").replaceChildren(...renderEvents());
  const serving = state.positions.filter((position) => position.phase === "InService").length;
  document.querySelector("#summary").textContent = `${serving} of ${state.positions.length} positions in service`;
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => (details.open ? state.drafts.set(details.dataset.name, "") : state.drafts.delete(details.dataset.name)));
  }
  const again = focused ? document.querySelector(`[name="${CSS.escape(focused)}"]`) : null;
  if (again) {
    again.focus();
    if (again.type === "text" && selection !== null) again.setSelectionRange(selection, selection);
  }
}

function askForKey(reason) {
  document.querySelector("main").hidden = true;
  document.querySelector("#login").hidden = false;
  if (sessionStorage.getItem("api-key")) notify(reason);
}

async function refresh() {
  try {
    await load();
    document.querySelector("#login").hidden = true;
    document.querySelector("main").hidden = false;
    if (document.querySelector("#notice").dataset.isLoss) notify("");
    delete document.querySelector("#notice").dataset.isLoss;
    render();
  } catch (error) {
    if (error instanceof KeyError) askForKey("The key is missing or wrong.");
    else {
      notify(`The deployer does not answer: ${error.message}`);
      document.querySelector("#notice").dataset.isLoss = "yes";
    }
  }
}

/** Follow the events, for those who may read all projects, and draw the page when something happens. */
async function followEvents() {
  const response = await fetch(`${API}/events?after=1`, { headers: headers() });
  if (!response.ok) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event);
      if (data && !event.includes("event: lb.instance")) state.events.unshift(JSON.parse(data[1]));
    }
    state.events.length = Math.min(state.events.length, KEPT_EVENTS);
    if (!document.querySelector("main").hidden) render();
  }
}

async function runForever(work) {
  for (; ;) {
    if (!document.hidden) await work().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

document.querySelector("#login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("api-key", document.querySelector("#key").value.trim());
  document.querySelector("#key").value = "";
  notify("");
  refresh();
});
runForever(refresh);
runForever(followEvents);
