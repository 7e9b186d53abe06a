"""`asectl api example`: print a valid request for a schema, and the curl line that sends it."""

import argparse
import json
import shlex

from asectl.api import sources
from asectl.http_client import HttpTarget
from asectl.main import Failure
from schemas.model.service import Service
from schemas.output import example


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source_argument(parser, "schema", "a schema file, or a service")
    sources.add_url_arguments(parser)
    parser.add_argument("--curl", action="store_true", help="the curl line alone")
    parser.add_argument("--json", action="store_true", help="the request alone")


def run(args: argparse.Namespace) -> int:
    """Print the request and the curl line. Raises Failure if no valid request can be made."""
    contract = sources.load_contract(args.schema, HttpTarget.from_args(args))
    try:
        request = example.example_request(contract.service, contract.validator)
    except example.NoExampleError as error:
        hint = "add `examples` or `default` beside the rule"
        raise Failure(f"no valid request could be made: {error}; {hint}") from None
    if not args.curl:
        print(json.dumps(request, ensure_ascii=False, indent=2))
    if not args.json:
        print(_curl_command(args.url, contract.service, request))
    return 0


def _curl_command(url: str, service: Service, request: dict[str, object]) -> str:
    data = shlex.quote(json.dumps(request, ensure_ascii=False))
    quoted_url = shlex.quote(f"{url.rstrip('/')}/v1/private/{service.id}")
    sse_flags = "-N -H 'accept: text/event-stream' " if service.streaming else ""
    return f"curl -sS {sse_flags}{quoted_url} -H 'content-type: application/json' -d {data}"
