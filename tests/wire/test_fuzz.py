"""Whatever is sent: an envelope, never a 500, and nothing left behind."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Gateway, Loader, make_envelope
from tests.wire.test_statuses import HEAD, send_raw

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


def envelope_with(path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    envelope = make_envelope()
    container = envelope
    for member in path[:-1]:
        container = container[member]
    container[path[-1]] = value
    return envelope


@given(st.sampled_from(PATHS), JSON)
@SETTINGS
def test_any_json_value_at_any_path(
    gateway: Gateway, loader: Loader, path: tuple[str, ...], value: Any
) -> None:
    text = json.dumps(envelope_with(path, value)).encode()
    response = gateway.http.post(
        "/v1/private/probe", content=text, headers={"content-type": "application/json"}
    )
    assert response.status_code in (200, 400), response.text
    header = response.json()["header"]
    assert (header["code"] == 0) is (response.status_code == 200)
    assert header["sid"] == response.headers["x-ase-request-id"]


@given(st.binary(min_size=1, max_size=300))
@SETTINGS
def test_any_bytes_as_a_body(gateway: Gateway, loader: Loader, data: bytes) -> None:
    response = gateway.http.post(
        "/v1/private/probe", content=data, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["header"]["code"] in (10163, 10313)


@given(st.binary(max_size=60), st.binary(max_size=60))
@SETTINGS
def test_any_bytes_on_the_wire(
    gateway: Gateway, loader: Loader, first: bytes, second: bytes
) -> None:
    data = HEAD + first + b"\r\n" + second + b"\r\n\r\n\r\nx\r\n\r\n"
    response = send_raw(gateway, data)
    assert not response.startswith(b"HTTP/1.1 5"), response
    assert b"Traceback" not in response


def test_no_slot_or_error_remains(gateway: Gateway, loader: Loader) -> None:
    (line,) = [line for line in gateway.state() if line["instance"] == loader.addr]
    assert (line["inflight"], line["running"]) == (0, 0)
    assert "ase_inflight 0.0" in gateway.metrics()
    assert not [line for line in gateway.lines if line["level"] == "error"]
    assert gateway.text == [], "every line of the log is JSON"
