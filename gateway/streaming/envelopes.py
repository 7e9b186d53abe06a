"""The envelopes of a session: each is validated as a request of its own. Pure.

A later frame inherits from the first one: the members of the header, except those it has itself and
except `status`, `cid` and `sid`; and the parameters, if it has none (docs/wire.md).
"""

from typing import Any, Final

from config.options import SessionOptions
from gateway.services.catalog import Contract
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.session import FrameStatus, SequenceChecker, SessionEvent, frame_event
from schemas.validation.validate import InvalidBodyError

_NOT_INHERITED: Final = ("status", "cid", "sid")
_STATUS_ONLY: Final = frozenset({"status"})


class EnvelopeReader:
    """Converts the envelopes of one session into frames for its loader.

    `gateway_headers` are the headers that the gateway adds. `single_frame`: the first frame is the
    only one; its status may be 0, 3 or missing.

    `_frame_count` is the number of frames converted so far. `_first_header` and `_first_parameter`
    are what later frames inherit, as sent. `_stream_names` are the names of all payload streams so
    far, in order of appearance (a dict as an ordered set).

    `_header_cache` is for frames that have only a status and a payload. By status it has their
    complete header, and the encoded prefix that follows from it: such a frame needs no merging, and
    only its payload is transformed and encoded. It is used only if the transforms of the payload do
    not depend on the rest of the envelope.
    """

    __slots__ = (
        "_contract", "_first_header", "_first_parameter", "_frame_count", "_gateway_headers",
        "_header_cache", "_sequence_checker", "_single_frame", "_stream_names",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        gateway_headers: dict[str, str],
        options: SessionOptions,
        *,
        single_frame: bool = False,
    ) -> None:
        self._contract = contract
        self._gateway_headers = gateway_headers
        self._sequence_checker = SequenceChecker() if options.sequence else None
        self._first_header: dict[str, Any] = {}
        self._first_parameter: Any = None
        self._header_cache: dict[int, tuple[dict[str, Any], bytes]] = {}
        self._stream_names: dict[str, None] = {}
        self._frame_count = 0
        self._single_frame = single_frame

    def classify(self, envelope: dict[str, Any]) -> SessionEvent:
        """Return the event of a frame by its status.

        Raises AseError 10163 if the status is invalid or the header is not an object.
        """
        header = envelope.get("header")
        if header is not None and not isinstance(header, dict):
            raise AseError(BAD_REQUEST, "$.header: must be of type object")
        status = header.get("status") if header else None
        event = frame_event(status, first=not self._frame_count)
        if self._single_frame:
            if status is not None and event not in (SessionEvent.BEGIN, SessionEvent.ONCE):
                raise AseError(BAD_REQUEST, "$.header.status: must be 3: no other frame can follow")
            return SessionEvent.ONCE
        if event is None:
            if status is None:
                message = (
                    "$.header.status: is required: a session begins with 0, or 3 for one frame"
                )
                raise AseError(BAD_REQUEST, message)
            raise AseError(BAD_REQUEST, "$.header.status: must be 0, 1, 2 or 3")
        return event

    def transform_and_encode(
        self, envelope: dict[str, Any], event: SessionEvent, ascii_only: bool
    ) -> bytes:
        """Validate an envelope, apply the transforms of its schema and return the loader's frame.

        The envelope is changed in place. `event` is the result of `classify`. `ascii_only`: all its
        strings are ASCII. Raises AseError 10163, for an invalid envelope with its first 20
        violations.
        """
        validator, encoder = self._contract.validator, self._contract.encoder
        header = envelope.get("header") or {}
        header.pop("cid", None)  # it is the multiplexer's; schemas do not declare it
        # The status of a later frame; that of a first frame is read from its header below.
        status = int(FrameStatus.CONTINUE if event is SessionEvent.CONTINUE else FrameStatus.END)
        status_only = (
            self._frame_count > 0 and "parameter" not in envelope and header.keys() <= _STATUS_ONLY
        )
        cached = self._header_cache.get(status) if status_only else None
        if cached is not None:
            envelope["header"] = cached[0]
            if self._first_parameter is not None:
                envelope["parameter"] = self._first_parameter
        elif self._frame_count:
            self._fill_from_first(envelope, header, status)
        else:
            self._remember_first(envelope, header)
        if self._sequence_checker is not None:
            self._check_sequence(envelope, self._sequence_checker)
        if not self._single_frame:
            status = envelope["header"]["status"]  # a transform may remove it
        validate = (
            validator.validate_and_transform
            if cached is None
            else validator.validate_and_transform_payload
        )
        violations = validate(envelope, ascii_only)
        if violations:
            raise InvalidBodyError(violations)
        if self._single_frame:
            status = int(FrameStatus.ONCE)
            envelope["header"] = {**(envelope.get("header") or {}), "status": status}
        self._fill_statuses(envelope, status)
        self._frame_count += 1
        prefix = (
            encoder.encode_frame_prefix(envelope, self._gateway_headers)
            if cached is None
            else cached[1]
        )
        if status_only and cached is None and validator.has_independent_payload:
            self._header_cache[status] = ({**self._first_header, "status": status}, prefix)
        return encoder.encode_frame(prefix, self._frame_count, envelope)

    def _remember_first(self, envelope: dict[str, Any], header: dict[str, Any]) -> None:
        """Store what later frames inherit from the first one."""
        inherited = {k: v for k, v in header.items() if k not in _NOT_INHERITED}
        self._first_header, self._first_parameter = (
            self._copy_for_transform(inherited),
            self._copy_for_transform(envelope.get("parameter")),
        )

    def _fill_from_first(
        self, envelope: dict[str, Any], header: dict[str, Any], status: int
    ) -> None:
        """Add to a frame what it inherits from the first one."""
        envelope["header"] = {
            **self._copy_for_transform(self._first_header),
            **header,
            "status": status,
        }
        if "parameter" not in envelope and self._first_parameter is not None:
            envelope["parameter"] = self._copy_for_transform(self._first_parameter)

    def _copy_for_transform(self, value: Any) -> Any:
        """Return a copy of `value` if the schema has transforms, which change it; else `value`."""
        return _deep_copy(value) if self._contract.validator.has_transforms else value

    def _check_sequence(self, envelope: dict[str, Any], sequence_checker: SequenceChecker) -> None:
        payload = envelope.get("payload")
        for name, stream in payload.items() if isinstance(payload, dict) else ():
            if isinstance(stream, dict):
                problem = sequence_checker.check_and_advance(name, stream.get("seq"))
                if problem:
                    raise AseError(BAD_REQUEST, problem)

    def _fill_statuses(self, envelope: dict[str, Any], status: int) -> None:
        """Set the status of each payload that has none: only it shows a loader the end of a stream.

        A last frame (2) without a payload ends every stream of the session.
        """
        payload = envelope.get("payload")
        streams = payload if isinstance(payload, dict) else {}
        for name, stream in streams.items():
            self._stream_names[name] = None
            if isinstance(stream, dict):
                stream.setdefault("status", status)
        if not streams and status == FrameStatus.END:
            envelope["payload"] = {name: {"status": status} for name in self._stream_names}


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _deep_copy(item) for name, item in value.items()}
    return [_deep_copy(item) for item in value] if isinstance(value, list) else value
