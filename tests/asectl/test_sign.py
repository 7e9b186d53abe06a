"""`asectl sign`: what it signs is accepted, and what it explains is what differs."""

import shlex
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from config.options import AuthOptions
from gateway.access import signature
from gateway.access.authenticator import Authenticator
from gateway.access.caller_head import CallerHead
from gateway.access.identity import Identity
from gateway.access.key_table import KeyTable, StaticKeys, StoredKey
from gateway.access.peer import Peer
from tests.fakes import new_authenticator
from tests.harness import run_asectl

URL = "https://ase.example.com/v1/private/probe"
SIGNER = Identity("shop", "k1", method="hmac")


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "pair.txt"
    path.write_text("api_key=k1\napi_secret=s3=cret\n")
    return str(path)


def accepts(secret: str = "s3=cret") -> Authenticator:  # noqa: S107 (of a test)
    keys = StaticKeys(KeyTable(b"h" * 32, [StoredKey(SIGNER, secret=secret)]))
    options = AuthOptions(["hmac"], replay="allow")
    return new_authenticator(options, keys=keys, wall_clock=time.time)


def sign(*args: str, code: int = 0) -> tuple[str, str]:
    result = run_asectl("sign", *args)
    assert result.returncode == code, result.stderr
    return result.stdout.strip(), result.stderr


def test_signed_url_is_accepted(secret_file: str) -> None:
    flags = ("--key", "k1", "--secret-file", secret_file)
    signed, _ = sign("GET", f"{URL}?stream_mode=multiplex", *flags)
    url = urlsplit(signed)
    assert url.query.startswith("stream_mode=multiplex&authorization=")
    head = CallerHead("GET", url.path, url.query, {b"host": b"ase.example.com"}, Peer(""))
    assert accepts().identify(head) == SIGNER
    assert "s3=cret" not in signed
    output, _ = sign("GET", signed, *flags, "--explain")
    assert output.endswith("ok: this signature is of this request and by this secret")


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha384", "hmac-sha512"])
def test_signed_headers_are_accepted(secret_file: str, tmp_path: Path, algorithm: str) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(b'{"a": 1}')
    flags = ("--key", "k1", "--secret-file", secret_file, "--algorithm", algorithm)
    output, _ = sign(
        "POST", f"{URL}?a=b", *flags, "--headers", "--body", str(body), "-H", "X-Nonce: 7"
    )
    fields = dict(line.split(": ", 1) for line in shlex.split(output) if line != "-H")
    headers = {name.encode(): value.encode() for name, value in fields.items()}
    headers |= {b"x-nonce": b"7", b"content-length": b"8"}
    head = CallerHead("POST", "/v1/private/probe", "a=b", headers, Peer(""))
    identity = accepts().identify(head)
    accepts().check_body(identity, head, body.read_bytes())
    explained = [word for name, value in fields.items() for word in ("-H", f"{name}: {value}")]
    output, _ = sign(
        "POST", f"{URL}?a=b", *flags, "--explain", "--body", str(body), "-H", "x-nonce: 7",
        *explained,
    )  # fmt: skip
    assert "ok: this signature" in output


def test_differences_are_named_and_the_secret_is_not(secret_file: str, tmp_path: Path) -> None:
    flags = ("--key", "k1", "--secret-file", secret_file)
    signed, _ = sign("GET", URL, *flags)
    other_secret = tmp_path / "other.txt"
    other_secret.write_text("0ther")
    cases = [
        ("POST", signed, "the method that was signed is GET"),
        (
            "GET",
            signed.replace("/probe", "/other"),
            "the signature is by another secret, or of other lines",
        ),
        ("GET", signed.replace("//ase.", "//gw."), "`host` is 'ase.example.com', and the URL has"),
    ]
    for method, url, message in cases:
        output, errors = sign(method, url, *flags, "--explain", code=1)
        assert f"differs: {message}" in errors
        assert "s3=cret" not in output + errors
    _, errors = sign(
        "GET", signed, "--key", "k2", "--secret-file", str(other_secret), "--explain", code=1
    )
    assert "names the key 'k1', and --key is 'k2'" in errors
    assert "by another secret" in errors


def test_old_date_is_explained_by_how_much(secret_file: str) -> None:
    date = signature.http_date(time.time() - 3600)
    authorization = (
        'hmac username="k1", algorithm="hmac-sha256", headers="date request-line", signature="YQ=="'
    )
    _, errors = sign(
        "POST", URL, "--key", "k1", "--secret-file", secret_file, "--explain",
        "-H", f"Date: {date}", "-H", f"Authorization: {authorization}", code=1,
    )  # fmt: skip
    assert "s behind this gateway's clock; 300 s are allowed" in errors


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("GET", "x", "--key", "k", "--secret-file", "FILE"), "is no URL such as"),
        (("GET", URL, "--key", "k", "--secret-file", "/no/file"), "--secret-file: "),
        (("GET", URL, "--key", "k", "--secret-file", "/dev/null"), "has no secret"),
        (("GET", URL, "--key", "k", "--secret-file", "FILE", "-H", "x"), "is not NAME: VALUE"),
        (
            ("GET", URL, "--key", "k", "--secret-file", "FILE", "--headers", "--body", "/no"),
            "--body: ",
        ),
    ],
)
def test_wrong_arguments_are_explained(
    secret_file: str, args: tuple[str, ...], message: str
) -> None:
    _, errors = sign(*(secret_file if arg == "FILE" else arg for arg in args), code=2)
    assert message in errors


def test_nothing_to_explain(secret_file: str) -> None:
    _, errors = sign("GET", URL, "--key", "k", "--secret-file", secret_file, "--explain", code=1)
    assert "there is no signature" in errors
