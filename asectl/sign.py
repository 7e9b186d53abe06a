"""`asectl sign`: sign a request, or say why a gateway refuses a signed one."""

import argparse
import base64
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from asectl.main import EXIT_FAILED, EXIT_USAGE, Failure
from gateway.access import signature
from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer
from gateway.access.signature import Signature, SignatureError

_USUAL_SKEW_S = 300.0  # the default of `auth.clock_skew`
_NAMES_IN_QUERY = ("host", "date", signature.REQUEST_LINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("method", metavar="METHOD", help="as GET (WebSocket) or POST")
    parser.add_argument("url", metavar="URL", help="http, https, ws or wss")
    parser.add_argument("--key", required=True, help="the api_key of asectl key create --hmac")
    parser.add_argument(
        "--secret-file", required=True, metavar="FILE", help="a file with its api_secret"
    )
    parser.add_argument(
        "--headers",
        action="store_true",
        help="sign in headers, as Kong's hmac-auth, and print curl's flags; else in the query",
    )
    parser.add_argument("--body", metavar="FILE", help="with --headers: the body, for its digest")
    parser.add_argument("--algorithm", choices=tuple(signature.ALGORITHMS), default="hmac-sha256")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="URL is a signed one, or -H has the headers: say line by line what differs",
    )
    parser.add_argument(
        "-H",
        dest="fields",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        help="a header of the request, for --explain, or to be signed too",
    )


def run(args: argparse.Namespace) -> int:
    """Print the signed URL, or curl's flags; with `--explain` what differs.

    Returns 0, or 1 if `--explain` finds a difference. Raises Failure.
    """
    secret, fields = _read_secret(args.secret_file), _parse_fields(args.fields)
    url = urlsplit(args.url)
    if url.scheme not in ("http", "https", "ws", "wss") or not url.netloc:
        raise Failure(f"{args.url!r} is no URL such as https://HOST/v1/private/SERVICE", EXIT_USAGE)
    body = _read_body(args.body)
    fields.setdefault("host", url.netloc)
    head = CallerHead(args.method.upper(), url.path or "/", url.query, _encode(fields), Peer(""))
    try:
        if args.explain:
            return _explain(head, args.key, secret, body)
        if args.headers:
            print(_curl_flags(head, args.key, secret, args.algorithm, body))
            return 0
        query = _signed_query(head, url.netloc, args.key, secret, args.algorithm)
    except SignatureError as error:
        raise Failure(str(error), EXIT_FAILED) from None
    print(url._replace(path=head.path, query=query).geturl())
    return 0


def _signed_query(head: CallerHead, host: str, key: str, secret: str, algorithm: str) -> str:
    """Return the query of a request with the signature in it."""
    date = signature.http_date(time.time())
    unsigned = Signature(key, algorithm, _NAMES_IN_QUERY, b"", date, host, in_query=True)
    mac = signature.compute_mac(algorithm, secret, signature.signed_text(unsigned, head))
    text = signature.authorization_text(unsigned, mac)
    pairs = parse_qsl(head.query, keep_blank_values=True)
    pairs += [
        ("authorization", base64.b64encode(text.encode()).decode()),
        ("host", host),
        ("date", date),
    ]
    return urlencode(pairs)


def _curl_flags(head: CallerHead, key: str, secret: str, algorithm: str, body: bytes | None) -> str:
    """Return the flags with which curl sends the signed headers."""
    fields = {"date": signature.http_date(time.time())}
    if body is not None:
        fields["digest"] = signature.digest_header(body)
    extra = [name.decode() for name in head.headers if name != b"host"]
    names = ("date", signature.REQUEST_LINE, *list(fields)[1:], *extra)
    signed = CallerHead(
        head.method, head.path, head.query, {**head.headers, **_encode(fields)}, Peer("")
    )
    unsigned = Signature(key, algorithm, names, b"", fields["date"], "", in_query=False)
    mac = signature.compute_mac(algorithm, secret, signature.signed_text(unsigned, signed))
    fields["authorization"] = f"hmac {signature.authorization_text(unsigned, mac)}"
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return " ".join(f"-H {shlex.quote(line)}" for line in lines)


def _explain(head: CallerHead, key: str, secret: str, body: bytes | None) -> int:
    """Print what a gateway compares, line by line; return 1 if it would refuse the request."""
    claim = signature.find_signature(head)
    if claim is None:
        raise SignatureError(
            "there is no signature: URL has no authorization=, and no -H 'Authorization: hmac ...'"
        )
    problems = _problems(claim, head, key, body)
    print(f"key        {claim.key_id}")
    print(f"algorithm  {claim.algorithm}")
    print(f"date       {claim.date or '(none)'}")
    try:
        text = signature.signed_text(claim, head)
    except SignatureError as error:
        problems.append(str(error))
    else:
        print("signed text, as a gateway makes it:")
        for line in text.split("\n"):
            print(f"  | {line}")
        if not signature.is_equal(signature.compute_mac(claim.algorithm, secret, text), claim.mac):
            problems.append(_mac_problem(claim, head, secret))
    for problem in problems:
        print(f"differs: {problem}", file=sys.stderr)
    if not problems:
        print("ok: this signature is of this request and by this secret")
    return EXIT_FAILED if problems else 0


def _problems(claim: Signature, head: CallerHead, key: str, body: bytes | None) -> list[str]:
    """Return what is wrong besides the signature itself."""
    problems = []
    if claim.key_id != key:
        problems.append(f"the request names the key {claim.key_id!r}, and --key is {key!r}")
    if claim.in_query and claim.host.lower() != head.header("host").lower():
        problems.append(f"`host` is {claim.host!r}, and the URL has {head.header('host')!r}")
    required, needs_digest = ("date", signature.REQUEST_LINE), body is not None
    checks = [
        partial(_check_date, claim, time.time()),
        partial(signature.check_coverage, claim, required, needs_digest=needs_digest),
    ]
    if body is not None and not claim.in_query:
        checks.append(partial(signature.check_digest, head, body))
    for check in checks:
        try:
            check()
        except SignatureError as error:
            problems.append(str(error))
    return problems


def _check_date(claim: Signature, now: float) -> None:
    signature.check_skew(signature.parse_date(claim.date), now, _USUAL_SKEW_S)


def _mac_problem(claim: Signature, head: CallerHead, secret: str) -> str:
    """Return which usual mistake gives the signature of a request, or that none does."""
    mistakes = {
        "the request line was signed with the query": (head.method, head.target),
        "the request line was signed without the query": (head.method, head.path),
        "the method that was signed is GET": ("GET", head.path),
        "the method that was signed is POST": ("POST", head.path),
        "the path was signed without its last slash": (head.method, head.path.rstrip("/")),
    }
    for mistake, (method, target) in mistakes.items():
        other = CallerHead(method, *_split_target(target), head.headers, Peer(""))
        as_signed = Signature(
            claim.key_id, claim.algorithm, claim.signed_names, b"", claim.date, claim.host,
            in_query=claim.in_query and "with the query" not in mistake,
        )  # fmt: skip
        try:
            text = signature.signed_text(as_signed, other)
        except SignatureError:
            continue
        if signature.is_equal(signature.compute_mac(claim.algorithm, secret, text), claim.mac):
            return mistake
    return "the signature is by another secret, or of other lines than these"


def _split_target(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    return path, query


def _read_secret(path: str) -> str:
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"--secret-file: {error}", EXIT_USAGE) from None
    # The two lines that `asectl key create --hmac` prints may be kept as they are.
    lines = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    secret = lines.get("api_secret", text)
    if not secret or "\n" in secret:
        raise Failure(f"--secret-file: {path} has no secret", EXIT_USAGE)
    return secret


def _read_body(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"--body: {error}", EXIT_USAGE) from None


def _parse_fields(texts: list[str]) -> dict[str, str]:
    fields = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise Failure(f"-H {text!r}: it is not NAME: VALUE", EXIT_USAGE)
        fields[name.strip().lower()] = value.strip()
    return fields


def _encode(fields: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode("latin-1", "replace") for name, value in fields.items()}
