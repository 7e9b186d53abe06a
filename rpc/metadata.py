"""Header fields of gRPC: encoding of requests, parsing of responses. Pure.

Source: gRPC over HTTP/2; for the status of a non-gRPC response, gRPC's "HTTP to gRPC Status Code
Mapping".
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from rpc.headers import HeaderFields, encode_header_block
from rpc.status import Status

Metadata = tuple[tuple[str, str | bytes], ...]

# A google.rpc.Status, which an error may have beside its status and its message.
STATUS_DETAILS: Final = "grpc-status-details-bin"
_STATUS_BY_HTTP: Final = {
    400: Status.INTERNAL, 401: Status.UNAUTHENTICATED, 403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED, 429: Status.UNAVAILABLE, 502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE, 504: Status.UNAVAILABLE,
}  # fmt: skip
_RESERVED_HEADERS: Final = frozenset({
    b"content-type", b"te", b"user-agent", b"grpc-encoding", b"grpc-accept-encoding",
    b"grpc-status", b"grpc-message", b"grpc-timeout", b"date", b"server",
})  # fmt: skip
_TIMEOUT_PREFIX: Final = b"\x00" + b"\x0cgrpc-timeout"
_PERCENT_ENCODED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNESCAPED: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_MAX_TIMEOUT_MS: Final = 99_999_999  # gRPC limits a timeout to eight digits


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """A parsed header block of a response: its initial headers or its trailers.

    `http_status` is 0 in trailers. `status` is None if there is no `grpc-status`. `starts_response`
    is True for the initial headers of a gRPC response that messages may follow. `details` is the
    decoded `grpc-message`. `metadata` has the fields that HTTP and gRPC do not reserve.
    """

    http_status: int
    is_grpc: bool
    starts_response: bool
    encoding: bytes
    status: Status | None
    details: str
    metadata: tuple[tuple[str, str | bytes], ...]

    def http_error(self) -> tuple[Status, str] | None:
        """Return the status and message for a response that is not gRPC; None if it is gRPC."""
        if self.http_status == 200 and self.is_grpc:
            return None
        if self.http_status == 200:
            return Status.UNKNOWN, "the answer is not of content-type application/grpc"
        return _STATUS_BY_HTTP.get(
            self.http_status, Status.UNKNOWN
        ), f"the peer answered HTTP {self.http_status}"


def parse_response_headers(fields: HeaderFields) -> ResponseHeaders:
    """Parse the fields of a response header block.

    A malformed `:status` counts as absent, a malformed `grpc-status` as UNKNOWN. A malformed
    `grpc-message` or binary metadata value is kept as it is.
    """
    by_name = dict(fields)
    http_status, grpc_status = by_name.get(b":status", b"0"), by_name.get(b"grpc-status")
    is_grpc = by_name.get(b"content-type", b"").startswith(b"application/grpc")
    return ResponseHeaders(
        http_status=int(http_status) if http_status.isdigit() and len(http_status) == 3 else 0,
        is_grpc=is_grpc,
        starts_response=is_grpc and http_status == b"200" and grpc_status is None,
        encoding=by_name.get(b"grpc-encoding", b"identity"),
        status=None if grpc_status is None else _parse_status(grpc_status),
        details=_percent_decode(by_name.get(b"grpc-message", b"")).decode("utf-8", "replace"),
        metadata=tuple(
            (name.decode("ascii", "replace"), read_metadata_value(name, value))
            for name, value in fields
            if not is_reserved_header(name)
        ),
    )


def encode_request_headers(authority: str, scheme: str, method: str, metadata: Metadata) -> bytes:
    """Return the header block of a request without `grpc-timeout`.

    `method` is the path, `/package.Service/Method`. Raises ValueError for metadata that gRPC does
    not allow.
    """
    fields = [
        (b":method", b"POST"),
        (b":scheme", scheme.encode()),
        (b":path", method.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"athena-serving"),
        (b"grpc-accept-encoding", b"identity,gzip"),
    ]
    return encode_header_block([*fields, *(_encode_field(name, value) for name, value in metadata)])


def encode_timeout_field(milliseconds: int) -> bytes:
    """Return the encoded `grpc-timeout` field, clamped to 1..99,999,999 ms."""
    value = b"%dm" % min(max(1, milliseconds), _MAX_TIMEOUT_MS)
    return b"%b%c%b" % (_TIMEOUT_PREFIX, len(value), value)


def _parse_status(value: bytes) -> Status:
    if value.isdigit() and len(value) <= 2 and int(value) <= max(Status):
        return Status(int(value))
    return Status.UNKNOWN


def _percent_decode(value: bytes) -> bytes:
    """Decode the percent-encoding of a `grpc-message`; an invalid escape stays as it is."""
    return _PERCENT_ENCODED.sub(lambda match: bytes.fromhex(match[1].decode()), value)


def is_reserved_header(name: bytes) -> bool:
    """Return whether a field belongs to HTTP or gRPC, and is no metadata of the application."""
    return name in _RESERVED_HEADERS or name.startswith(b":")


def read_metadata_value(name: bytes, value: bytes) -> str | bytes:
    """Return the value of a metadata field; that of a `-bin` field is decoded if it is base64.

    A value that is no ASCII is read as UTF-8, or else as ISO 8859-1, so that no two become equal.
    """
    if not name.endswith(b"-bin"):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    try:
        return b64decode(value + b"=" * (-len(value) % 4))
    except ValueError:
        return value


def encode_metadata(metadata: Metadata) -> bytes:
    """Return header fields for metadata. Raises ValueError for what gRPC does not allow."""
    return encode_header_block([_encode_field(name, value) for name, value in metadata])


def encode_status(status: Status, details: str) -> bytes:
    """Return the encoded fields `grpc-status` and, with details, `grpc-message`."""
    fields = [(b"grpc-status", b"%d" % status)]
    if details:
        # gRPC over HTTP/2, "Percent-Encoded": all but printable ASCII without the percent sign.
        fields.append((b"grpc-message", quote(details, safe=_UNESCAPED).encode()))
    return encode_header_block(fields)


def _encode_field(name: str, value: str | bytes) -> tuple[bytes, bytes]:
    is_reserved = name.startswith((":", "grpc-")) and name != STATUS_DETAILS
    if not name or is_reserved or name != name.lower():
        raise ValueError(f"metadata name {name!r} is not allowed")
    if name.endswith("-bin"):
        data = value if isinstance(value, bytes) else value.encode()
        return name.encode("ascii"), b64encode(data).rstrip(b"=")
    encoded = value.encode("ascii") if isinstance(value, str) else value
    if not all(0x20 <= byte <= 0x7E for byte in encoded):
        raise ValueError(f"metadata {name!r} is not printable ASCII; its name must end in -bin")
    return name.encode("ascii"), encoded
