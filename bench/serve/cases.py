"""What is measured: the services, and the request that each server gets for them."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from bench.workload import RequestSpec

TEXT = "The quick brown fox jumps over the lazy dog. " * 6
FLOWER = [5.1, 3.5, 1.4, 0.2]  # of class 0
IMAGE = bytes(range(256)) * 4096  # 1 MiB


@dataclass(frozen=True, slots=True)
class Case:
    """A service under a load.

    `connections` are the closed loops: that many callers, each with one request at a time. `rate`
    is the open loop in requests per second, 0 for none. `peers` are the servers that have it. If
    `seeks_limit`, the most requests per second at a p99 of 50 ms are looked for, among
    `connections`.
    """

    name: str
    connections: tuple[int, ...]
    rate: int
    peers: tuple[str, ...]
    seeks_limit: bool = False


_ALL = ("fastapi", "litserve", "bentoml", "mlserver", "ray")
CASES = {
    case.name: case
    for case in (
        Case("echo_async", (1, 8, 32), 500, _ALL),
        Case("echo_sync", (1, 8, 32), 500, _ALL),
        Case("image", (1, 8, 32), 0, _ALL),
        Case("forest", (1, 8, 32), 0, _ALL),
        Case("forest_batch", (8, 16, 32, 64, 128), 500, _ALL[1:], seeks_limit=True),
    )
}


def request_for(server: str, case: str) -> RequestSpec:
    """Return the request that calls a case at a server, in the form that its users send."""
    if server == "ours":
        return RequestSpec(
            f"/v1/private/{case}", _envelope(case), "application/json", _OURS_EXPECTED[case]
        )
    if server == "mlserver":
        body = json.dumps({"inputs": [_v2_input(case)]}).encode()
        return RequestSpec(f"/v2/models/{case}/infer", body, "application/json", _expected(case))
    value = _plain_value(case)
    if server == "bentoml" and case == "forest_batch":
        value = {"features": [FLOWER]}  # a batchable method gets and returns lists
    path = {"litserve": "/predict", "ray": "/"}.get(server, f"/{case}")
    return RequestSpec(path, json.dumps(value).encode(), "application/json", _expected(case))


def _plain_value(case: str) -> dict[str, Any]:
    match case:
        case "image":
            return {"image": base64.b64encode(IMAGE).decode()}
        case "forest" | "forest_batch":
            return {"features": FLOWER}
    return {"text": TEXT}


def _v2_input(case: str) -> dict[str, Any]:
    """Return the tensor of the V2 inference protocol."""
    match case:
        case "image":
            return _v2_text(base64.b64encode(IMAGE).decode())
        case "forest" | "forest_batch":
            return {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}
    return _v2_text(TEXT)


def _v2_text(text: str) -> dict[str, Any]:
    return {
        "name": "text",
        "shape": [1],
        "datatype": "BYTES",
        "data": [text],
        "parameters": {"content_type": "str"},
    }


def _expected(case: str) -> bytes:
    match case:
        case "image":
            return str(len(IMAGE)).encode()
        case "forest" | "forest_batch":
            return b"0"
    return TEXT.encode()


def _envelope(case: str) -> bytes:
    match case:
        case "image":
            payload = {"data": {"image": base64.b64encode(IMAGE).decode()}}
        case "forest" | "forest_batch":
            payload = {"features": {"text": _base64_text(json.dumps(FLOWER))}}
        case _:
            payload = {"text": {"text": _base64_text(TEXT)}}
    header = {"app_id": "bench", "status": 3}
    return json.dumps({"header": header, "payload": payload}).encode()


def _base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_OURS_EXPECTED = {
    "echo_async": _base64_text(TEXT).encode(),
    "echo_sync": _base64_text(TEXT).encode(),
    "image": str(len(IMAGE)).encode(),
    "forest": b'"text":0',
    "forest_batch": b'"text":0',
}
