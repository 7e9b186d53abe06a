"""What a client of positions sends, and what answers mean."""

import json
from typing import Any

import pytest

from aseclient.errors import (
    CredentialError,
    InferenceError,
    InputRefusedError,
    UnavailableError,
)
from aseclient.protocol import (
    Account,
    read_certificate,
    read_error,
    read_result,
    request_body,
)

ACCOUNT = Account.read("edge:8200/", "battery", "ase_key", "uav-1")
ISSUED = {"status": "success", "certificate": "f" * 64 + "1600", "key": "k1", "expires_at": 1600}


def test_addresses_follow_from_the_edge() -> None:
    assert ACCOUNT.certificate_url() == "http://edge:8200/certificate"
    assert ACCOUNT.position_url("north") == "http://edge:8200/v1/north"
    assert ACCOUNT.closed_loop_url("a/b") == "http://edge:8200/closed-loop-a%2Fb"
    other = Account.read("https://edge/serving/", "a", "t", "c")
    assert other.position_url("n") == "https://edge/serving/v1/n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "a", "t", "c"), "edge: is missing"),
        (("e", "", "t", "c"), "application, token: are missing"),
        (("e", "a", "", "c"), "application, token: are missing"),
        (("e", "a", "t", 'c"'), "name: must be"),
        (("e", "a\n", "t", "c"), "application: must be"),
    ],
)
def test_what_is_missing_is_named(arguments: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Account.read(*arguments)


def test_certificate_is_renewed_before_it_ends() -> None:
    body = json.dumps(ISSUED).encode()
    certificate = read_certificate(ACCOUNT, "north", 200, {}, body, 1000.0)
    assert certificate.renew_at == 1570.0
    assert certificate.headers()["authorization"] == (
        'Certificate app="battery", client="uav-1", position="north", key="k1", '
        f'value="{ISSUED["certificate"]}"'
    )
    assert read_certificate(ACCOUNT, "north", 200, {}, body, 1590.0).renew_at == 1599.0


@pytest.mark.parametrize(("status", "body"), [(200, b"[]"), (200, b"no"), (200, b"{}")])
def test_answer_without_a_certificate_is_an_error(status: int, body: bytes) -> None:
    with pytest.raises(InferenceError, match="http://edge:8200 issues no certificates"):
        read_certificate(ACCOUNT, "north", status, {}, body, 1000.0)


@pytest.mark.parametrize(
    ("content_type", "body", "result"),
    [
        ("application/json", b'{"status": "success", "value": [1]}', [1]),
        ("application/json; charset=utf-8", b'{"value": null}', None),
        ("application/json", b'{"value": 1, "unit": "V"}', {"value": 1, "unit": "V"}),
        ("application/json", b'{"result": {"a": 1}}', {"a": 1}),
        ("application/json", b'{"text": "A"}', {"text": "A"}),
        ("application/json", b'{"status": "draft", "result": 1}', {"status": "draft", "result": 1}),
        ("application/json", b'{"status": "x", "value": 1}', {"status": "x", "value": 1}),
        ("application/json", b"[1]", [1]),
        ("image/png", b"\x89PNG", b"\x89PNG"),
    ],
)
def test_result_is_the_value_or_all_of_the_answer(
    content_type: str, body: bytes, result: Any
) -> None:
    assert read_result(200, {"content-type": content_type}, body) == result


def test_broken_json_is_an_error() -> None:
    with pytest.raises(InferenceError, match="no JSON"):
        read_result(200, {"content-type": "application/json"}, b"{")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputRefusedError), (422, InputRefusedError), (401, CredentialError),
        (403, CredentialError), (404, InferenceError), (429, UnavailableError),
        (500, InferenceError), (502, InferenceError), (503, UnavailableError),
    ],
)  # fmt: skip
def test_errors_have_kinds(status: int, kind: type[InferenceError]) -> None:
    error = read_error(status, {"retry-after": "2"}, b'{"detail": "why", "code": 10110}')
    assert type(error) is kind
    assert (str(error), error.status, error.code) == (f"why (HTTP {status})", status, 10110)
    if isinstance(error, UnavailableError):
        assert error.retry_after == 2.0


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"code": "x"}', b'{"message": "m"}'])
def test_errors_of_others_are_read_too_and_say_nothing_of_whether_it_ran(body: bytes) -> None:
    error = read_error(503, {"retry-after": "1"}, body)
    assert (type(error), error.code) == (InferenceError, 0)


@pytest.mark.parametrize(
    ("code", "has_run"), [(10110, False), (20002, False), (11202, False), (10908, True), (0, True)]
)
def test_only_what_has_not_run_is_unavailable(code: int, has_run: bool) -> None:
    body = json.dumps({"code": code}).encode()
    error = read_error(503, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, body)
    assert isinstance(error, UnavailableError) is not has_run
    if isinstance(error, UnavailableError):
        assert error.retry_after == 1.0


def test_body_is_a_value_or_members() -> None:
    assert request_body([1], {}) == {"value": [1]}
    assert request_body(None, {"text": "a"}) == {"text": "a"}
    with pytest.raises(TypeError, match="not both"):
        request_body([1], {"text": "a"})
