"""One row of usage. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from atom.wire import NO_UNITS
from gateway.request.record import RequestRecord


class UsageRow(NamedTuple):
    """What one request or session used.

    `at` is when it ended, in Unix time; `sid` identifies it. `bytes_in` and `bytes_out` are those
    of the frames to and from its loader, `loader_s` the seconds that the loader worked on it,
    `units` what the loader says that it used, by name.
    """

    sid: str
    at: float
    app: str
    key: str
    service: str
    code: int
    bytes_in: int
    bytes_out: int
    loader_s: float
    units: Mapping[str, int] = NO_UNITS


def usage_row(record: RequestRecord, wall_now: float) -> UsageRow:
    """Return the row of a request or session that has ended."""
    return UsageRow(
        record.sid,
        wall_now,
        _encodable(record.app_id or record.identity.app_id),
        record.identity.key_id,
        record.service,
        record.code,
        record.bytes_in,
        record.bytes_out,
        round(record.upstream_s, 6),
        record.units,
    )


def _encodable(text: str) -> str:
    """Return a text without lone surrogates, which a JSON string may have."""
    return text.encode("utf-8", "replace").decode()
