"""The request of every arm and the expected response: one service, one body per payload size.

The sizes in `PAYLOADS` are bytes of the payload's base64 text; `small` gives a body of about 400
bytes.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from schemas.model import document
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, Param, PayloadStream
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

API = Declaration(
    id="bench",
    params=(
        Param("lang", {"type": "string", "enum": ["en", "zh"]}),
        Param("size", {"type": "integer", "minimum": 1, "maximum": 99}),
        Param("exact", {"type": "boolean"}),
    ),
    inputs=(PayloadStream("image", DataType.IMAGE, ("png", "jpg")),),
    outputs=(PayloadStream("said", DataType.TEXT),),
)
SCHEMA = document.canonical(declare.declaration_to_document(API))
PAYLOADS = {"small": 200, "64k": 65536, "1m": 1048576}
OUTPUT_DATA = b"y" * 210

_BROWSER = {
    "Connection": "keep-alive",
    "sec-ch-ua-platform": '"Linux"',
    "sec-ch-ua": '"Not:A-Brand";v="8", "Chromium";v="156"',
    "sec-ch-ua-mobile": "?0",
    "Accept": "*/*",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
}
_PYTHON = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}
# What clients send beside Host, Content-Type and Content-Length: recorded from Chromium 156, curl
# 7.88, requests 2.34, httpx 0.28, Node 20 and Java 17, and that of Go as its source has it.
HEADS: dict[str, tuple[Mapping[str, str], ...]] = {
    "wrk": (),
    "mixed": (
        {
            **_BROWSER,
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/156.0.0.0 Safari/537.36",
        },
        {
            **_BROWSER,
            "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:148.0) Gecko/20100101 "
            "Firefox/148.0",
            "Accept-Language": "de,en-US;q=0.7,en;q=0.3",
        },
        {"User-Agent": "curl/7.88.1", "Accept": "*/*"},
        {"User-Agent": "python-requests/2.34.2", **_PYTHON},
        {"User-Agent": "python-httpx/0.28.1", **_PYTHON},
        {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"},
        {
            "connection": "keep-alive",
            "accept": "*/*",
            "accept-language": "*",
            "sec-fetch-mode": "cors",
            "user-agent": "node",
            "accept-encoding": "gzip, deflate",
        },
        {
            "Connection": "Upgrade, HTTP2-Settings",
            "HTTP2-Settings": "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
            "Upgrade": "h2c",
            "User-Agent": "Java-http-client/17.0.15",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """A request of the bench; a correct response has the status 200 and contains `expected`.

    `header_sets` are further headers: those of the first request, of the second, and so on.
    """

    path: str
    body: bytes
    content_type: str
    expected: bytes
    header_sets: tuple[Mapping[str, str], ...] = ()


def request_body(payload: str = "small") -> bytes:
    """Return the JSON envelope that a client of the gateway sends; `payload` is a size's name."""
    envelope = {
        "header": {"app_id": "bench", "uid": "u-1", "status": 3},
        "parameter": {"bench": {"lang": "en", "size": 12, "exact": True}},
        "payload": {"image": {"encoding": "png", "status": 3, "image": _payload_base64(payload)}},
    }
    return json.dumps(envelope).encode()


def loader_output() -> bytes:
    """Return the serialized LoaderOutput that the backend sends for every request."""
    meta = MetaDesc(name="said", attribute={"encoding": "utf8"})
    output = LoaderOutput(status=LoaderOutput.ONCE, pl=[Payload(meta=meta, data=OUTPUT_DATA)])
    return output.SerializeToString()


def envelope_request(payload: str) -> RequestSpec:
    """Return the request to the gateway; the response contains the output as base64."""
    return RequestSpec(
        "/v1/private/bench",
        request_body(payload),
        "application/json",
        base64.b64encode(OUTPUT_DATA),
    )


def plain_request(payload: str) -> RequestSpec:
    """Return the request without an envelope; the response has the output as text."""
    image = f"data:image/png;base64,{_payload_base64(payload)}"
    members = {"lang": "en", "size": 12, "exact": True, "image": image}
    return RequestSpec("/v1/bench", json.dumps(members).encode(), "application/json", OUTPUT_DATA)


def transcoded_request(payload: str) -> RequestSpec:
    """Return the request to a gRPC-JSON transcoder: the same message as proto3 JSON.

    The body is padded with spaces to the size of the envelope.
    """
    message = {
        "serviceId": "bench",
        "state": "ONCE",
        "headers": {"app_id": "bench", "uid": "u-1", "status": "3"},
        "params": {"lang": "en", "size": "12", "exact": "true"},
        "pl": [
            {
                "meta": {"name": "image", "dataType": "IMAGE", "attribute": {"encoding": "png"}},
                "data": _payload_base64(payload),
            }
        ],
    }
    encoded = json.dumps(message).encode()
    padded = encoded + b" " * max(0, len(request_body(payload)) - len(encoded))
    return RequestSpec(
        "/ase.v1.Loader/Infer", padded, "application/json", base64.b64encode(OUTPUT_DATA)
    )


def grpc_request(payload: str) -> RequestSpec:
    """Return the request to a proxy that converts nothing: the gRPC message with its prefix."""
    data = base64.b64decode(_payload_base64(payload))
    meta = MetaDesc(name="image", dataType=int(DataType.IMAGE), attribute={"encoding": "png"})
    message = LoaderInput(
        serviceId="bench",
        state=LoaderInput.ONCE,
        headers={"app_id": "bench", "uid": "u-1", "status": "3"},
        params={"lang": "en", "size": "12", "exact": "true"},
        pl=[Payload(meta=meta, data=data)],
    ).SerializeToString()
    grpc_frame = b"\0" + len(message).to_bytes(4, "big") + message
    return RequestSpec("/ase.v1.Loader/Infer", grpc_frame, "application/grpc", OUTPUT_DATA)


def with_heads(request: RequestSpec, heads: str) -> RequestSpec:
    """Return a request with the heads of the clients `heads`, a key of HEADS, in turn."""
    clients = HEADS[heads]
    if not clients:
        return request
    sets = request.header_sets or ({},)
    count = max(len(clients), len(sets))
    header_sets = [{**clients[i % len(clients)], **sets[i % len(sets)]} for i in range(count)]
    return replace(request, header_sets=tuple(header_sets))


def _payload_base64(payload: str) -> str:
    return base64.b64encode(b"x" * (PAYLOADS[payload] * 3 // 4)).decode()
