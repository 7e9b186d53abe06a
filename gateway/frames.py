"""The envelopes of a session: each is judged as if it stood alone, with what the first one said.

The first frame's header is under those of later ones, but for its status; parameters that a later
frame leaves out are those of the first (reference "ase-wire" 1.6). Pure.
"""

from typing import Any, Final

from config.options import SessionOptions
from gateway.contracts import Contract
from schemas.errors import BAD_REQUEST, AseError
from schemas.explain import invalid_body_error
from schemas.session import FrameStatus, SequenceChecker, SessionEvent, frame_event

_NOT_KEPT: Final = ("status", "cid", "sid")
_BRIEF: Final = frozenset({"status"})


class Frames:
    """Reads the frames of one session into those of its loader.

    `facts` are the gateway's own headers; `only`: no frame can follow the first, which may call
    itself the beginning (0) or the only one (3), or nothing.
    """

    __slots__ = (
        "_contract", "_facts", "_header", "_inputs", "_known", "_number", "_only", "_parameter",
        "_sequence",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        facts: dict[str, str],
        options: SessionOptions,
        *,
        only: bool = False,
    ) -> None:
        self._contract = contract
        self._facts = facts
        self._sequence = SequenceChecker() if options.sequence else None
        self._header: dict[str, Any] = {}
        self._parameter: Any = None
        # By status, of frames that say nothing new but their payload: their header, and the head
        # that it leads to.
        self._known: dict[int, tuple[dict[str, Any], bytes]] = {}
        self._inputs: dict[str, None] = {}
        self._number = 0
        self._only = only

    def event(self, told: dict[str, Any]) -> SessionEvent:
        """Return what a frame is. Raises AseError 10163 for a status that there is not."""
        header = told.get("header")
        if header is not None and not isinstance(header, dict):
            raise AseError(BAD_REQUEST, "$.header: must be of type object")
        status = header.get("status") if header else None
        event = frame_event(status, first=not self._number)
        if self._only:
            if status is not None and event not in (SessionEvent.BEGIN, SessionEvent.ONCE):
                raise AseError(BAD_REQUEST, "$.header.status: must be 3: no other frame can follow")
            return SessionEvent.ONCE
        if event is None:
            if status is None:
                words = "$.header.status: is required: a session begins with 0, or 3 for one frame"
                raise AseError(BAD_REQUEST, words)
            raise AseError(BAD_REQUEST, "$.header.status: must be 0, 1, 2 or 3")
        return event

    def encode(self, told: dict[str, Any], event: SessionEvent, ascii_only: bool) -> bytes:
        """Return the loader's frame of an envelope, which is changed as its schema says.

        Raises AseError 10163 with every violation.
        """
        judge, encoder = self._contract.judge, self._contract.encoder
        header = told.get("header") or {}
        header.pop("cid", None)  # it is the socket's; a schema does not know it
        status = int(FrameStatus.CONTINUE if event is SessionEvent.CONTINUE else FrameStatus.END)
        brief = self._number > 0 and "parameter" not in told and header.keys() <= _BRIEF
        known = self._known.get(status) if brief else None
        if known is not None:
            told["header"] = known[0]
            if self._parameter is not None:
                told["parameter"] = self._parameter
        elif self._number:
            self._merge(told, header, status)
        else:
            self._keep(told, header)
        if self._sequence is not None:
            self._check_sequence(told, self._sequence)
        if not self._only:
            status = told["header"]["status"]  # before the schema may take it away
        judged = (
            judge.validate_and_transform if known is None else judge.validate_and_transform_payload
        )
        violations = judged(told, ascii_only)
        if violations:
            raise invalid_body_error(violations)
        if self._only:
            status = int(FrameStatus.ONCE)
            told["header"] = {**(told.get("header") or {}), "status": status}
        self._give_statuses(told, status)
        self._number += 1
        head = encoder.head(told, self._facts) if known is None else known[1]
        if brief and known is None and judge.has_independent_payload:
            self._known[status] = ({**self._header, "status": status}, head)
        return encoder.frame(head, self._number, told)

    def _keep(self, told: dict[str, Any], header: dict[str, Any]) -> None:
        """Keep what the first frame says for those that follow."""
        kept = {k: v for k, v in header.items() if k not in _NOT_KEPT}
        self._header, self._parameter = self._fresh(kept), self._fresh(told.get("parameter"))

    def _merge(self, told: dict[str, Any], header: dict[str, Any], status: int) -> None:
        """Give a frame what the first one said, where it does not say it itself."""
        told["header"] = {**self._fresh(self._header), **header, "status": status}
        if "parameter" not in told and self._parameter is not None:
            told["parameter"] = self._fresh(self._parameter)

    def _fresh(self, value: Any) -> Any:
        """Return a value that its schema may change, where it changes any."""
        return _copy(value) if self._contract.judge.has_transforms else value

    def _check_sequence(self, told: dict[str, Any], sequence: SequenceChecker) -> None:
        payload = told.get("payload")
        for name, stream in payload.items() if isinstance(payload, dict) else ():
            if isinstance(stream, dict):
                wrong = sequence.check_and_advance(name, stream.get("seq"))
                if wrong:
                    raise AseError(BAD_REQUEST, wrong)

    def _give_statuses(self, told: dict[str, Any], status: int) -> None:
        """See that each payload has a status: a loader knows the end of a stream by it alone."""
        payload = told.get("payload")
        streams = payload if isinstance(payload, dict) else {}
        for name, stream in streams.items():
            self._inputs[name] = None
            if isinstance(stream, dict):
                stream.setdefault("status", status)
        if not streams and status == FrameStatus.END:
            told["payload"] = {name: {"status": status} for name in self._inputs}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(told) for name, told in value.items()}
    return [_copy(told) for told in value] if isinstance(value, list) else value
