"""One row of usage: what a record says of its request."""

from gateway.access.identity import Identity
from gateway.request.record import RequestRecord
from gateway.usage.row import UsageRow, usage_row


def test_row_of_a_request() -> None:
    record = RequestRecord("s" * 32, 10.0, "POST", "/v1/private/probe", "127.0.0.1")
    record.identity, record.app_id, record.service = Identity("shop", "k1"), "shop", "probe"
    record.attempt_started("a:1", 11.0)
    record.bytes_in, record.bytes_out = 7, 9
    record.finish(502, 10908, 11.25)
    row = usage_row(record, 1.5)
    assert row == UsageRow("s" * 32, 1.5, "shop", "k1", "probe", 10908, 7, 9, 0.25)


def test_application_of_a_refused_request_is_that_of_its_key() -> None:
    record = RequestRecord("s", 0.0)
    record.identity, record.service = Identity("shop", "k1"), "probe"
    record.finish(429, 11202, 0.0)
    assert usage_row(record, 0.0).app == "shop"
