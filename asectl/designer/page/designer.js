"use strict";
// The form is a tree of `kind: ApiSchema`. Each change is checked by the server, which returns the
// schema, the YAML and an example, or the problems with their paths in the tree.

const PARAMETER_TYPES = ["string", "integer", "number", "boolean", "object"];
const STREAM_TYPES = ["text", "image", "audio", "video", "other"];
// name, label, kind: text, number, check, list, or the values of a choice.
const METADATA_FIELDS = [
  ["serviceName", "Service id", "text"], ["version", "Version", "text"],
  ["description", "Description", "text"], ["projectName", "Project", "text"],
  ["group", "Group", "text"], ["region", "Region", "text"],
  ["deadline", "Deadline (s)", "number"], ["idempotent", "Idempotent", "check"],
  ["streams", "Streams", "check"],
];
const PARAMETER_FIELDS = [
  ["name", "Name", "text"], ["type", "Type", PARAMETER_TYPES], ["required", "Required", "check"],
  ["minimum", "Minimum", "number"], ["maximum", "Maximum", "number"],
  ["minLength", "Least length", "number"], ["maxLength", "Most length", "number"],
  ["enum", "Values, by commas", "list"], ["default", "Default", "value"],
  ["description", "Description", "text"],
];
const INPUT_FIELDS = [
  ["name", "Name", "text"], ["type", "Type", STREAM_TYPES], ["required", "Required", "check"],
  ["encoding", "Encoding", "text"], ["compress", "Compression", "text"], ["format", "Format", "text"],
  ["maxBytes", "Most bytes", "number"], ["description", "Description", "text"],
];
const OUTPUT_FIELDS = INPUT_FIELDS.filter(([name]) => !["required", "maxBytes"].includes(name));
// Where the rows of a section are in the tree.
const SECTIONS = {
  parameters: { path: ["spec", "request", "parameters"], fields: PARAMETER_FIELDS },
  inputs: { path: ["spec", "request", "payload"], fields: INPUT_FIELDS },
  outputs: { path: ["spec", "response", "payload"], fields: OUTPUT_FIELDS },
};
const VIEWS = ["YAML", "Schema", "Example", "Try it"];

const byId = (id) => document.getElementById(id);
const state = { checked: null, view: "YAML", request: "", answer: "", turn: 0, next: 0 };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A labelled input; `key` is its member in the tree.
function field(key, label, kind, value) {
  const id = `field-${state.next++}`;
  let input;
  if (Array.isArray(kind)) {
    input = element("select", { id }, ...kind.map((text) => element("option", {}, text)));
    input.value = value ?? kind[0];
  } else if (kind === "check") {
    input = element("input", { id, type: "checkbox" });
    input.checked = Boolean(value);
  } else {
    input = element("input", { id, inputmode: kind === "number" ? "decimal" : "text" });
    input.value = kind === "list" ? (value ?? []).join(", ") : value ?? "";
  }
  input.dataset.key = key;
  input.dataset.kind = Array.isArray(kind) ? "text" : kind;
  input.setAttribute("aria-describedby", `${id}-message`);
  const message = element("span", { id: `${id}-message`, class: "message" });
  return element("div", { class: "field" }, element("label", { for: id }, label), input, message);
}

// The value of an input as it stands in the tree; undefined for what is left out.
function valueOf(input, type) {
  const text = input.value.trim();
  switch (input.dataset.kind) {
    case "check": return input.checked || undefined;
    case "number": return text === "" ? undefined : asNumber(text);
    case "list": return text === "" ? undefined : text.split(",").map((item) => typed(item.trim(), type));
    case "value": return text === "" ? undefined : typed(text, type);
    default: return text === "" ? undefined : text;
  }
}

const asNumber = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);

function typed(text, type) {
  if (type === "integer" || type === "number") return asNumber(text);
  if (type === "boolean") return { true: true, false: false }[text] ?? text;
  return text;
}

function rowValues(row) {
  const inputs = [...row.querySelectorAll("[data-key]")];
  const type = inputs.find((input) => input.dataset.key === "type")?.value;
  const entries = inputs.map((input) => [input.dataset.key, valueOf(input, type)]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function readTree() {
  const metadata = rowValues(byId("metadata"));
  const tree = {
    apiVersion: "iflytek.com/v1alpha1", kind: "ApiSchema", metadata,
    spec: { request: { parameters: {}, payload: {} }, response: { payload: {} } },
  };
  for (const [id, section] of Object.entries(SECTIONS)) {
    const target = section.path.reduce((node, key) => node[key], tree);
    const properties = {};
    const required = [];
    for (const row of byId(id).querySelectorAll(".row")) {
      const { name, required: isRequired, ...rules } = rowValues(row);
      if (!name) continue;
      properties[name] = rules;
      if (isRequired) required.push(name);
    }
    target.properties = properties;
    if (required.length) target.required = required;
  }
  return tree;
}

function addRow(id, name = "", rules = {}, required = false) {
  const { fields } = SECTIONS[id];
  const values = { ...rules, name, required };
  const row = element("div", { class: "row" },
    ...fields.map(([key, label, kind]) => field(key, label, kind, values[key])));
  const remove = element("button", { type: "button", onclick: () => { row.remove(); check(); } },
    "Remove");
  row.append(element("div", { class: "field" }, remove));
  byId(id).querySelector(".rows").append(row);
  return row;
}

function fill(tree) {
  const metadata = tree.metadata ?? {};
  byId("metadata").querySelector(".grid")?.remove();
  byId("metadata").append(element("div", { class: "grid" },
    ...METADATA_FIELDS.map(([key, label, kind]) => field(key, label, kind, metadata[key]))));
  for (const [id, section] of Object.entries(SECTIONS)) {
    byId(id).querySelector(".rows").replaceChildren();
    const source = section.path.reduce((node, key) => node?.[key], tree) ?? {};
    for (const [name, rules] of Object.entries(source.properties ?? {})) {
      addRow(id, name, rules, (source.required ?? []).includes(name));
    }
  }
}

// Return the input that a path of the tree stands for, or the nearest one around it.
function inputAt(path) {
  if (path[0] === "metadata") return byId("metadata").querySelector(`[data-key="${path[1]}"]`);
  for (const [id, section] of Object.entries(SECTIONS)) {
    if (!section.path.every((key, index) => path[index] === key)) continue;
    const [kind, name, key] = path.slice(section.path.length);
    if (kind !== "properties") continue;
    const row = [...byId(id).querySelectorAll(".row")].find(
      (candidate) => candidate.querySelector('[data-key="name"]').value.trim() === name);
    return row?.querySelector(`[data-key="${key}"]`) ?? row?.querySelector('[data-key="name"]');
  }
  return null;
}

function showProblems(problems) {
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const message of document.querySelectorAll(".message")) message.textContent = "";
  const others = [];
  for (const problem of problems) {
    const text = problem.hint ? `${problem.message}; ${problem.hint}` : problem.message;
    const input = inputAt(problem.path);
    if (!input) {
      others.push(element("li", {}, `${problem.path.join(".")}: ${text}`));
      continue;
    }
    input.setAttribute("aria-invalid", "true");
    byId(input.getAttribute("aria-describedby")).textContent = text;
  }
  byId("problems").replaceChildren(...others);
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

function notice(text, isBad = false) {
  byId("notice").textContent = text;
  byId("notice").className = isBad ? "bad" : "good";
}

async function check() {
  const turn = ++state.turn;
  try {
    const checked = await post("check", readTree());
    if (turn !== state.turn) return; // a later change is being checked
    state.checked = checked;
    showProblems(checked.problems);
    if (checked.example) state.request = JSON.stringify(checked.example, null, 2);
    byId("save").disabled = byId("push").disabled = checked.problems.length > 0;
    document.body.dataset.checked = String(turn);
    showView();
  } catch (error) {
    notice(error.message, true);
  }
}

let timer = 0;
function checkSoon() {
  clearTimeout(timer);
  timer = setTimeout(check, 150);
}

function showView() {
  byId("result").querySelector("[role=tablist]").replaceChildren(...VIEWS.map((name) =>
    element("button", {
      type: "button", role: "tab", "aria-selected": String(name === state.view),
      onclick: () => { state.view = name; showView(); },
    }, name)));
  const checked = state.checked;
  if (state.view === "Try it") {
    const request = element("textarea", { id: "request", "aria-label": "Request" });
    request.value = state.request;
    request.addEventListener("input", () => { state.request = request.value; });
    const send = element("button", { id: "send", type: "button", onclick: tryIt }, "Send");
    byId("view").replaceChildren(request, send,
      element("pre", { id: "answer", "aria-live": "polite" }, state.answer));
    return;
  }
  const texts = { YAML: checked.yaml, Schema: checked.schema, Example: state.request };
  const text = checked.problems.length ? "The design has problems: see its fields." : texts[state.view];
  byId("view").replaceChildren(element("pre", {}, text));
}

async function tryIt() {
  try {
    const request = JSON.parse(byId("request").value);
    const answer = await post("try", { service: state.checked.service, request });
    state.answer = `${answer.status}\n${answer.body}`;
  } catch (error) {
    state.answer = error.message;
  }
  byId("answer").textContent = state.answer;
}

async function importFile(input) {
  const file = input.files[0];
  input.value = "";
  if (!file) return;
  try {
    fill((await post("import", { name: file.name, text: await file.text() })).tree);
    notice(`${file.name} is imported`);
    await check();
  } catch (error) {
    notice(error.message, true);
  }
}

async function start() {
  const response = await fetch("design");
  const opened = await response.json();
  byId("file").textContent = opened.file ?? "";
  if (!response.ok) notice(opened.error, true);
  fill(opened.tree ?? {});
  for (const id of Object.keys(SECTIONS)) {
    byId(id).querySelector(".add").addEventListener("click", () => {
      addRow(id).querySelector("input").focus();
    });
  }
  byId("design").addEventListener("input", checkSoon);
  byId("design").addEventListener("submit", (event) => event.preventDefault());
  byId("import").addEventListener("change", (event) => importFile(event.target));
  byId("save").addEventListener("click", () =>
    post("save", readTree()).then((done) => notice(`saved ${done.saved.join(" and ")}`),
      (error) => notice(error.message, true)));
  byId("push").addEventListener("click", () =>
    post("push", readTree()).then((done) => notice(`in ${done.pushed}`),
      (error) => notice(error.message, true)));
  await check();
}

start();
