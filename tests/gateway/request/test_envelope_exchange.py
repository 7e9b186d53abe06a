"""The envelope as the form of a request; its parsing is tested with `checks` and `json_body`."""

import json

from aseloader import declare
from config.options import GatewayOptions
from gateway.access.identity import ANONYMOUS
from gateway.request.envelope_exchange import EnvelopeExchange
from gateway.request.exchange import StreamForm
from gateway.services.catalog import build_contract
from schemas.model.errors import BAD_MODE, AseError
from tests.wrappers.probe import Probe


def test_envelope_is_parsed_with_its_app_id() -> None:
    contract = build_contract(declare.schema(Probe), "file", {}, 5.0)
    exchange, options = EnvelopeExchange(), GatewayOptions()
    body = '{"header": {"app_id": "shop", "stream": true, "é": 1}}'.encode()
    assert exchange.peek_app_id({}, body, ANONYMOUS, options) == "shop"
    parsed = exchange.parse(contract, body, {}, ANONYMOUS, options)
    assert (parsed.app_id, parsed.ascii_only, parsed.json_text) == ("shop", False, body)
    assert exchange.wants_events(contract, parsed.envelope, {}, only_streams=False)
    assert parsed.envelope == {"header": {"app_id": "shop", "é": 1, "status": 3}}
    assert not exchange.wants_events(contract, parsed.envelope, {}, only_streams=False)
    assert exchange.wants_events(contract, parsed.envelope, {}, only_streams=True)
    error = AseError(BAD_MODE)
    assert exchange.explain(contract, error) is error
    assert exchange.stream_form() is StreamForm.ENVELOPE_EVENTS


def test_status_of_a_request_is_kept_if_it_has_one() -> None:
    contract = build_contract(declare.schema(Probe), "file", {}, 5.0)
    for status in (0, None, "x"):
        body = json.dumps({"header": {"app_id": "shop", "status": status}}).encode()
        parsed = EnvelopeExchange().parse(contract, body, {}, ANONYMOUS, GatewayOptions())
        assert parsed.envelope["header"]["status"] == status


def test_schema_that_requires_the_status_gets_no_default() -> None:
    document = json.loads(declare.schema(Probe))
    document["schemainput"]["properties"]["header"]["required"].append("status")
    contract = build_contract(json.dumps(document).encode(), "file", {}, 5.0)
    body = b'{"header": {"app_id": "shop"}, "payload": {"text": {"text": "YWJj"}}}'
    parsed = EnvelopeExchange().parse(contract, body, {}, ANONYMOUS, GatewayOptions())
    violations = contract.validator.validate_and_transform(parsed.envelope, True)
    assert [violation.path for violation in violations] == ["$.header.status"]
