"""Whichever form a request has, its results are the same: the envelope's are the measure."""

import base64
import json
import random
from collections.abc import AsyncIterator, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest

from rpc.handler_tasks import CallContext
from schemas.wire import (
    GatewayValue,
    InferRequest,
    InferResponse,
    LoaderOutput,
    MetaDesc,
    Payload,
    SessionRequest,
    SessionResponse,
)
from tests.gateway.plain.test_exchange import JSON, Client, client
from tests.requests import read_all
from tests.sessions import InProcessWebSocket

__all__ = ["client"]

Values = dict[str, Any]  # note: text, facts: JSON, thumbnail: bytes
ENVELOPE = {"header": {"app_id": "anonymous", "status": 3}, "payload": {}}
ALPHABET = 'aé€😀 "\\&=+%\n/'


def random_values(rng: random.Random) -> Values:
    values = {
        "note": "".join(rng.choices(ALPHABET, k=rng.randint(0, 60))),
        "facts": rng.choice([{"a": [1, None, "é"]}, [], "text", 0.25, True, None]),
        "thumbnail": rng.randbytes(rng.randint(0, 300)),
    }
    names = rng.sample(sorted(values), rng.randint(1, 3))
    return {name: values[name] for name in sorted(names)}


def output_of(values: Values, status: int) -> bytes:
    """Return the frame in which a loader gives values."""
    payloads = []
    for name, value in values.items():
        is_json = name == "facts"
        data = value if isinstance(value, bytes) else str(value).encode()
        data = json.dumps(value).encode() if is_json else data
        attribute = {"format": "json"} if is_json else {"encoding": "png"}
        attribute = {} if name == "note" else attribute
        data_type = 2 if name == "thumbnail" else 0
        meta = MetaDesc(name=name, dataType=data_type, attribute=attribute)
        payloads.append(Payload(meta=meta, data=data))
    return LoaderOutput(status=status, pl=payloads).SerializeToString()


def from_envelope(envelope: Mapping[str, Any]) -> Values:
    values: Values = {}
    for name, stream in envelope["payload"].items():
        value = stream["image" if name == "thumbnail" else "text"]
        value = value if name == "facts" else base64.b64decode(value)
        values[name] = value.decode() if name == "note" else value
    return values


def from_members(members: Mapping[str, Any]) -> Values:
    return {
        name: base64.b64decode(value) if name == "thumbnail" else value
        for name, value in members.items()
    }


def from_multipart(content_type: str, body: bytes) -> Values:
    head = f"content-type: {content_type}\r\n\r\n".encode()
    values: Values = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        data = data.removesuffix(b"\r\n") if data.endswith(b"\r\n") else data
        values[name] = json.loads(data) if name == "facts" else data
        values[name] = data.decode() if name == "note" else values[name]
    return values


def from_grpc(members: Mapping[str, GatewayValue]) -> Values:
    values: Values = {}
    for name, value in members.items():
        kind = value.WhichOneof("kind")
        assert kind is not None
        values[name] = getattr(value, kind)
        values[name] = json.loads(values[name]) if kind == "json" else values[name]
    return values


def results_of_calls(client: Client, values: Values) -> dict[str, Values]:
    """Return the results of single requests, by their form."""
    gateway = client.gateway
    gateway.caller.result = output_of(values, LoaderOutput.ONCE)
    _, _, envelope = client.send(json.dumps(ENVELOPE).encode(), *JSON, path="/v1/private/forms")
    _, _, members = client.send(b"{}", *JSON)
    _, headers, parts = client.send(b"{}", *JSON, "Accept: multipart/mixed")
    request = InferRequest(service="forms").SerializeToString()
    call = CallContext({}, "ipv4:192.0.2.1:50000", None)
    response = gateway.loop.run_until_complete(gateway.grpc_service.infer(request, call))
    results = {
        "envelope": from_envelope(json.loads(envelope)),
        "json": from_members(json.loads(members)),
        "multipart": from_multipart(headers["content-type"], parts),
        "grpc": from_grpc(InferResponse.FromString(response).members),
    }
    if "thumbnail" in values:
        _, _, picture = client.send(b"{}", *JSON, "Accept: image/png")
        results["file"] = {**values, "thumbnail": picture}
    return results


def stream_lines(client: Client, accept: str, frame: bytes) -> list[bytes]:
    """Return the lines of a streamed response with one result."""
    client.gateway.caller.streams.clear()
    lines = [*JSON, f"Accept: {accept}", "Connection: close", "Content-Length: 2"]
    head = "\r\n".join(["POST /v1/forms HTTP/1.1", "Host: a", *lines, "", ""])
    with client.gateway.connect() as sock:
        sock.sendall(head.encode() + b"{}")
        client.gateway.caller.streams[0].push_frame(frame)
        return read_all(sock).split(b"\n")


def session_result_by_grpc(client: Client, frame: bytes) -> Values:
    gateway = client.gateway
    gateway.caller.streams.clear()
    results: list[bytes] = []

    async def messages() -> AsyncIterator[bytes]:
        yield SessionRequest(service="forms").SerializeToString()

    async def session() -> None:
        call = CallContext({}, "ipv4:192.0.2.1:50000", None)
        results.extend([data async for data in gateway.grpc_service.session(messages(), call)])

    task = gateway.loop.create_task(session())
    gateway.loop.settle()
    gateway.caller.streams[0].push_frame(frame)
    gateway.loop.run_until_complete(task)
    (result,) = results
    return from_grpc(SessionResponse.FromString(result).members)


def results_of_sessions(client: Client, values: Values) -> dict[str, Values]:
    """Return the results of streams and sessions, by their form."""
    frame = output_of(values, LoaderOutput.END)
    events = stream_lines(client, "text/event-stream", frame)
    (data,) = [line for line in events if line.startswith(b"data: ") and line != b"data: {}"]
    (line,) = [
        line
        for line in stream_lines(client, "application/x-ndjson", frame)
        if line.startswith(b"{")
    ]
    client.gateway.caller.streams.clear()
    with InProcessWebSocket(client.gateway, service="forms", prefix="/v1/") as ws:
        ws.send({})
        client.gateway.caller.streams[0].push_frame(frame)
        message = ws.receive_message()
    return {
        "events": from_members(json.loads(data[6:])),
        "lines": from_members(json.loads(line)),
        "websocket": from_members(json.loads(message)),
        "grpc session": session_result_by_grpc(client, frame),
    }


@pytest.mark.unmeasured
def test_two_hundred_results_are_the_same_in_every_form(client: Client) -> None:
    """Half of them on the fast path, the other half through Starlette."""
    first = 0 if client.gateway.options.once_lane else 1
    for seed in range(first, 200, 2):
        values = random_values(random.Random(seed))
        results = results_of_calls(client, values) | results_of_sessions(client, values)
        assert len(results) == (9 if "thumbnail" in values else 8)
        for form, result in results.items():
            assert result == values, (seed, form)
