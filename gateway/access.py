"""One log line per request: JSON, without the query string, every field bounded."""

import logging
from typing import Any

from gateway.record import Record

_logger = logging.getLogger("ase.access")


def log(record: Record) -> None:
    """Write the line of a request that was answered. Times are in milliseconds."""
    fields: dict[str, Any] = {
        "sid": record.sid,
        "method": record.method,
        "path": record.path[:256],
        "client": record.client,
        "service": record.service,
        "instance": record.instance,
        "status": record.status,
        "code": record.code,
        "attempts": record.attempts,
        "total_ms": round((record.answered - record.accepted) * 1000, 3),
        "upstream_ms": round(record.upstream * 1000, 3),
        "overhead_ms": round(record.overhead * 1000, 3),
    }
    if record.fault:
        fields |= {"fault": record.fault, "detail": record.detail[:512]}
    _logger.info("request", extra=fields)
