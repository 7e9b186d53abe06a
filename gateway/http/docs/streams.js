// A small try-it for WebSockets: frames out, results in, on one socket.
"use strict";
(async () => {
  const at = (id) => document.getElementById(id);
  const service = at("ws-service"), frame = at("ws-frame"), log = at("ws-log");
  const told = (text) => { log.textContent += text + "\n"; log.scrollTop = log.scrollHeight; };
  const paths = (await (await fetch("openapi.json")).json()).paths;
  const posts = Object.entries(paths).filter(([path, of]) => path.startsWith("/v1/private/") && of.post);
  for (const [path] of posts) service.add(new Option(path.slice("/v1/private/".length), path));
  const example = () => {
    const content = paths[service.value].post.requestBody.content["application/json"];
    const made = content.example ?? Object.values(content.examples ?? {})[0]?.value ?? {};
    frame.value = JSON.stringify(made, null, 2);
  };
  let socket = null;
  at("ws-send").onclick = () => {
    if (socket && socket.readyState === WebSocket.OPEN) { socket.send(frame.value); return; }
    const url = new URL(service.value.slice(1), location.href);
    url.protocol = url.protocol.replace("http", "ws");
    socket = new WebSocket(url);
    socket.onopen = () => { told("open"); socket.send(frame.value); };
    socket.onmessage = (message) => told(message.data);
    socket.onclose = (close) => told(`closed ${close.code} ${close.reason}`);
  };
  at("ws-close").onclick = () => socket && socket.close(1000);
  service.onchange = example;
  if (posts.length) example();
})();
