// The page at `/`: the services of this gateway, a form for each, and how to call it from a program.
// It reads the OpenAPI document; everything shown of a service is put in as text.
"use strict";

const base = new URL(".", location.href).href.replace(/\/$/, "");

/** Return an element with attributes and children; texts are children too. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return the schema that a reference names, or the schema itself. */
function resolve(openapi, schema) {
  return schema.$ref ? openapi.components.schemas[schema.$ref.split("/").pop()] : schema;
}

/** Return what the page needs to know of a service, from its plain operation. */
function readService(openapi, api) {
  const operation = openapi.paths[api.plain].post;
  const content = operation.requestBody.content;
  const request = content["application/json"];
  const form = content["multipart/form-data"];
  const schema = resolve(openapi, (form || request).schema);
  const answers = Object.keys(operation.responses["200"].content);
  return {
    id: api.service, description: api.description, streams: api.streams, instances: api.instances,
    curl: api.curl, url: base + api.plain, takesBearer: api.curl.includes("$ASE_API_KEY"), properties: schema.properties, required: schema.required || [],
    example: request.example || {}, hasFiles: Boolean(form),
    encodings: (form && form.encoding) || {},
    fileType: answers.find((type) => /^(image|audio|video)\//.test(type)),
  };
}

/** Return the schemes by which callers prove who they are, of which the page can send one: a key or a token. */
function bearerSchemes(openapi) {
  return Object.values(openapi.components.securitySchemes || {}).filter((scheme) => scheme.scheme === "bearer");
}

/** Return the field for the key or token of all requests. The tab keeps it; pages of other origins cannot read it. */
function makeKeyField(schemes) {
  const control = make("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false",
    oninput: () => sessionStorage.setItem("key", control.value) });
  control.value = sessionStorage.getItem("key") || "";
  const hint = schemes.map((scheme) => scheme.description).join(", or ");
  return make("div", { class: "field" }, make("label", { for: "key" }, "Key"), control,
    make("span", { class: "muted" }, `${hint}; kept in this tab until it is closed`));
}

/** Return the header that proves who calls, if there is a key. */
function authorization() {
  const control = document.getElementById("key");
  return control && control.value ? { Authorization: `Bearer ${control.value.trim()}` } : {};
}

function isFile(rules) {
  return rules.format === "binary";
}

/** Return whether a member is the options of an output; the form leaves them out. */
function isOptions(rules) {
  return [].concat(rules.type).includes("object") && Object.keys(rules.properties || {}).includes("encoding");
}

/** Return the control for a member, by its schema. */
function makeControl(id, name, rules, service) {
  const required = service.required.includes(name);
  const example = service.example[name];
  const types = [].concat(rules.type || []);
  if (isFile(rules)) {
    const accept = (service.encodings[name] || {}).contentType;
    return make("input", { id, name, type: "file", required, accept });
  }
  if (rules.enum) {
    const choices = rules.enum.filter((value) => value !== null);
    const options = choices.map((value) => make("option", { value, selected: value === rules.default }, String(value)));
    return make("select", { id, name, required }, ...(required ? [] : [make("option", { value: "" }, "")]), ...options);
  }
  if (types.includes("boolean")) {
    const option = (value) => make("option", { value, selected: String(rules.default) === value }, value);
    return make("select", { id, name }, make("option", { value: "" }, ""), option("true"), option("false"));
  }
  if (types.includes("integer") || types.includes("number")) {
    const step = types.includes("integer") ? 1 : "any";
    const value = rules.default ?? (required ? example : "");
    return make("input", { id, name, type: "number", step, min: rules.minimum, max: rules.maximum, required, value });
  }
  const isInput = types.length === 0 || rules.minLength === 1 || name in service.example;
  const text = typeof example === "string" ? example : example === undefined ? "" : JSON.stringify(example);
  if (isInput && !("default" in rules)) {
    return make("textarea", { id, name, required, "data-json": !types.includes("string") }, text);
  }
  return make("input", { id, name, type: "text", maxlength: rules.maxLength, required, value: rules.default ?? "" });
}

/** Return sound of any format as a WAV file: 16 bits, one channel, 16 kHz, which most models take. */
async function toWav(sound) {
  const rate = 16000;
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await sound.arrayBuffer());
  const context = new OfflineAudioContext(1, Math.ceil(decoded.duration * rate), rate);
  const source = context.createBufferSource();
  source.buffer = decoded;
  source.connect(context.destination);
  source.start();
  const samples = (await context.startRendering()).getChannelData(0);
  const file = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (offset, value) => [...value].forEach((letter, i) => file.setUint8(offset + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  file.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  file.setUint32(16, 16, true);
  file.setUint16(20, 1, true);
  file.setUint16(22, 1, true);
  file.setUint32(24, rate, true);
  file.setUint32(28, rate * 2, true);
  file.setUint16(32, 2, true);
  file.setUint16(34, 16, true);
  text(36, "data");
  file.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, i) => file.setInt16(44 + i * 2, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return new File([file], "recording.wav", { type: "audio/wav" });
}

/** Return a button that records sound into a file input; null where the browser cannot. */
function makeRecorder(control) {
  if (!navigator.mediaDevices || !window.MediaRecorder) return null;
  let recorder = null;
  const button = make("button", { type: "button" }, "Record");
  button.addEventListener("click", async () => {
    if (recorder) return recorder.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const parts = [];
      recorder = new MediaRecorder(stream);
      recorder.ondataavailable = (event) => parts.push(event.data);
      recorder.onstop = async () => {
        stream.getTracks().forEach((track) => track.stop());
        const files = new DataTransfer();
        files.items.add(await toWav(new Blob(parts, { type: recorder.mimeType })));
        control.files = files.files;
        recorder = null;
        button.textContent = "Record again";
      };
      recorder.start();
      button.textContent = "Stop";
    } catch (error) {
      button.textContent = `No microphone: ${error.name}`;
      recorder = null;
    }
  });
  return button;
}

/** Return the request of a form: fetch's body and headers. */
function readForm(form, service) {
  const controls = [...form.elements].filter((control) => control.name && control.value !== "");
  if (controls.some((control) => control.type === "file")) {
    const body = new FormData();
    for (const control of controls) body.append(control.name, control.type === "file" ? control.files[0] : control.value);
    return { body, headers: {} };
  }
  const members = {};
  for (const control of controls) {
    const types = [].concat(service.properties[control.name].type || []);
    const isText = types.includes("string") && !control.dataset.json;
    members[control.name] = isText ? control.value : parseValue(control.value);
  }
  return { body: JSON.stringify(members), headers: { "Content-Type": "application/json" } };
}

function parseValue(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Show one output: a picture, sound or video, JSON or text. */
function showOutput(target, name, value, type) {
  const source = value instanceof Blob ? URL.createObjectURL(value) : value;
  const title = make("p", { class: "muted" }, name);
  if (/^image\//.test(type)) target.append(title, make("img", { src: source, alt: `the output ${name}` }));
  else if (/^audio\//.test(type)) target.append(title, make("audio", { src: source, controls: true }));
  else if (/^video\//.test(type)) target.append(title, make("video", { src: source, controls: true }));
  else target.append(title, make("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2)));
}

/** Return the media type that the first bytes of base64 data show; "" if none is known. */
function sniff(text) {
  const starts = { iVBORw0: "image/png", "/9j/": "image/jpeg", R0lGOD: "image/gif", UklGR: "audio/wav", SUQz: "audio/mpeg" };
  const start = Object.keys(starts).find((key) => text.startsWith(key));
  return start ? starts[start] : "";
}

function showMembers(target, members) {
  for (const [name, value] of Object.entries(members)) {
    const type = typeof value === "string" ? sniff(value) : "";
    if (type) showOutput(target, name, `data:${type};base64,${value}`, type);
    else showOutput(target, name, value, "");
  }
}

/** Show events as they come; return when the response has ended. */
async function showEvents(target, response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (!event || !data || event[1] === "end") continue;
      if (event[1] === "error") showProblem(target, JSON.parse(data[1]));
      else showMembers(target, JSON.parse(data[1]));
    }
  }
}

function showProblem(target, problem) {
  target.append(make("p", { class: "bad", role: "alert" }, problem.detail || "the request failed"));
  for (const error of problem.errors || []) {
    target.append(make("p", { class: "muted" }, `${error.pointer || "request"}: ${error.rule}`));
  }
  if (problem.sid) target.append(make("p", { class: "muted" }, `code ${problem.code}, id ${problem.sid}`));
}

async function send(form, service, target, wantsEvents) {
  target.replaceChildren(make("p", { class: "muted" }, "Waiting for the answer."));
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  const startedAt = performance.now();
  try {
    const { body, headers } = readForm(form, service);
    const accept = wantsEvents ? "text/event-stream" : "application/json";
    const response = await fetch(service.url, { method: "POST", body, headers: { ...headers, ...authorization(), Accept: accept } });
    const instance = response.headers.get("x-ase-instance");
    const state = make("p", { class: response.ok ? "good" : "muted" });
    const showState = () => {
      const milliseconds = Math.round(performance.now() - startedAt);
      state.textContent = `${response.status} in ${milliseconds} ms${instance ? ` from ${instance}` : ""}`;
    };
    showState();
    target.replaceChildren(state);
    const type = response.headers.get("content-type") || "";
    if (!response.ok) showProblem(target, await response.json());
    else if (type.startsWith("text/event-stream")) await showEvents(target, response);
    else showMembers(target, await response.json());
    showState();
  } catch (error) {
    target.replaceChildren(make("p", { class: "bad", role: "alert" }, `No answer: ${error.message}`));
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

/** Return programs that call a service: [name, text]. */
function snippets(service) {
  const names = Object.keys(service.properties).filter((name) => isFile(service.properties[name]));
  const values = Object.fromEntries(Object.entries(service.example).filter(([name]) =>
    !names.includes(name) && service.properties[name] && !("default" in service.properties[name])));
  const json = JSON.stringify(values, null, 2);
  const url = JSON.stringify(service.url);
  const file = names.find((name) => service.required.includes(name)) || names[0];
  return [["curl", service.curl], ["Python", pythonProgram(service, url, file, json)], ["JavaScript", scriptProgram(service, url, file, json)]];
}

/** Return a Python program that sends a file or, without one, JSON; the key is in the environment. */
function pythonProgram(service, url, file, json) {
  const headers = [file && `"Accept": "application/json"`, service.takesBearer && `"Authorization": f"Bearer {os.environ['ASE_API_KEY']}"`].filter(Boolean);
  const argument = headers.length ? `, headers={${headers.join(", ")}}` : "";
  const imports = [!file && "import json", service.takesBearer && "import os"].filter(Boolean);
  const request = file
    ? `files = {${JSON.stringify(file)}: open("FILE", "rb")}\nanswer = httpx.post(${url}, files=files, data=${json}${argument})`
    : `request = json.loads(r"""${json}""")\nanswer = httpx.post(${url}, json=request${argument})`;
  return `${imports.length ? `${imports.join("\n")}\n\n` : ""}import httpx\n\n${request}\nprint(answer.raise_for_status().json())`;
}

/** Return a JavaScript program that does the same; the key is in a variable. */
function scriptProgram(service, url, file, json) {
  const headers = [file ? `Accept: "application/json"` : `"Content-Type": "application/json"`, service.takesBearer && "Authorization: `Bearer ${key}`"].filter(Boolean).join(", ");
  return file
    ? `const form = new FormData();\nform.append(${JSON.stringify(file)}, fileInput.files[0]);\nconst answer = await fetch(${url}, { method: "POST", body: form, headers: { ${headers} } });\nconsole.log(await answer.json());`
    : `const answer = await fetch(${url}, {\n  method: "POST",\n  headers: { ${headers} },\n  body: JSON.stringify(${json}),\n});\nconsole.log(await answer.json());`;
}

function makeSnippets(service) {
  const shown = make("pre", { role: "tabpanel" });
  const copy = make("button", { type: "button", onclick: async () => {
    await navigator.clipboard.writeText(shown.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const tabs = snippets(service).map(([name, text]) => {
    const tab = make("button", { type: "button", role: "tab", onclick: () => select(tab, text) }, name);
    return [tab, text];
  });
  function select(tab, text) {
    tabs.forEach(([other]) => other.setAttribute("aria-selected", String(other === tab)));
    shown.textContent = text;
  }
  select(...tabs[0]);
  const list = make("div", { role: "tablist", "aria-label": `Programs that call ${service.id}` }, ...tabs.map(([tab]) => tab));
  return make("details", {}, make("summary", {}, "Call it from a program"), list, make("div", { class: "snippet" }, copy, shown));
}

function makeService(service) {
  const answer = make("div", { class: "answer", "aria-live": "polite" });
  const fields = Object.entries(service.properties).filter(([, rules]) => !isOptions(rules)).map(([name, rules]) => {
    const id = `${service.id}-${name}`;
    const control = makeControl(id, name, rules, service);
    const isSound = control.type === "file" && /^audio\//.test(control.accept || (/audio|sound|speech/.test(name) ? "audio/" : ""));
    const limits = [rules.minimum, rules.maximum].every((limit) => limit !== undefined) ? `${rules.minimum} to ${rules.maximum}` : "";
    const hint = [rules.description, limits, service.required.includes(name) ? "" : "optional"].filter(Boolean).join("; ");
    return make("div", { class: "field" }, make("label", { for: id }, name), control,
      isSound ? makeRecorder(control) : null, hint ? make("span", { class: "muted" }, hint) : null);
  });
  const form = make("form", { onsubmit: (event) => {
    event.preventDefault();
    send(form, service, answer, event.submitter && event.submitter.value === "events");
  } }, ...fields, make("div", { class: "actions" },
    make("button", { class: "send", type: "submit" }, "Send"),
    service.streams ? make("button", { type: "submit", value: "events" }, "Send, and show events") : null));
  const state = service.instances ? `${service.instances} running` : "none running";
  return make("article", { id: `service-${service.id}` },
    make("div", { class: "heading" }, make("h2", {}, service.id), make("span", { class: "muted" }, state)),
    make("p", {}, service.description || ""), form, answer, makeSnippets(service));
}

async function start() {
  const main = document.getElementById("services");
  try {
    const [openapi, list] = await Promise.all(["openapi.json", "v1/apis"].map(async (path) => (await fetch(path)).json()));
    const services = list.apis.map((api) => readService(openapi, api));
    const schemes = bearerSchemes(openapi);
    if (schemes.length) document.getElementById("access").append(makeKeyField(schemes));
    main.replaceChildren(...services.map(makeService));
    if (!services.length) main.append(make("p", {}, "No service is running yet. Start a loader, and reload this page."));
    document.getElementById("list").append(...services.map((service) => make("a", { href: `#service-${service.id}` }, service.id)));
  } catch (error) {
    main.replaceChildren(make("p", { class: "bad", role: "alert" }, `The services cannot be shown: ${error.message}`));
  }
}

start();
