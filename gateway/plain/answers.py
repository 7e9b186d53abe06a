"""The answer to a plain request: which form the client accepts, and the outputs in it. Pure.

Sources: RFC 9110, 12.5.1 (Accept), RFC 2046, 5.1 (multipart).
"""

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Final

import pybase64

from atom.decode import DecodedOutput
from gateway.request.negotiation import choose
from schemas.model.media_types import media_type_of
from schemas.model.plain import PlainApi, PlainOutput
from schemas.model.service import DataType

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
MULTIPART: Final = "multipart/mixed"
# Source: WHATWG HTML, "multipart/form-data encoding algorithm".
_NAME_ESCAPES: Final = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}
_BINARY: Final = "application/octet-stream"


def offers(api: PlainApi, *, is_file_request: bool) -> list[str]:
    """Return the media types that a service can answer with, the preferred one first.

    A file or a form is preferably answered by a file, if one output may be a body of its own and is
    no text; other requests by JSON.
    """
    file_types = _file_types(api)
    is_binary = bool(file_types) and file_types != ["text/plain"]
    types = [*file_types, JSON] if is_file_request and is_binary else [JSON, *file_types]
    return [*types, MULTIPART, EVENTS, LINES]


def negotiate(api: PlainApi, accept: str, *, is_file_request: bool) -> str:
    """Return the media type of the answer by the Accept header; "" if there is none."""
    return choose(accept, offers(api, is_file_request=is_file_request))


def requested_encoding(output: PlainOutput, media_type: str) -> str:
    """Return the encoding of an output that the client has asked for by its media type; or ""."""
    fitting = (e for e in output.encodings if media_type_of(output.data_type, e) == media_type)
    return next(fitting, "")


def to_json(outputs: Sequence[DecodedOutput]) -> bytes:
    """Return outputs as the members of an object.

    Text is a string, JSON its value, anything else base64. Text that does not have the encoding
    that the loader names is an object of its `data` in base64 and that `encoding`.
    """
    return b"{%b}" % b",".join([_member(output) for output in outputs])


def to_file(output: DecodedOutput) -> tuple[str, bytes]:
    """Return the media type and the bytes of an output."""
    if output.is_json:
        return JSON, output.data
    if output.data_type is DataType.TEXT:
        return f"text/plain; charset={output.codec}", output.data
    return media_type_of(output.data_type, output.encoding), output.data


def to_multipart(outputs: Sequence[DecodedOutput], sid: str) -> tuple[str, bytes]:
    """Return the media type and the bytes of a `multipart/mixed` body, with a part per output.

    The boundary is made of `sid`, and occurs in no output.
    """
    number = 0
    while any(f"ase-{sid}-{number}".encode() in output.data for output in outputs):
        number += 1
    boundary = f"ase-{sid}-{number}"
    parts = []
    for output in outputs:
        media_type, data = to_file(output)
        name = output.name.translate(_NAME_ESCAPES)
        head = f'Content-Disposition: attachment; name="{name}"\r\nContent-Type: {media_type}'
        parts.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), data))
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return f"{MULTIPART}; boundary={boundary}", body


def _file_types(api: PlainApi) -> list[str]:
    """Return the media types in which the output that may be a body of its own can be sent."""
    output = api.file_output()
    if output is None:
        return []
    if output.data_type is DataType.TEXT:
        return ["text/plain"]
    if output.data_type is DataType.OTHER:
        return [_BINARY]
    types = dict.fromkeys(media_type_of(output.data_type, name) for name in output.encodings)
    types.pop(_BINARY, None)
    return [*(types or [f"{output.data_type.key}/*"]), _BINARY]


def _member(output: DecodedOutput) -> bytes:
    name = output.quoted_name
    if output.is_json:
        return b"%b:%b" % (name, output.data)
    if output.data_type is not DataType.TEXT:
        return b'%b:"%b"' % (name, pybase64.b64encode(output.data))
    try:
        text = output.data.decode(output.codec)
        return b"%b:%b" % (name, encode_basestring(text).encode())
    except UnicodeError:
        encoding = encode_basestring(output.encoding).encode()
        data = pybase64.b64encode(output.data)
        return b'%b:{"data":"%b","encoding":%b}' % (name, data, encoding)
