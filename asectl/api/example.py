"""`asectl api example`: a valid request made from a schema, and the curl line that sends it."""

import argparse
import json
import shlex

from asectl.api import sources
from asectl.main import Failure
from schemas import example
from schemas.service import Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source(parser, "schema", "a schema file, or a service")
    sources.add_url(parser)
    parser.add_argument("--curl", action="store_true", help="the curl line alone")
    parser.add_argument("--json", action="store_true", help="the request alone")


def run(told: argparse.Namespace) -> int:
    """Print the request, and the line."""
    contract = sources.contract(told.schema, told.url)
    try:
        made = example.example_request(contract.service, contract.validator)
    except example.NoExampleError as error:
        cure = "`examples` or `default` beside the rule would tell one"
        raise Failure(f"no valid request could be made: {error}; {cure}") from None
    if not told.curl:
        print(json.dumps(made, ensure_ascii=False, indent=2))
    if not told.json:
        print(_curl(told.url, contract.service, made))
    return 0


def _curl(url: str, service: Service, made: dict[str, object]) -> str:
    data = shlex.quote(json.dumps(made, ensure_ascii=False))
    route = shlex.quote(f"{url.rstrip('/')}/v1/private/{service.id}")
    way = "-N -H 'accept: text/event-stream' " if service.streaming else ""
    return f"curl -sS {way}{route} -H 'content-type: application/json' -d {data}"
