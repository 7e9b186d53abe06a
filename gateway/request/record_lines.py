"""The texts of a finished request: its log line, and what is around its answer. Pure.

`gateway/request/record_lines_native.pyx` has the same functions compiled; every request passes
through them.
"""

from typing import Final

_MAX_SECONDS: Final = 1e9
_THOUSANDTHS: Final[list[str]] = [f".{number:03d}" for number in range(1000)]


def format_ms(seconds: float) -> str:
    """Return a time as milliseconds with three decimals; one below 0 is 0, and 10^9 s the longest.

    This takes half as long as a format of floats.
    """
    microseconds = int(min(seconds, _MAX_SECONDS) * 1e6 + 0.5) if seconds > 0.0 else 0
    return str(microseconds // 1000) + _THOUSANDTHS[microseconds % 1000]


def log_line(
    prefix: str,
    sid: str,
    subject: str,
    instance: str,
    status: int,
    code: int,
    attempts: int,
    total_s: float,
    upstream_s: float,
    overhead_s: float,
    further_fields: str,
    /,
) -> str:
    """Return the line of a request in the access log; times are in seconds.

    `prefix` is the start of the line, `subject` and `further_fields` are fields as JSON, and
    `instance` is a JSON string.
    """
    return (
        f'{prefix}"sid": "{sid}", {subject}, "instance": {instance}, '
        f'"status": {status}, "code": {code}, '
        f'"attempts": {attempts}, "total_ms": {format_ms(total_s)}, '
        f'"upstream_ms": {format_ms(upstream_s)}, "overhead_ms": {format_ms(overhead_s)}'
        f"{further_fields}}}"
    )


def response_lines(
    content_type: str,
    body_size: int,
    sid: str,
    overhead_s: float,
    upstream_s: float,
    attempts: int,
    further_lines: str,
    instance: str,
    /,
) -> bytes:
    """Return the header lines of an answer; times are in seconds. An empty `instance` has none."""
    lines = (
        f"content-type: {content_type}\r\ncontent-length: {body_size}\r\n"
        f"x-ase-request-id: {sid}\r\nx-ase-overhead-ms: {format_ms(overhead_s)}\r\n"
        f"x-ase-upstream-ms: {format_ms(upstream_s)}\r\nx-ase-attempts: {attempts}\r\n"
        f"{further_lines}"
    )
    return (f"{lines}x-ase-instance: {instance}\r\n" if instance else lines).encode()


def success_body(sid: str, payload: bytes, /) -> bytes:
    """Return the envelope of a result; `payload` is a JSON object, omitted if it is `{}`."""
    payload_member = b"" if payload == b"{}" else b',"payload":' + payload
    envelope = b'{"header":{"code":0,"message":"success","sid":"%b"}%b}'
    return envelope % (sid.encode(), payload_member)
