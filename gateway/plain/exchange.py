"""Requests and answers without an envelope. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from atom.decode import DecodedOutput
from config.options import GatewayOptions
from gateway.plain import answers, forms
from gateway.plain.envelope import Blob, PlainRequestError
from gateway.request import checks, content_coding, json_body
from gateway.request.exchange import ParsedBody
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError, HttpResponse, PlainError, finish_with_body
from gateway.services.catalog import Contract
from schemas.model.errors import BAD_APP, BAD_OUTPUT, BAD_REQUEST, AseError
from schemas.model.plain import PlainMember
from schemas.validation.explain import InvalidBodyError, Violation

APP_ID_HEADER: Final = b"x-app-id"
ANONYMOUS: Final = "anonymous"
_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART_FORM: Final = "multipart/form-data"
_LOCATED: Final = re.compile(r"(\$[^:]*): (.*)", re.DOTALL)
_STREAMS: Final = (answers.EVENTS, answers.LINES)


class PlainExchange:
    """One plain request and its answer: see `Exchange`.

    `query` is that of the URL, still encoded. `answer_type` is the media type of the answer,
    `_file_name` the name of the output that may be a body of its own. `_is_type_named`: the client
    names that media type itself, not by a wildcard.
    """

    __slots__ = ("_content_type", "_file_name", "_is_type_named", "_query", "_sid", "answer_type")

    def __init__(self, query: str, sid: str) -> None:
        self._query = query
        self._sid = sid
        self._content_type = self._file_name = ""
        self._is_type_named = False
        self.answer_type = answers.JSON

    def check_head(self, contract: Contract, headers: Mapping[bytes, bytes]) -> None:
        """Choose the forms of body and answer. Raises HttpError 415 and 406."""
        self._content_type = headers.get(b"content-type", b"").decode("latin-1")
        media_type = _media_type(self._content_type)
        coding = headers.get(b"content-encoding")
        if coding is not None:
            content_coding.check_coding(coding)
        is_file_request = media_type not in (answers.JSON, _FORM, "")
        if is_file_request and media_type != _MULTIPART_FORM:
            _raw_input(contract, media_type)
        _check_charset(self._content_type, media_type)
        accept = headers.get(b"accept", b"").decode("latin-1")
        api = contract.plain.api
        self.answer_type = answers.negotiate(api, accept, is_file_request=is_file_request)
        file_output = answers.file_output(api)
        self._file_name = file_output.name if file_output is not None else ""
        self._is_type_named = self.answer_type in accept.lower()
        if not self.answer_type:
            available = ", ".join(answers.offers(api, is_file_request=is_file_request))
            raise HttpError(406, f"the Accept header has none of: {available}")

    def peek_app_id(
        self, headers: Mapping[bytes, bytes], _body_start: bytes, options: GatewayOptions
    ) -> str:
        """Return the app id, which is in the head alone; "" if there is none."""
        return _named_app_id(headers, options) or (ANONYMOUS if options.anonymous else "")

    def parse(
        self,
        contract: Contract,
        raw_body: bytes,
        headers: Mapping[bytes, bytes],
        options: GatewayOptions,
    ) -> ParsedBody:
        """Convert the query and the body to an envelope. Raises AseError 10163, 10313."""
        app_id = self.peek_app_id(headers, b"", options)
        if not app_id:
            raise AseError(BAD_APP, "the header x-app-id is required")
        builder, values = contract.plain.builder, dict[str, Any]()
        media_type = _media_type(self._content_type)
        is_json = media_type == answers.JSON
        try:
            if self._query:
                forms.parse_pairs(self._query, builder.check_name, values)
            if is_json:
                members = json_body.parse(
                    raw_body, options.max_depth, options.max_nodes, options.max_names
                )
                values = _merge(values, members)
            else:
                self._read_form(contract, media_type, raw_body, values)
            if self._is_type_named:
                _request_encoding(contract, self.answer_type, values)
            envelope = builder.build(values, app_id)
        except PlainRequestError as error:
            raise _member_error(error) from None
        except forms.MalformedFormError as error:
            raise HttpError(400, str(error)) from None
        ascii_only = is_json and not self._query and json_body.has_only_ascii_text(raw_body)
        return ParsedBody(envelope, app_id, ascii_only, raw_body if is_json else b"")

    def _read_form(
        self, contract: Contract, media_type: str, raw_body: bytes, values: dict[str, Any]
    ) -> None:
        """Add the values of a body that is not JSON."""
        check_name = contract.plain.builder.check_name
        if media_type == _MULTIPART_FORM:
            forms.parse_multipart(raw_body, self._content_type, check_name, values)
        elif media_type == _FORM:
            try:
                text = raw_body.decode()
            except UnicodeDecodeError:
                raise forms.MalformedFormError("the form is not UTF-8") from None
            forms.parse_pairs(text, check_name, values)
        elif raw_body or media_type:
            member = _raw_input(contract, media_type)
            blob = Blob(raw_body, self._content_type)
            forms.add_value(member.name, blob, check_name, values)

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

    def decode(self, contract: Contract, frame: bytes) -> Any:
        """Return the outputs. Raises AseError."""
        return contract.decoder.decode_outputs(frame)

    def decode_result(self, contract: Contract, frame: bytes) -> tuple[bytes, int]:
        """Return a result as plain members, and its status. Raises AseError."""
        outputs, status = contract.decoder.decode_result_outputs(frame)
        return answers.to_json(outputs), status

    def streams_lines(self) -> bool:
        """Return whether the client has chosen lines of JSON."""
        return self.answer_type == answers.LINES

    def finish(self, outputs: Any, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return the outputs in the form that was negotiated."""
        if self.answer_type == answers.JSON:
            return finish_with_body(answers.JSON, answers.to_json(outputs), record, now)
        if self.answer_type == answers.MULTIPART:
            content_type, body = answers.to_multipart(outputs, f"ase-{self._sid}")
        else:
            content_type, body = answers.to_file(self._file_output(outputs))
        return finish_with_body(content_type, body, record, now)

    def _file_output(self, outputs: list[DecodedOutput]) -> DecodedOutput:
        """Return the output that is the body. Raises AseError 10106 if the loader gave it not."""
        for output in outputs:
            if output.name == self._file_name:
                return output
        raise AseError(BAD_OUTPUT, f"the loader returned no output {self._file_name!r}")

    def explain(self, contract: Contract, error: AseError) -> AseError:
        """Return an error of the envelope in terms of the plain members."""
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
            [(*contract.plain.api.locate(v.path), v.rule) for v in violations],
            error.log_message,
        )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _check_charset(content_type: str, media_type: str) -> None:
    """Raise HttpError 415 for text in another charset than UTF-8."""
    if not (media_type == answers.JSON or media_type == _FORM or media_type.startswith("text/")):
        return
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.strip().lower().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise HttpError(415, "content-type: the charset must be utf-8")


def _raw_input(contract: Contract, media_type: str) -> PlainMember:
    """Return the input that a body of a media type is. Raises HttpError 415 if there is none."""
    inputs = contract.plain.api.inputs()
    binary = [member for member in inputs if member.is_binary]
    texts = [member for member in inputs if not member.is_binary and not member.is_json]
    candidates = texts if media_type.startswith("text/") else binary
    if len(candidates) == 1 and media_type:
        return candidates[0]
    types = [answers.JSON, _MULTIPART_FORM, _FORM]
    types += ["text/plain"] if len(texts) == 1 else []
    types += [f"the media type of {binary[0].name}"] if len(binary) == 1 else []
    raise HttpError(415, f"content-type must be one of: {', '.join(types)}")


def _named_app_id(headers: Mapping[bytes, bytes], options: GatewayOptions) -> str:
    """Return the caller that the proxy names, else that of the header x-app-id; "" without one.

    Raises HttpError 403 if they differ.
    """
    consumer = checks.named_consumer(headers, options.consumer_header)
    app_id = checks.decode_header(headers.get(APP_ID_HEADER, b""))
    if consumer and app_id and consumer != app_id:
        raise HttpError(403, "app_id and api_key does not match", BAD_APP)
    return consumer or app_id


def _merge(values: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Return the values of query and body. Raises PlainRequestError for a name in both."""
    for name in values:
        if name in members:
            raise PlainRequestError(name, "is in the query and in the body")
    return {**values, **members} if values else members


def _request_encoding(contract: Contract, answer_type: str, values: dict[str, Any]) -> None:
    """Ask the loader for the encoding that the client accepts, unless the request names one."""
    output = answers.file_output(contract.plain.api)
    encoding = answers.requested_encoding(output, answer_type) if output is not None else ""
    if output is not None and encoding and output.options_member not in values:
        values[output.options_member] = {"encoding": encoding}


def _member_error(error: PlainRequestError) -> PlainError:
    pointer = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in [error.name])
    return PlainError(BAD_REQUEST, [(error.name, pointer, error.rule)], f"*: {error.rule}")
