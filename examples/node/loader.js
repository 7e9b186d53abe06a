"use strict";
// A loader in JavaScript: it serves `ase.v1.Loader/Infer` and reports its load to a hub, so that a
// gateway with `lb.accept_schemas` serves it as POST /v1/private/node-upper. The protocol: docs/wire.md.
//
//     npm install @grpc/grpc-js && node loader.js HUB_HOST:PORT OUR_PORT
const [crypto, fs, path] = ["crypto", "fs", "path"].map(require);
const grpc = require("@grpc/grpc-js");
const protos = require("@grpc/proto-loader");

const [hubAddress = "127.0.0.1:8220", port = "0"] = process.argv.slice(2);
const folder = process.env.ASE_PROTOS || path.join(__dirname, "../../schemas/proto");
const options = { includeDirs: [folder], keepCase: true, longs: Number, enums: Number };
const files = ["ase/v1/loader.proto", "ase/v1/balancer.proto"];
const { ase } = grpc.loadPackageDefinition(protos.loadSync(files, options));

// The canonical document, as `asectl loader schema` prints it: sorted members, no spaces.
const document = fs.readFileSync(path.join(__dirname, "schema.json"));
const digest = crypto.createHash("sha256").update(document).digest("hex");
const epoch = crypto.randomBytes(6).readUIntBE(0, 6) + 1; // another one in each process
const [TOTAL, KEEPALIVE_MS] = [8, 50]; // requests at a time; between reports
const held = {}; // requests that run here, by gateway
let [running, served, seq, serviceMs] = [0, 0, 0, 0];

function infer(call, respond) {
  if (running >= TOTAL) {
    return respond({ code: grpc.status.RESOURCE_EXHAUSTED, details: "10110 all licences are taken" });
  }
  const gateway = call.metadata.get("ase-gateway")[0] || "";
  const startedAt = performance.now();
  running += 1;
  held[gateway] = (held[gateway] || 0) + 1;
  setImmediate(() => {
    const text = call.request.pl.find((payload) => payload.meta.name === "text").data.toString();
    const meta = call.request.expect.find((expected) => expected.name === "result");
    const pl = [{ meta, data: Buffer.from(text.toUpperCase()) }];
    running -= 1;
    served += 1;
    held[gateway] -= 1;
    serviceMs += (performance.now() - startedAt - serviceMs) / Math.min(served, 128);
    respond(null, { serviceId: call.request.serviceId, status: 3, pl });
  });
}

function report(addr, isFirst) {
  return {
    subsvc: "node-upper", addr, instance_epoch: epoch, seq: ++seq, live: 1, total: TOTAL, best: TOTAL,
    idle: TOTAL - running, running, service_ms: serviceMs, served_total: served, held, tells_held: true,
    protocol: 1, schema_digest: digest, ...(isFirst ? { schema: { digest, document } } : {}),
  };
}

function reportTo(hub, addr) {
  const stream = hub.Report(() => {});
  stream.write(report(addr, true));
  const timer = setInterval(() => stream.write(report(addr, false)), KEEPALIVE_MS);
  stream.on("data", (control) => control.code && console.error("report refused:", control.message));
  stream.on("error", (error) => {
    clearInterval(timer);
    console.error("hub lost:", error.details);
    setTimeout(reportTo, 1000, hub, addr);
  });
}

const server = new grpc.Server();
server.addService(ase.v1.Loader.service, { Infer: infer });
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${bound}`);
  reportTo(new ase.v1.LoadBalancer(hubAddress, grpc.credentials.createInsecure()), `127.0.0.1:${bound}`);
});
