"""Header blocks of requests, as a server receives them: decoded, checked and parsed. Pure.

A client may use the dynamic table until it has read this side's SETTINGS, which forbid it. Then
its header blocks have the same meaning every time, and are found in a cache. Sources: RFC 7541,
4.2 and 6.3; gRPC over HTTP/2, "Requests".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hpack import Decoder, HPACKError

from rpc.frames import ErrorCode, ProtocolError
from rpc.headers import (
    MAX_HEADER_LIST_SIZE,
    TABLE_SIZE_UPDATE,
    HeaderBlockCache,
    HeaderFields,
    check_fields,
    check_size_updates,
)
from rpc.metadata import is_reserved_header, read_metadata_value

# How the core's client, and this project's, ends a header block: a literal field that differs from
# call to call.
_TIMEOUT_FIELD: Final = b"\x00\x0cgrpc-timeout"
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The parsed header block of a request.

    `http_error` is the HTTP status for a request that is not gRPC, else 0. `timeout` is in seconds,
    None without a deadline; `is_timeout_valid` is False if it cannot be read. `metadata` has the
    fields that HTTP and gRPC do not reserve; values of `-bin` fields are decoded as ISO 8859-1.
    """

    path: str
    http_error: int
    encoding: bytes
    timeout: float | None
    is_timeout_valid: bool
    metadata: Mapping[str, str]


def parse_request_headers(fields: HeaderFields) -> RequestHeaders:
    """Parse the fields of a request. Of a field that occurs twice, the values are joined."""
    by_name: dict[bytes, bytes] = {}
    for name, value in fields:
        by_name[name] = by_name[name] + b"," + value if name in by_name else value
    is_grpc = by_name.get(b"content-type", b"").startswith(b"application/grpc")
    http_error = 0 if is_grpc else 415
    if by_name.get(b":method") != b"POST":
        http_error = 405
    timeout = by_name.get(b"grpc-timeout")
    seconds = None if timeout is None else parse_timeout(timeout)
    return RequestHeaders(
        path=by_name.get(b":path", b"").decode("latin-1"),
        http_error=http_error,
        encoding=by_name.get(b"grpc-encoding", b"identity"),
        timeout=seconds,
        is_timeout_valid=timeout is None or seconds is not None,
        metadata={
            name.decode("ascii"): _as_text(read_metadata_value(name, value))
            for name, value in by_name.items()
            if not is_reserved_header(name)
        },
    )


def parse_timeout(value: bytes) -> float | None:
    """Return the seconds of a `grpc-timeout`; None if it is malformed."""
    match = _TIMEOUT.fullmatch(value)
    return int(match[1]) * _UNIT_S[match[2]] if match else None


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


class RequestHeaderDecoder:
    """Decodes the header blocks of one connection.

    `_decoder` has the dynamic table of the client's encoder; it is None as soon as the client has
    set the size of the table to 0. The blocks must be decoded in the order of their arrival, until
    then all of them.
    """

    def __init__(self) -> None:
        self._decoder: Decoder | None = Decoder(max_header_list_size=MAX_HEADER_LIST_SIZE)
        self._cache: HeaderBlockCache[RequestHeaders] = HeaderBlockCache(parse_request_headers)

    @property
    def is_stateless(self) -> bool:
        """Return whether a block may be left undecoded."""
        return self._decoder is None

    def decode(self, header_block: bytes) -> tuple[RequestHeaders, float | None]:
        """Return the parsed form of a header block, and the timeout of the call in seconds.

        Raises ProtocolError (COMPRESSION_ERROR) if the block is invalid, TooLargeError if its list
        of fields is too large, and MalformedError.
        """
        if self._decoder is not None:
            headers = parse_request_headers(self._decode_with_table(self._decoder, header_block))
            return headers, headers.timeout
        start = header_block.rfind(_TIMEOUT_FIELD)
        value_start = start + len(_TIMEOUT_FIELD) + 1
        size = len(header_block)
        if (
            start > 0
            and value_start <= size
            and value_start + header_block[value_start - 1] == size
        ):
            timeout = parse_timeout(header_block[value_start:])
            if timeout is not None:
                return self._cache.decode(header_block[:start]), timeout
        headers = self._cache.decode(header_block)
        return headers, headers.timeout

    def _decode_with_table(self, decoder: Decoder, header_block: bytes) -> HeaderFields:
        check_size_updates(header_block)
        try:
            fields = tuple((bytes(n), bytes(v)) for n, v in decoder.decode(header_block, raw=True))
        except (HPACKError, IndexError, ValueError) as error:
            reason = f"header block: {error}"
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, reason) from error
        if header_block.startswith(TABLE_SIZE_UPDATE) and decoder.header_table_size == 0:
            self._decoder = None
        check_fields(fields)
        return fields
