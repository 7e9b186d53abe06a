"""Requests and answers without an envelope. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from atom.decode import DecodedOutput
from config.options import GatewayOptions
from gateway.access.caller_head import decode_header
from gateway.access.identity import Identity
from gateway.plain import answers, forms
from gateway.plain.envelope import Blob, PlainRequestError
from gateway.plain.heads import FORM, MULTIPART_FORM, PlainHead
from gateway.request import content_coding, json_body
from gateway.request.exchange import ParsedBody, StreamForm
from gateway.request.negotiation import choose
from gateway.request.origin import check_fetch_site, check_origin
from gateway.request.record import RequestRecord
from gateway.request.response import (
    HttpError,
    HttpResponse,
    PlainError,
    finish_with_body,
    finish_with_problem,
)
from gateway.services.catalog import Contract
from schemas.model.errors import BAD_APP, BAD_OUTPUT, BAD_REQUEST, AseError
from schemas.model.plain import json_pointer
from schemas.model.request_header import APP_ID_NAMES
from schemas.validation.explain import Violation
from schemas.validation.validate import InvalidBodyError

APP_ID_HEADER: Final = b"x-app-id"
ANONYMOUS: Final = "anonymous"
_LOCATED: Final = re.compile(r"(\$[^:]*): (.*)", re.DOTALL)
_APP_ID_PATHS: Final = tuple(f"$.header.{name}" for name in APP_ID_NAMES)
_STREAMS: Final = (answers.EVENTS, answers.LINES)


class PlainExchange:
    """One plain request and its answer: see `Exchange`.

    `query` is that of the URL, still encoded. Pages of `origins` may send forms. `answer_type` is
    the media type of the answer.
    """

    __slots__ = ("_head", "_origins", "_query", "_sid", "answer_type")

    def __init__(self, query: str, sid: str, origins: list[str]) -> None:
        self._origins = origins
        self._query = query
        self._sid = sid
        self._head: PlainHead | None = None
        self.answer_type = answers.JSON

    def check_head(self, contract: Contract, headers: Mapping[bytes, bytes]) -> None:
        """Choose the forms of body and answer.

        Raises HttpError 415 and 406; 403 for a body that any web page could send, from a page whose
        origin is not allowed.
        """
        coding = headers.get(b"content-encoding")
        if coding is not None:
            content_coding.check_coding(coding)
        self._head = head = contract.plain.heads.find(
            headers.get(b"content-type", b""), headers.get(b"accept", b"")
        )
        self.answer_type = head.answer_type
        if head.media_type != answers.JSON:  # a browser sends it for any page, without a preflight
            check_origin(headers, self._origins)
            check_fetch_site(headers, self._origins)

    def peek_app_id(
        self,
        headers: Mapping[bytes, bytes],
        _body_start: bytes,
        identity: Identity,
        options: GatewayOptions,
    ) -> str:
        """Return the app id, which is in the head alone; "" if there is none."""
        return named_app_id(headers, identity, options)

    def parse(
        self,
        contract: Contract,
        raw_body: bytes,
        headers: Mapping[bytes, bytes],
        identity: Identity,
        options: GatewayOptions,
    ) -> ParsedBody:
        """Convert the query and the body to an envelope. Raises AseError 10163, 10313."""
        app_id = require_app_id(headers, identity, options)
        head = self._head
        assert head is not None  # noqa: S101 (`check_head` comes first)
        builder, values = contract.plain.builder, dict[str, Any]()
        is_json = head.media_type == answers.JSON
        try:
            if self._query:
                forms.parse_pairs(self._query, builder.check_name, values)
            if is_json:
                members = json_body.parse(
                    raw_body, options.max_depth, options.max_nodes, options.max_names
                )
                values = _merge(values, members)
            else:
                _read_form(contract, head, raw_body, values, options.max_form)
            if head.is_type_named:
                _request_encoding(contract, self.answer_type, values)
            envelope = builder.build(values, app_id, options)
        except PlainRequestError as error:
            raise member_error(error) from None
        except forms.MalformedFormError as malformed:  # another name, for mypyc: another type
            raise HttpError(400, str(malformed)) from None
        if not is_json:
            return ParsedBody(envelope, app_id, False, False, b"")
        ascii_only, has_line_breaks = json_body.text_traits(raw_body)
        ascii_only = ascii_only and not self._query and app_id.isascii()
        return ParsedBody(envelope, app_id, ascii_only, has_line_breaks, raw_body)

    def wants_events(
        self,
        _contract: Contract,
        _envelope: dict[str, Any],
        _headers: Mapping[bytes, bytes],
        only_streams: bool,
    ) -> bool:
        """Return whether the client prefers events, or takes them from a service that streams."""
        if only_streams and self.answer_type not in _STREAMS:
            self.answer_type = answers.EVENTS
        return self.answer_type in _STREAMS

    def accepts_events(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the client takes events; without an Accept header it takes anything."""
        accept = headers.get(b"accept", b"").decode("latin-1")
        return choose(accept, [answers.EVENTS]) != ""

    def decode(self, contract: Contract, frame: bytes) -> Any:
        """Return the outputs. Raises AseError."""
        return contract.decoder.decode_outputs(frame)

    def decode_result(self, contract: Contract, frame: bytes) -> tuple[bytes, int]:
        """Return a result as plain members, and its status. Raises AseError."""
        return decode_result(contract, frame)

    def answer_form(self) -> str:
        """Return the media type that was negotiated."""
        return f"plain {self.answer_type}"

    def stream_form(self) -> StreamForm:
        """Return the form that the client has chosen."""
        is_lines = self.answer_type == answers.LINES
        return StreamForm.PLAIN_LINES if is_lines else StreamForm.PLAIN_EVENTS

    def finish(self, outputs: Any, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return the outputs in the form that was negotiated."""
        if self.answer_type == answers.JSON:
            return finish_with_body(answers.JSON, answers.to_json(outputs), record, now)
        if self.answer_type == answers.MULTIPART:
            content_type, body = answers.to_multipart(outputs, self._sid)
        else:
            content_type, body = answers.to_file(self._file_output(outputs))
        return finish_with_body(content_type, body, record, now)

    def _file_output(self, outputs: list[DecodedOutput]) -> DecodedOutput:
        """Return the output that is the body. Raises AseError 10106 if the loader gave it not."""
        name = self._head.file_name if self._head is not None else ""
        for output in outputs:
            if output.name == name:
                return output
        raise AseError(BAD_OUTPUT, f"the loader returned no output {name!r}")

    def fail(self, error: AseError, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return a problem (RFC 9457)."""
        return finish_with_problem(error, record, now)

    def explain(self, contract: Contract, error: AseError) -> AseError:
        """Return an error of the envelope in terms of the plain members."""
        return explain(contract, error)


def decode_result(contract: Contract, frame: bytes) -> tuple[bytes, int]:
    """Return a result of a session as plain members, and its status. Raises AseError."""
    outputs, status = contract.decoder.decode_result_outputs(frame)
    return answers.to_json(outputs), status


def explain(contract: Contract, error: AseError) -> AseError:
    """Return an error of an envelope in terms of the plain members."""
    if isinstance(error, PlainError | HttpError):
        return error
    if isinstance(error, InvalidBodyError):
        violations = error.violations
    else:
        located = _LOCATED.fullmatch(str(error))
        if located is None:
            return error
        violations = (Violation(located[1], located[2]),)
    return PlainError(
        error.spec,
        [(*_locate(contract, violation.path), violation.rule) for violation in violations],
        error.log_message,
    )


def _locate(contract: Contract, path: str) -> tuple[str, str]:
    """Return the plain name and the pointer of a path; the app id is a header of the request."""
    if path in _APP_ID_PATHS:
        return "header x-app-id", ""
    return contract.plain.api.locate(path)


def named_app_id(
    headers: Mapping[bytes, bytes], identity: Identity, options: GatewayOptions
) -> str:
    """Return the app id of a plain request by its headers; "" if there is none.

    Raises HttpError 403 if the proxy names another caller.
    """
    return _named_app_id(headers, identity) or (ANONYMOUS if options.anonymous else "")


def require_app_id(
    headers: Mapping[bytes, bytes], identity: Identity, options: GatewayOptions
) -> str:
    """Return the app id of a plain request. Raises AseError 10313 without one."""
    app_id = named_app_id(headers, identity, options)
    if not app_id:
        raise AseError(BAD_APP, "the header x-app-id is required")
    return app_id


def member_error(error: PlainRequestError) -> PlainError:
    """Return the error of a member that cannot be converted."""
    steps = error.name.split(".") if error.is_path else [error.name]
    where = (error.name, json_pointer(steps), error.rule)
    return PlainError(BAD_REQUEST, [where], f"*: {error.rule}")


def _read_form(
    contract: Contract, head: PlainHead, raw_body: bytes, values: dict[str, Any], max_form: int
) -> None:
    """Add the values of a body that is not JSON; `max_form` limits an urlencoded one."""
    check_name = contract.plain.builder.check_name
    if head.media_type == MULTIPART_FORM:
        forms.parse_multipart(raw_body, head.content_type, check_name, values)
    elif head.media_type == FORM:
        if len(raw_body) > max_form:
            cure = "send JSON or multipart/form-data"
            raise HttpError(413, f"the form is larger than {max_form} bytes; {cure}")
        try:
            text = raw_body.decode()
        except UnicodeDecodeError:
            raise forms.MalformedFormError("the form is not UTF-8") from None
        forms.parse_pairs(text, check_name, values)
    elif head.raw_input is not None:
        blob = Blob(raw_body, head.content_type)
        forms.add_value(head.raw_input.name, blob, check_name, values)
    elif raw_body:
        raise contract.plain.heads.unsupported_error()


def _named_app_id(headers: Mapping[bytes, bytes], identity: Identity) -> str:
    """Return the app id of the caller, else that of the header x-app-id; "" without one.

    Raises HttpError 403 if they differ.
    """
    own_id = identity.app_id
    sent = headers.get(APP_ID_HEADER)
    app_id = decode_header(sent) if sent is not None else ""
    if own_id and app_id and own_id != app_id:
        raise HttpError(403, "app_id and api_key does not match", BAD_APP)
    return own_id or app_id


def _merge(values: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Return the values of query and body. Raises PlainRequestError for a name in both."""
    for name in values:
        if name in members:
            raise PlainRequestError(name, "is in the query and in the body")
    return {**values, **members} if values else members


def _request_encoding(contract: Contract, answer_type: str, values: dict[str, Any]) -> None:
    """Ask the loader for the encoding that the client accepts, unless the request names one."""
    output = contract.plain.api.file_output()
    encoding = answers.requested_encoding(output, answer_type) if output is not None else ""
    if output is not None and encoding and output.options_member not in values:
        values[output.options_member] = {"encoding": encoding}
