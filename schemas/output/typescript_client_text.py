"""The text of a generated TypeScript client; see `python_client_text`. Values only."""

from typing import Final

MODULE: Final = """/** @@DOC@@ Made from the schema of the service. It needs fetch. */

export type FileInput = Blob | Uint8Array;

/** Parameters and inputs. */
export interface Members {
@@MEMBERS@@}

/** The outputs of the service; one that it left out is undefined. */
export interface Outputs {
@@OUTPUTS@@}

export interface ClientOptions {
  /** The application that calls. */
  appId?: string;
  headers?: Record<string, string>;
  /** Milliseconds until an answer begins; 30,000 by default. */
  timeout?: number;
  /** How often a request that the service could not take is repeated; 2 by default. */
  retries?: number;
  fetch?: typeof globalThis.fetch;
}

/** The service refused the request, or failed (RFC 9457). */
export class Problem extends Error {
  /** The code in the table of errors. */
  readonly code: number;
  /** The id of the request. */
  readonly sid: string;
  readonly detail: string;
  /** JSON pointer and rule of each member that is wrong. */
  readonly errors: Array<{ pointer: string; rule: string }>;

  constructor(readonly status: number, members: Record<string, unknown>) {
    const detail = String(members["detail"] ?? `status ${status}`);
    super(`${members["code"] ?? 0}: ${detail} (sid ${members["sid"] ?? ""})`);
    this.code = Number(members["code"] ?? 0);
    this.sid = String(members["sid"] ?? "");
    this.detail = detail;
    this.errors = (members["errors"] ?? []) as Array<{ pointer: string; rule: string }>;
  }
}

/** Read a file by its path, in Node. */
export async function fileFrom(path: string): Promise<Blob> {
  const module: string = "node:fs/promises";
  const fs = await import(module);
  const ending = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  return new Blob([await fs.readFile(path)], { type: MEDIA_TYPES[ending] ?? "" });
}

/** @@DOC@@ */
export class Client {
  private readonly url: string;
  private readonly headers: Record<string, string>;
  private readonly timeout: number;
  private readonly retries: number;
  private readonly fetch: typeof globalThis.fetch;

  /** @param url of the gateway */
  constructor(url: string, options: ClientOptions = {}) {
    this.url = `${url.replace(/\\/$/, "")}/v1/` + @@ID@@;
    const own: Record<string, string> =
      options.appId === undefined ? {} : { "x-app-id": options.appId };
    this.headers = { ...own, ...options.headers };
    this.timeout = options.timeout ?? 30_000;
    this.retries = options.retries ?? 2;
    this.fetch = options.fetch ?? globalThis.fetch;
  }

  /** Call the service. Throws Problem. */
  async call(members: Members, signal?: AbortSignal): Promise<Outputs> {
    const response = await this.send("application/json", members, signal);
    return readOutputs(await response.json());
  }

  /** Yield each result when it arrives. Throws Problem. */
  async *stream(members: Members, signal?: AbortSignal): AsyncGenerator<Outputs> {
    const response = await this.send("application/x-ndjson", members, signal);
    const decoder = new TextDecoder();
    const reader = response.body!.getReader();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        const lines = (rest + decoder.decode(value, { stream: !done })).split("\\n");
        rest = done ? "" : lines.pop()!;
        for (const line of lines) if (line) yield readLine(line);
        if (done) return;
      }
    } finally {
      await reader.cancel();
    }
  }

  private async send(accept: string, members: Members, signal?: AbortSignal): Promise<Response> {
    const { fetch } = this; // called without an object, as browsers demand
    const key: Record<string, string> = IS_IDEMPOTENT ? { "idempotency-key": randomKey() } : {};
    for (let attempt = 0; ; attempt++) {
      const { body, headers } = requestBody(members as unknown as Record<string, unknown>);
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(new Error("no answer in time")), this.timeout);
      const stop = () => limit.abort(signal!.reason);
      signal?.addEventListener("abort", stop, { once: true });
      if (signal?.aborted) stop();
      let response: Response;
      try {
        response = await fetch(this.url, {
          method: "POST",
          headers: { ...this.headers, ...headers, ...key, accept },
          body,
          signal: limit.signal,
        });
      } finally {
        clearTimeout(timer); // a stream may last longer than the wait for its start
      }
      if (response.ok) return response;
      signal?.removeEventListener("abort", stop);
      const problem = await readProblem(response);
      if (attempt >= this.retries || !RETRIED.includes(response.status)) throw problem;
      await new Promise((resolve) => setTimeout(resolve, delay(response, attempt)));
    }
  }
}

const FILES: string[] = @@FILES@@;
const JSON_INPUTS: string[] = @@JSON_INPUTS@@;
const IS_IDEMPOTENT: boolean = @@IS_IDEMPOTENT@@;
const RETRIED: number[] = @@RETRIED@@;
const MAX_DELAY = 30_000;
const MEDIA_TYPES: Record<string, string> = {
  png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp",
  wav: "audio/wav", mp3: "audio/mpeg", flac: "audio/flac", ogg: "audio/ogg",
  mp4: "video/mp4", webm: "video/webm", pdf: "application/pdf", json: "application/json",
};

/** A form if there are files, else JSON. */
function requestBody(members: Record<string, unknown>): {
  body: FormData | string;
  headers: Record<string, string>;
} {
  const sent = Object.entries(members).filter(([, value]) => value !== undefined && value !== null);
  if (!sent.some(([name]) => FILES.includes(name))) {
    const body = JSON.stringify(Object.fromEntries(sent));
    return { body, headers: { "content-type": "application/json" } };
  }
  const form = new FormData();
  for (const [name, value] of sent) {
    if (FILES.includes(name)) {
      const file = value instanceof Blob ? value : new Blob([value as BlobPart]);
      form.append(name, file, file instanceof File ? file.name : "file");
    } else {
      const isText = typeof value === "string" && !JSON_INPUTS.includes(name);
      form.append(name, isText ? value : JSON.stringify(value));
    }
  }
  return { body: form, headers: {} };
}

/** A key that no other request has; not every page has `crypto.randomUUID`. */
function randomKey(): string {
  const digits = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"));
  return digits.join("");
}

/** Milliseconds to wait: what Retry-After says, else twice as long each time. */
function delay(response: Response, attempt: number): number {
  const retryAfter = response.headers.get("retry-after") ?? "";
  const wait = /^\\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : 200 * 2 ** attempt;
  return Math.min(wait, MAX_DELAY);
}

async function readProblem(response: Response): Promise<Problem> {
  const members: unknown = await response.json().catch(() => ({}));
  return new Problem(response.status, (members ?? {}) as Record<string, unknown>);
}

/** The outputs of a line of a stream; throws the Problem that it is. */
function readLine(line: string): Outputs {
  const members = JSON.parse(line) as Record<string, unknown>;
  const problem = members["error"] as Record<string, unknown> | undefined;
  if (Object.keys(members).length === 1 && problem?.["sid"] !== undefined) {
    throw new Problem(Number(problem["status"] ?? 0), problem);
  }
  return readOutputs(members);
}

function readOutputs(members: Record<string, unknown>): Outputs {
  return {
@@PARSED@@  };
}

function readFile(value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined;
  return Uint8Array.from(atob(value as string), (char) => char.charCodeAt(0));
}

/** A text; one that is not in the encoding that the service names comes as base64. */
function readText(value: unknown): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  return new TextDecoder().decode(readFile((value as { data: string }).data));
}
"""
