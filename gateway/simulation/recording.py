"""The recording of a gateway's traffic: what came when, where it ran, and what the loaders said.

It has no bodies, and of applications and affinity keys only digests. It is text, one JSON object a
line, and the lines may stand in any order: recordings of several gateways can be put together. The
format is in `docs/replay.md`. Pure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar

from config.options import POLICIES
from lb.endpoints.report import ReportMode
from schemas.model.errors import LOADER_FULL, NO_INSTANCE

VERSION = 1
MAX_LINE = 64 * 1024
_REQUEST_LINE = (
    '{"kind": "request", "gateway": %s, "at": %.6f, "service": %s, "instance": %s, '
    '"called_at": %.6f, "call_s": %.6f, "waited_s": %.6f, "status": %d, "code": %d, '
    '"attempts": %d, '
    '"app": "%s", "key": "%s", "is_session": %s}'
)
# Codes of requests that got no slot, or none in time.
NO_SLOT_CODES = (LOADER_FULL.code, NO_INSTANCE.code)
# A recording is no longer than this, nor is a session in it.
_MAX_SPAN_S = 2 * 86_400.0


class InvalidRecordingError(Exception):
    """A line that is no part of a recording; `str()` names the line, the field and its cure."""


@dataclass(frozen=True, slots=True)
class RecordingStart:
    """A gateway that records: its policy, and how many requests may wait for how many seconds.

    A new instance comes to its full share in `ramp_s` seconds. Here as in the other lines, `at` is
    in seconds since 1970.
    """

    kind: ClassVar = "start"
    gateway: str
    at: float
    version: int
    policy: str
    wait_s: float
    max_waiting: int
    ramp_s: float


@dataclass(frozen=True, slots=True)
class RecordedInstance:
    """An instance as a gateway knew it. The fields are those of `lb.endpoints.report`.

    `state` is a value of `lb.endpoints.lifecycle.EndpointState`.
    """

    kind: ClassVar = "instance"
    gateway: str
    at: float
    service: str
    instance: str
    epoch: int
    report_mode: str
    total: int
    best: int
    max_batch: int
    state: str
    running: int
    queued: int
    service_ms: float
    served: int


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that has ended, and its latest call.

    It asked for a slot at `at` and waited `waited_s` seconds for one. The call to `instance` began
    at `called_at` and took `call_s` seconds. Without `attempts` there was none. `code` is that of
    its error, 0 for success.
    """

    kind: ClassVar = "request"
    gateway: str
    at: float
    service: str
    instance: str
    called_at: float
    call_s: float
    waited_s: float
    status: int
    code: int
    attempts: int
    app: str
    key: str
    is_session: bool

    def has_run(self) -> bool:
        """Return whether a loader took the request, successfully or not."""
        return self.attempts > 0 and self.code not in NO_SLOT_CODES


@dataclass(frozen=True, slots=True)
class RecordingEnd:
    """The end of the recording of a gateway; `lost` requests are not in it."""

    kind: ClassVar = "end"
    gateway: str
    at: float
    lost: int


RecordedLine = RecordingStart | RecordedInstance | RecordedRequest | RecordingEnd
_KINDS: Mapping[str, type[RecordedLine]] = {
    line.kind: line for line in (RecordingStart, RecordedInstance, RecordedRequest, RecordingEnd)
}
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "version": (VERSION, VERSION),
    "best": (1, 1_000_000),
    "total": (1, 1_000_000),
    "max_batch": (1, 1_000_000),
    "call_s": (0, _MAX_SPAN_S),
    "waited_s": (0, _MAX_SPAN_S),
}
_ANY_BOUNDS = (0, 1e11)
_CHOICES: Mapping[str, Sequence[str]] = {
    "policy": POLICIES,
    "report_mode": [*ReportMode.__members__],
}


@dataclass(slots=True)
class Recording:
    """What was recorded. Requests are in the order of their arrival, instances in that of time.

    `is_complete`: each gateway said how it ended. `lost` requests are missing.
    """

    starts: dict[str, RecordingStart] = field(default_factory=dict)
    instances: list[RecordedInstance] = field(default_factory=list)
    requests: list[RecordedRequest] = field(default_factory=list)
    ends: dict[str, RecordingEnd] = field(default_factory=dict)

    def is_complete(self) -> bool:
        """Return whether each gateway said how its recording ended."""
        return self.ends.keys() == self.starts.keys()

    def span(self) -> tuple[float, float]:
        """Return the times of the first and of the last line, in seconds since 1970."""
        times = [start.at for start in self.starts.values()]
        times += [end.at for end in self.ends.values()]
        times += [line.at for line in self.instances]
        times += [line.at for line in self.requests]
        return min(times), max(times)

    def lost(self) -> int:
        """Return how many requests the gateways could not record."""
        return sum(end.lost for end in self.ends.values())


def digest(text: str) -> str:
    """Return what stands for an application or an affinity key in a recording; "" for ""."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest() if text else ""


def encode_line(line: RecordedLine) -> str:
    """Return a line, without a newline."""
    return json.dumps({"kind": line.kind, **asdict(line)})


def encode_request(request: RecordedRequest) -> str:
    """Return the line of a request as `encode_line` does, five times as fast."""
    return _REQUEST_LINE % (
        encode_basestring_ascii(request.gateway),
        request.at,
        encode_basestring_ascii(request.service),
        encode_basestring_ascii(request.instance),
        request.called_at,
        request.call_s,
        request.waited_s,
        request.status,
        request.code,
        request.attempts,
        request.app,
        request.key,
        "true" if request.is_session else "false",
    )


def read_recording(lines: Iterable[str], name: str) -> Recording:
    """Return the recording of the lines of a file, which has the name `name` in errors.

    The last line may be cut, as the writer was. Raises InvalidRecordingError.
    """
    recording = Recording()
    for line in _decode_lines(lines, name):
        if isinstance(line, RecordingStart):
            if line.gateway in recording.starts:
                raise InvalidRecordingError(f"{name}: the gateway {line.gateway} begins twice")
            recording.starts[line.gateway] = line
        elif isinstance(line, RecordedInstance):
            recording.instances.append(line)
        elif isinstance(line, RecordedRequest):
            recording.requests.append(line)
        else:
            recording.ends[line.gateway] = line
    _check(recording, name)
    # Those that came before the start are in part alone.
    recording.requests = [r for r in recording.requests if r.at >= recording.starts[r.gateway].at]
    recording.requests.sort(key=lambda request: request.at)
    recording.instances.sort(key=lambda instance: instance.at)
    return recording


def merge_recordings(recordings: Iterable[Recording]) -> Recording:
    """Return the recordings of several gateways, of the same time, as one.

    Raises InvalidRecordingError if a gateway is in two of them: its requests would count twice; and
    if they are of different times.
    """
    merged = Recording()
    spans = []
    for recording in recordings:
        spans.append(recording.span())
        for gateway in sorted(merged.starts.keys() & recording.starts.keys()):
            raise InvalidRecordingError(f"the gateway {gateway} is in two of the recordings")
        merged.starts |= recording.starts
        merged.instances += recording.instances
        merged.requests += recording.requests
        merged.ends |= recording.ends
    if spans and max(start for start, _ in spans) > min(end for _, end in spans):
        raise InvalidRecordingError("the recordings are of different times: they do not overlap")
    merged.requests.sort(key=lambda request: request.at)
    merged.instances.sort(key=lambda instance: instance.at)
    return merged


def _decode_lines(lines: Iterable[str], name: str) -> Iterator[RecordedLine]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue  # a gateway without requests sends such a line, so that its reader waits on
        try:
            yield _decode_line(line)
        except InvalidRecordingError as error:
            if number > 1 and len(line) <= MAX_LINE and not line.endswith("\n"):
                return  # the last one, which was not written to its end
            raise InvalidRecordingError(f"{name}:{number}: {error}") from None


def _decode_line(line: str) -> RecordedLine:
    try:
        content = json.loads(line) if len(line) <= MAX_LINE else None
    except (ValueError, RecursionError):
        content = None
    kind = content.get("kind") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidRecordingError(
            "no line of a recording: a JSON object whose `kind` is start, instance, request or end"
            " (asectl record writes such files)"
        )
    line_class = _KINDS[kind]
    return line_class(**{f.name: _value(content, f.name, f.type) for f in fields(line_class)})


def _value(content: Mapping[str, Any], name: str, value_type: Any) -> Any:
    """Return a checked field of a line. Raises InvalidRecordingError."""
    if name not in content:
        raise InvalidRecordingError(f"{content['kind']}: `{name}` is missing")
    value = content[name]
    if value_type is float and type(value) is int and abs(value) <= _ANY_BOUNDS[1]:
        value = float(value)
    if type(value) is not value_type:
        expected = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}
        raise InvalidRecordingError(
            f"{content['kind']}: `{name}` must be {expected[value_type]}, not {value!r:.80}"
        )
    least, most = _BOUNDS.get(name, _ANY_BOUNDS)
    if isinstance(value, int | float) and name != "epoch" and not least <= value <= most:
        raise InvalidRecordingError(
            f"{content['kind']}: `{name}` must be in {least:g} to {most:g}, not {value!r:.80}"
        )
    if name in _CHOICES and value not in _CHOICES[name]:
        choices = ", ".join(_CHOICES[name])
        raise InvalidRecordingError(
            f"{content['kind']}: `{name}` must be one of {choices}, not {value!r:.80}"
        )
    return value


def _check(recording: Recording, name: str) -> None:
    """Raise InvalidRecordingError unless each line is of a gateway that says how it picks."""
    if not recording.starts:
        raise InvalidRecordingError(f"{name}: no line has the kind start: it is no recording")
    gateways = {line.gateway for line in recording.instances}
    gateways.update(line.gateway for line in recording.requests)
    for gateway in sorted(gateways - recording.starts.keys()):
        raise InvalidRecordingError(
            f"{name}: it has lines of the gateway {gateway!r}, and not its start"
        )
    first_at = min(start.at for start in recording.starts.values())
    if recording.span()[1] - first_at > _MAX_SPAN_S:
        raise InvalidRecordingError(
            f"{name}: its lines are of more than {_MAX_SPAN_S / 3600:g} hours; record less"
        )
