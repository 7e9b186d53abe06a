"""Whatever is sent: an envelope, never a 500, and nothing left behind."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Gateway, Loader, body
from tests.wire.test_statuses import HEAD, raw

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["aGVsbG8=", "answer", "3", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)

PATHS = [
    (), ("header",), ("header", "app_id"), ("header", "status"), ("header", "uid"),
    ("parameter",), ("parameter", "probe"), ("parameter", "probe", "number"),
    ("parameter", "probe", "act"), ("parameter", "probe", "said"), ("parameter", "other"),
    ("payload",), ("payload", "text"), ("payload", "text", "text"), ("payload", "text", "status"),
    ("payload", "text", "encoding"), ("payload", "other"), ("more",),
]  # fmt: skip


def changed(path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    told = body()
    inner = told
    for member in path[:-1]:
        inner = inner[member]
    inner[path[-1]] = value
    return told


@given(st.sampled_from(PATHS), JSON)
@SETTINGS
def test_any_json_anywhere(
    gateway: Gateway, loader: Loader, path: tuple[str, ...], value: Any
) -> None:
    text = json.dumps(changed(path, value)).encode()
    answer = gateway.http.post(
        "/v1/private/probe", content=text, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400), answer.text
    header = answer.json()["header"]
    assert (header["code"] == 0) is (answer.status_code == 200)
    assert header["sid"] == answer.headers["x-ase-request-id"]


@given(st.binary(min_size=1, max_size=300))
@SETTINGS
def test_any_bytes_as_a_body(gateway: Gateway, loader: Loader, data: bytes) -> None:
    answer = gateway.http.post(
        "/v1/private/probe", content=data, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["header"]["code"] in (10163, 10313)


@given(st.binary(max_size=60), st.binary(max_size=60))
@SETTINGS
def test_any_bytes_on_the_wire(gateway: Gateway, loader: Loader, first: bytes, then: bytes) -> None:
    sent = HEAD + first + b"\r\n" + then + b"\r\n\r\n\r\nx\r\n\r\n"
    answer = raw(gateway, sent)
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert b"Traceback" not in answer


def test_nothing_is_left_behind(gateway: Gateway, loader: Loader) -> None:
    (line,) = [line for line in gateway.state() if line["instance"] == loader.addr]
    assert (line["inflight"], line["running"]) == (0, 0)
    assert "ase_inflight 0.0" in gateway.metrics()
    assert not [line for line in gateway.lines if line["level"] == "error"]
    assert gateway.text == [], "every line of the log is JSON"
