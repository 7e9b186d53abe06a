"""Values of queries and forms: `application/x-www-form-urlencoded` and `multipart/form-data`. Pure.

Sources: WHATWG URL ("application/x-www-form-urlencoded parsing"), RFC 7578 (multipart/form-data).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.plain.envelope import Blob, FormText, PlainRequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PART_HEADERS: Final = 16
MAX_PART_HEADER_BYTES: Final = 4096
_MAX_BOUNDARY_BYTES: Final = 70  # RFC 2046, 5.1.1


class MalformedFormError(Exception):
    """A query or a form that cannot be parsed; `str()` says why."""


CheckName = Callable[[str], None]
"""Raises PlainRequestError for a name that the service does not declare."""


def parse_pairs(encoded: str, check_name: CheckName, values: dict[str, object]) -> None:
    """Add the pairs of a query or of an urlencoded form to `values`.

    Raises MalformedFormError for text that is not UTF-8, PlainRequestError for a name that
    `check_name` rejects or that is in `values` already. So the number of pairs is bounded.
    """
    for pair in encoded.split("&"):
        if not pair:
            continue
        try:
            ((name, text),) = parse_qsl(pair, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise MalformedFormError("the query or form is not UTF-8") from None
        add_value(name, FormText(text), check_name, values)


def add_value(name: str, value: object, check_name: CheckName, values: dict[str, object]) -> None:
    """Add a value. Raises PlainRequestError as `check_name` does, or if there is one already."""
    check_name(name)
    if name in values:
        raise PlainRequestError(name[:64], "is given twice")
    values[name] = value


def parse_multipart(
    body: bytes, content_type: str, check_name: CheckName, values: dict[str, object]
) -> None:
    """Add the parts of a `multipart/form-data` body to `values`: each a `Blob`.

    Raises MalformedFormError for a body that is none, or is not complete; PlainRequestError for a
    part whose name `check_name` rejects, or is in `values` already. So their number is bounded.
    """
    boundary = _header_parameters(content_type).get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise MalformedFormError("content-type: its boundary must be 1 to 70 characters")
    reader = _PartReader(check_name, values)
    parser = MultipartParser(
        boundary,
        reader.callbacks(),
        max_header_count=MAX_PART_HEADERS,
        max_header_size=MAX_PART_HEADER_BYTES,
    )
    parser.logger.disabled = True  # what it finds wrong is the caller's, and is in the answer
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise MalformedFormError(f"the form is malformed: {error}") from None
    if not reader.is_complete:
        raise MalformedFormError("the form is truncated: its last boundary is missing")


class _PartReader:
    """Collects the parts that the parser finds.

    `_field` and `_value` are the header line that is being read, `_headers` those of the part;
    `_chunks` is its data. `is_complete`: the last boundary was found.
    """

    def __init__(self, check_name: CheckName, values: dict[str, object]) -> None:
        self.is_complete = False
        self._check_name = check_name
        self._values = values
        self._field = self._value = b""
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._name = self._file_name = ""

    def callbacks(self) -> "MultipartCallbacks":
        """Return the callbacks by the parser's names."""
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._field = self._value = b""
        self._headers = {}
        self._chunks = []

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        field = self._field.lower().decode("latin-1")
        self._headers[field] = self._value.decode("latin-1")
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get("content-disposition", "")
        parameters = _header_parameters(disposition)
        self._name = parameters.get(b"name", b"").decode("utf-8", "replace")
        self._file_name = parameters.get(b"filename", b"").decode("utf-8", "replace")
        kind = disposition.partition(";")[0].strip().lower()
        if kind != "form-data" or not self._name:
            hint = 'Content-Disposition: form-data; name="..."'
            raise MalformedFormError(f"a part of the form has no name: it needs {hint}")
        self._check_name(self._name)
        if self._name in self._values:
            raise PlainRequestError(self._name[:64], "is given twice")
        coding = self._headers.get("content-transfer-encoding", "binary").strip().lower()
        if coding not in ("binary", "8bit", "7bit"):  # RFC 7578, 4.7
            raise PlainRequestError(
                self._name[:64], "has a content-transfer-encoding; forms have none"
            )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def _on_part_end(self) -> None:
        media_type = self._headers.get("content-type", "")
        self._values[self._name] = Blob(b"".join(self._chunks), media_type, self._file_name)

    def _on_end(self) -> None:
        self.is_complete = True


def _header_parameters(value: str) -> dict[bytes, bytes]:
    """Return the parameters of a header field such as `form-data; name="image"`, by name."""
    return parse_options_header(value)[1]
