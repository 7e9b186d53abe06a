"""`asectl explain REQUEST_ID`: tell what happened to a request that failed or was slow, and why.

`--dry-run SERVICE` tells which instance the next request would get.
"""

import argparse
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from asectl import http_client
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failure
from asectl.output import add_output_argument, print_output
from asectl.table import align

_CANDIDATE_COLUMNS = (
    ("instance", "INSTANCE"), ("verdict", "VERDICT"), ("share", "SHARE"),
    ("expected_ms", "EXPECT ms"), ("report_age_ms", "REPORT ms"), ("own", "OWN"),
    ("others", "OTHERS"), ("slots", "SLOTS"), ("limit", "LIMIT"), ("reason", "REASON"),
)  # fmt: skip
_LIST_COLUMNS = (
    ("ended", "ENDED"), ("sid", "REQUEST"), ("service", "SERVICE"), ("status", "STATUS"),
    ("code", "CODE"), ("total_ms", "TOTAL ms"), ("fault", "FAULT"),
)  # fmt: skip
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "request_id",
        nargs="?",
        default="",
        metavar="REQUEST_ID",
        help="x-ase-request-id of the response, sid of the log; without it, the latest are listed",
    )
    parser.add_argument(
        "--dry-run", metavar="SERVICE", default="", help="the instance of the next request instead"
    )
    http_client.add_url_arguments(parser, "the admin port of the gateway", "http://127.0.0.1:8290")
    http_client.add_token_argument(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the explanation.

    Raises Failure: exit code 1 if the gateway has none, 2 for wrong arguments, 4 if it does not
    answer.
    """
    if args.request_id and args.dry_run:
        raise Failure("a REQUEST_ID or --dry-run, not both", EXIT_USAGE)
    if args.request_id and not _REQUEST_ID.fullmatch(args.request_id):
        message = f"{args.request_id!r} is no request id: it has 32 digits of 0-9 and a-f"
        raise Failure(message, EXIT_USAGE)
    admin = HttpTarget.from_args(args)
    if args.dry_run:
        explanation = _fetch(admin, f"/debug/picks/{quote(args.dry_run, safe='')}")
        lines = format_picks(explanation)
    elif args.request_id:
        explanation = _fetch(admin, f"/debug/requests/{args.request_id}")
        lines = format_request(explanation)
    else:
        explanation = _fetch(admin, "/debug/requests")
        lines = format_list(explanation)
    print_output(args.output, explanation, lines)
    return 0


def _fetch(admin: HttpTarget, path: str) -> dict[str, Any]:
    try:
        response = admin.get(path)
        content = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        message = f"{admin.url}: no explanation to be had ({error}); is it the admin port?"
        raise Failure(message, EXIT_UNREACHABLE) from None
    if response.status_code == 200 and isinstance(content, dict):
        return content
    if isinstance(content, dict) and "error" in content:
        cure = f"; {content['cure']}" if content.get("cure") else ""
        raise Failure(f"{admin.url}: {content['error']}{cure}", EXIT_FAILED)
    raise Failure(
        f"{admin.url}: answers {response.status_code}; is it the admin port of a gateway?",
        EXIT_FAILED,
    )


def format_request(request: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about one request."""
    phases = request["phases_ms"]
    fault = f" {request['fault']}" if request["fault"] else ""
    service = request["service"] or "no service"
    yield f"request {request['sid']}, ended {request['ended']}"
    yield f"  {request['method']} {request['path']} of {request['app'] or request['client']}"
    yield f"  {service}: status {request['status']}, code {request['code']}{fault}"
    if request["detail"]:
        yield f"  {request['detail']}"
    yield ""
    names = ("body", "wait", "upstream", "gateway", "total")
    yield "ms       " + ", ".join(f"{name} {phases[name]:.1f}" for name in names)
    for number, attempt in enumerate(request["attempts"], 1):
        age = attempt["report_age_ms"]
        report = "no reports" if age is None else f"report {age:.1f} ms old"
        yield (
            f"call {number}   {attempt['instance']} took {attempt['took_ms']:.1f} ms, expected "
            f"{attempt['expected_ms']:.1f} ms ({report}): {attempt['fault'] or 'answered'}"
        )
    if not request["attempts"]:
        yield f"calls    none{' that failed or was slow' if request['instance'] else ''}"
    if request["candidates"]:
        yield ""
        yield "instances when it ended"
        yield from _format_candidates(request["candidates"])


def format_picks(picks: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about the next requests of a service."""
    if not picks["candidates"]:
        yield f"{picks['service']} has no instance: requests are answered 503 (20002)"
        return
    yield f"the next requests of {picks['service']} would go to"
    yield from _format_candidates(picks["candidates"])


def format_list(answer: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about the latest requests."""
    rows = [
        {**request, "total_ms": request["phases_ms"]["total"]} for request in answer["requests"]
    ]
    if not rows:
        yield (
            "no request has failed or was slow"
            if answer["kept"]
            else "gateway.explained is 0: nothing is kept of requests"
        )
        return
    yield from align(_rows(rows, _LIST_COLUMNS))
    if answer["skipped"]:
        yield f"{answer['skipped']} more in seconds with too many of them"


def _format_candidates(candidates: list[dict[str, Any]]) -> list[str]:
    has_share = any("share" in candidate for candidate in candidates)
    columns = [column for column in _CANDIDATE_COLUMNS if has_share or column[0] != "share"]
    return align(_rows(candidates, columns))


def _rows(entries: list[dict[str, Any]], columns: Any) -> list[list[str]]:
    header = [title for _, title in columns]
    return [header, *([_text(name, entry.get(name)) for name, _ in columns] for entry in entries)]


def _text(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if name == "share":
        return f"{value:.0%}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
