"""Signatures of requests: vectors of others, and each part that may be wrong."""

import base64
import json
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from gateway.access import signature
from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer
from gateway.access.signature import Signature, SignatureError

# Made by a published client of the original's services.
QUERY_VECTORS = json.loads(
    (Path(__file__).parents[2] / "golden" / "signatures.json").read_text(encoding="utf-8")
)
NOW = float(QUERY_VECTORS["now"])


def head(
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    path: str = "/v1/private/probe",
    query: str = "",
) -> CallerHead:
    fields = {name.encode(): value.encode() for name, value in (headers or {}).items()}
    return CallerHead(method, path, query, fields, Peer("127.0.0.1"))


def parse(authorization: str, **headers: str) -> Signature:
    found = signature.find_signature(head({"authorization": authorization, **headers}))
    assert found is not None
    return found


def is_valid(found: Signature, request: CallerHead, secret: str) -> bool:
    text = signature.signed_text(found, request)
    return signature.is_equal(signature.compute_mac(found.algorithm, secret, text), found.mac)


@pytest.mark.parametrize(
    ("date", "names", "mac", "digest"),
    [
        (
            "Thu, 22 Jun 2017 17:15:21 GMT",
            "date request-line",
            "ujWCGHeec9Xd6UD2zlyxiNMCiXnDOWeVFMu5VeRUxtw=",
            "",
        ),
        (
            "Thu, 22 Jun 2017 21:12:36 GMT",
            "date request-line digest",
            "gaweQbATuaGmLrUr3HE0DzU1keWGCt3H96M28sSHTG8=",
            "SHA-256=SBH7QEtqnYUpEcIhDbmStNd1MxtHg2+feBfWc1105MA=",
        ),
    ],
)
def test_signatures_of_kongs_documentation(date: str, names: str, mac: str, digest: str) -> None:
    """https://developer.konghq.com/plugins/hmac-auth/, with the secret `secret`."""
    authorization = (
        f'hmac username="alice123", algorithm="hmac-sha256", headers="{names}", signature="{mac}"'
    )
    headers = {"authorization": authorization, "date": date}
    request = head(headers | ({"digest": digest} if digest else {}), method="GET", path="/requests")
    found = signature.find_signature(request)
    assert found is not None
    assert (found.key_id, found.in_query) == ("alice123", False)
    assert is_valid(found, request, "secret")
    assert not is_valid(found, request, "secreT")
    if digest:
        signature.check_digest(request, b"A small body")
        with pytest.raises(SignatureError, match="not that of the 13 bytes"):
            signature.check_digest(request, b"A small body!")


@pytest.mark.parametrize("vector", QUERY_VECTORS["vectors"], ids=lambda v: str(v["function"]))
def test_signatures_of_a_published_client(vector: dict[str, str]) -> None:
    url = urlsplit(vector["url"])
    request = head(method=vector["method"], path=url.path, query=url.query)
    found = signature.find_signature(request)
    assert found is not None
    assert (found.key_id, found.in_query) == (QUERY_VECTORS["api_key"], True)
    signature.check_coverage(found, (), needs_digest=True)
    signature.check_skew(signature.parse_date(found.date), NOW, 1.0)
    assert is_valid(found, request, QUERY_VECTORS["api_secret"])
    for other in (
        head(method="PUT", path=url.path, query=url.query),
        head(method=vector["method"], path=url.path + "s", query=url.query),
        head(method=vector["method"], path=url.path.replace("p", "%70"), query=url.query),
    ):
        assert not is_valid(found, other, QUERY_VECTORS["api_secret"])


VALID = 'hmac username="a", algorithm="hmac-sha256", headers="date request-line", signature="YQ=="'


MALFORMED = [
    ("hmac x", 'NAME="VALUE"'),
    (VALID + " x", 'NAME="VALUE"'),
    (VALID.replace("username", "user"), "`username` must be there once"),
    (VALID.replace('"a"', '""'), "`username` must be there once"),
    (VALID + ', api_key="a"', "`username` must be there once"),
    (VALID + ', username="a"', "`username` stands there twice"),
    (VALID.replace("algorithm", "alg"), "`algorithm`"),
    (VALID.replace("sha256", "sha1"), "algorithm must be one of hmac-sha256"),
    (VALID.replace("hmac-sha256", "none"), "algorithm must be one of"),
    (VALID.replace("date request-line", " "), "`headers`"),
    (VALID.replace('signature="YQ=="', 'signature=""'), "`signature`"),
    (VALID.replace("request-line", "a a"), "at most 32 different names"),
    (
        VALID.replace("request-line", " ".join(f"a{n}" for n in range(40))),
        "at most 32 different names",
    ),
    (VALID.replace("YQ==", "YQ="), "`signature` is not base64"),
    (VALID.replace("YQ==", "ÿ"), "`signature` is not base64"),
    (VALID.replace('"a"', '"' + "a" * 5000 + '"'), "more than 4096 characters"),
]


@pytest.mark.parametrize(("authorization", "problem"), MALFORMED)
def test_malformed_signatures_are_explained(authorization: str, problem: str) -> None:
    with pytest.raises(SignatureError) as caught:
        parse(authorization)
    assert problem in str(caught.value)


def outcome(authorization: str, forms: signature.SignatureForms | None) -> tuple[object, ...]:
    """Return what is read of a signature, or why it is refused."""
    try:
        found = signature.find_signature(head({"authorization": authorization, "date": "d"}), forms)
    except SignatureError as error:
        return (str(error),)
    assert found is not None
    return found.key_id, found.algorithm, found.signed_names, found.mac, found.date


def test_forms_that_are_kept_change_nothing() -> None:
    forms = signature.SignatureForms()
    mac_first = 'hmac signature="YQ==", username="a", algorithm="hmac-sha256", headers="date"'
    others = [VALID, VALID.replace("YQ==", "Yg=="), VALID + ",", VALID + " ", mac_first]
    others += [VALID + f', x_signature="{mac}"' for mac in ("YQ==", "Yg==")]
    others += [VALID + '"', VALID[:-1], VALID.replace("YQ==", ""), VALID.replace("YQ==", 'Y"')]
    for authorization in [*others, *(text for text, _ in MALFORMED)] * 2:
        assert outcome(authorization, forms) == outcome(authorization, None), authorization
    assert list(forms.entries) == [VALID[len("hmac ") : VALID.index("signature=")]]


def test_few_short_forms_are_kept() -> None:
    forms = signature.SignatureForms()
    for number in range(600):
        outcome(VALID.replace('"a"', f'"{number}"'), forms)
    outcome(VALID.replace('"a"', '"' + "a" * 600 + '"'), forms)
    assert len(forms.entries) == 512


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"authorization": "x"}, "`authorization` must|`host` must"),
        ({"authorization": "!", "host": "h", "date": "d"}, "`authorization` is not base64"),
        ({"authorization": "YQ==", "host": "h", "date": "d"}, 'NAME="VALUE"'),
        ({"authorization": "YQ==", "host": "h\nx", "date": "d"}, "`host` is no host"),
        (
            {"authorization": "YQ==", "host": "h", "date": "d", "serviceId": "x"},
            "`serviceId` is not signed",
        ),
    ],
)
def test_malformed_queries_are_explained(query: dict[str, str], problem: str) -> None:
    with pytest.raises(SignatureError, match=problem):
        signature.find_signature(head(query=urlencode(query)))


def test_date_of_the_query_must_be_signed_itself() -> None:
    text = VALID[len("hmac ") :].replace("date request-line", "host x-date request-line")
    authorization = base64.b64encode(text.encode()).decode()
    query = urlencode({"authorization": authorization, "host": "h", "date": "d"})
    claim = signature.find_signature(head({"x-date": "old"}, query=query))
    assert claim is not None
    with pytest.raises(SignatureError, match="does not cover date:"):
        signature.check_coverage(claim, (), needs_digest=False)


def test_two_signatures_are_refused() -> None:
    with pytest.raises(SignatureError, match="two signatures"):
        signature.find_signature(head({"authorization": VALID}, query="authorization=x"))


def test_request_without_a_signature() -> None:
    assert signature.find_signature(head({"authorization": "Bearer x"}, query="a=b")) is None


def test_signed_text_has_a_line_for_each_name() -> None:
    found = parse(VALID.replace("date request-line", "Host x-a request-line @request-target"))
    request = head({"host": "h:1", "x-a": "1,  2"}, path="/a%20b", query="c=d")
    assert signature.signed_text(found, request) == (
        "host: h:1\nx-a: 1,  2\nPOST /a%20b?c=d HTTP/1.1\npost /a%20b?c=d"
    )
    with pytest.raises(SignatureError, match="covers `x-a`, which the request does not have"):
        signature.signed_text(found, head({"host": "h"}))


@pytest.mark.parametrize(
    ("names", "needs_digest", "missing"),
    [
        ("date request-line", False, ""),
        ("date request-line digest", True, ""),
        ("x-date @request-target digest", True, ""),
        ("date request-line", True, "digest"),
        ("request-line digest", True, "date"),
        ("date", False, "request-line"),
        ("host", True, "date, request-line, digest"),
    ],
)
def test_coverage(names: str, needs_digest: bool, missing: str) -> None:
    found = parse(VALID.replace("date request-line", names))
    required = ("date", "request-line")
    if not missing:
        signature.check_coverage(found, required, needs_digest=needs_digest)
        return
    with pytest.raises(SignatureError, match=f"does not cover {missing}:"):
        signature.check_coverage(found, required, needs_digest=needs_digest)


def test_signature_in_the_query_covers_host_date_and_request_line() -> None:
    text = base64.b64encode(VALID[len("hmac ") :].encode()).decode()
    query = urlencode({"authorization": text, "host": "h", "date": "d"})
    found = signature.find_signature(head(query=query))
    assert found is not None
    with pytest.raises(SignatureError, match="does not cover host:"):
        signature.check_coverage(found, (), needs_digest=False)


@pytest.mark.parametrize(
    ("date", "problem"),
    [
        ("Mon, 30 Nov 2026 12:00:00 GMT", ""),
        ("Mon, 30 Nov 2026 12:05:00 GMT", ""),
        ("Mon, 30 Nov 2026 11:55:00 GMT", ""),
        ("Mon, 30 Nov 2026 12:05:01 GMT", "301 s ahead of"),
        ("Mon, 30 Nov 2026 11:54:59 GMT", "301 s behind"),
        ("Mon, 30 Nov 2026 14:00:00 +0200", "not of the form"),
        ("Mon, 30 Nov 2026 12:00:00 GMT\ndigest: x", "not of the form"),
        ("Mon, 30 Nov 99999999999999999999 12:00:00 GMT", "not of the form"),
        ("Mon, 99 Nov 2026 12:00:00 GMT", "not of the form"),
        ("2026-11-30T12:00:00Z", "not of the form"),
        ("", "no signed date"),
        ("x" * 100, "not of the form"),
    ],
)
def test_date_may_be_off_by_the_skew(date: str, problem: str) -> None:
    found = parse(VALID, **({"date": date} if date else {}))
    if not problem:
        signature.check_skew(signature.parse_date(found.date), NOW, 300.0)
        return
    with pytest.raises(SignatureError, match=problem):
        signature.check_skew(signature.parse_date(found.date), NOW, 300.0)


def test_x_date_is_read_before_date() -> None:
    """Browsers set `Date` themselves."""
    both = {"x-date": signature.http_date(NOW), "date": "x"}
    signed = VALID.replace("date request-line", "date x-date request-line")
    signature.check_skew(signature.parse_date(parse(signed, **both).date), NOW, 0.5)
    with pytest.raises(SignatureError, match="not of the form"):
        signature.check_skew(signature.parse_date(parse(VALID, **both).date), NOW, 0.5)


@pytest.mark.parametrize(
    ("digest", "problem"),
    [
        ("", "must be one of"),
        ("MD5=YQ==", "must be one of SHA-256, SHA-384, SHA-512"),
        ("SHA-256=!", "not base64"),
        ("SHA-256=YQ==", "not that of the 2 bytes"),
    ],
)
def test_digest(digest: str, problem: str) -> None:
    signature.check_digest(head({"digest": signature.digest_header(b"hi")}), b"hi")
    signature.check_digest(
        head({"digest": "sha-512=" + base64.b64encode(HI_SHA512).decode()}), b"hi"
    )
    with pytest.raises(SignatureError, match=problem):
        signature.check_digest(head({"digest": digest}), b"hi")


# printf hi | openssl dgst -sha512
HI_SHA512 = bytes.fromhex(
    "150a14ed5bea6cc731cf86c41566ac427a8db48ef1b9fd626664b3bfbb99071f"
    "a4c922f33dde38719b8c8354e2b7ab9d77e0e67fc12843920a712e73d558e197"
)
