"""One request, one answer: the whole path on one page, without I/O. Pure.

It yields what it needs, its body, a place, a call to a loader, and is sent each when it is there;
or an AseError is thrown into it. Whoever drives it does the I/O (`gateway/course.py`).
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway import body, events, identity
from gateway.answers import Answer, failure, success
from gateway.contracts import Contract
from gateway.events import Told
from gateway.parts import Parts
from gateway.record import Record
from schemas import category
from schemas.errors import (
    DEADLINE,
    INTERNAL,
    LOADER_FULL,
    LOADER_LOST,
    NO_INSTANCE,
    NO_SERVICE,
    NO_SUB_SERVICE,
    AseError,
)
from schemas.explain import invalid_body_error

_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class Body:
    """The request's body is needed: bytes are to be sent in."""


class Attempt:
    """A call is needed: it is to be sent in when it has ended; or what ends the request is thrown.

    `frame` is a serialised LoaderInput, `handle` fresh for each attempt, `timeout` in seconds.
    """

    __slots__ = ("frame", "handle", "target", "timeout")

    def __init__(self, target: Any, frame: bytes, handle: str, timeout: float) -> None:
        self.target = target
        self.frame = frame
        self.handle = handle
        self.timeout = timeout


class Turn:
    """A place is needed, and there is none yet: the wait for it is to be sent in when it is over.

    It may last so many seconds. `ahead`: it had its turn, and an instance refused it.
    """

    __slots__ = ("ahead", "digest", "key", "seconds", "service")

    def __init__(self, service: str, digest: str, key: str, seconds: float, *, ahead: bool) -> None:
        self.service = service
        self.digest = digest
        self.key = key
        self.seconds = seconds
        self.ahead = ahead


class Asked:
    """What is asked: of which contract, in which frame; `key` keeps it with its like, or is ""."""

    __slots__ = ("contract", "frame", "key")

    def __init__(self, contract: Contract, frame: bytes, key: str) -> None:
        self.contract = contract
        self.frame = frame
        self.key = key


Steps = Generator[Body | Turn | Attempt | Told, Any, Answer]
BODY: Final = Body()


def serve_once(
    service_id: str, headers: Mapping[bytes, bytes], record: Record, parts: Parts
) -> Steps:
    """Return the answer to a request, whatever befalls it; `record` tells what did.

    `headers` have lower-case names.
    """
    try:
        contract = _found(service_id, record, parts)
        identity.check_content(headers)
        identity.check_length(headers, parts.options.max_body)
        text = yield BODY
        record.received = parts.clock()
        asked = _asked(contract, text, headers, record, parts)
        if isinstance(asked, Told):
            yield asked  # it goes on there, and comes back only with what it fails with at once
            raise AseError(INTERNAL)
        payload = yield from _called(asked, record, parts)
        return success(payload, record, parts.clock())
    except AseError as error:
        return failure(error, record, parts.clock())
    except Exception as fault:  # noqa: BLE001 (it is told, with its traceback)
        parts.on_fault(record.sid, fault)
        return failure(AseError(INTERNAL), record, parts.clock())


def _found(service_id: str, record: Record, parts: Parts) -> Contract:
    contract = parts.catalog.find(service_id)
    if contract is None:
        raise AseError(NO_SERVICE, "no such service")
    record.service, record.code_map = contract.service.id, contract.service.code_map
    return contract


def _asked(
    contract: Contract, text: bytes, headers: Mapping[bytes, bytes], record: Record, parts: Parts
) -> Asked | Told:
    """Return what a body asks, of the contract that serves it: an answer, or events."""
    options = parts.options
    told = body.parse(text, options.max_depth, options.max_nodes)
    identity.check_app_id(told, headers, options.consumer_header)
    contract, facts = served(contract, told, record, parts)
    streams = events.take_flag(told, contract.service) or events.wanted(headers)
    if contract.judge.max_values < options.max_nodes:
        body.count(text, contract.judge.max_values)
    key = identity.key(told, contract.affinity) if contract.affinity else ""
    if streams:
        return Told(contract, told, facts, key, body.is_ascii(text), record)
    violations = contract.judge.validate_and_transform(told, body.is_ascii(text))
    if violations:
        raise invalid_body_error(violations)
    return Asked(contract, contract.encoder.encode(told, facts), key)


def served(
    contract: Contract, told: Mapping[str, Any], record: Record, parts: Parts
) -> tuple[Contract, dict[str, str]]:
    """Return the contract that serves an envelope, and what the gateway tells its loader.

    Of a category that is the sub service which the envelope's values choose. Raises AseError 10404.
    """
    routed: dict[str, str] = {}
    if contract.service.sub_routes:
        contract, routed = _sub_service(contract, told, record, parts)
    return contract, {
        **routed,
        "sid": record.sid,
        "client_ip": record.client,
        "service_id": contract.service.id,
        "route": record.path,
    }


def _sub_service(
    contract: Contract, told: Mapping[str, Any], record: Record, parts: Parts
) -> tuple[Contract, dict[str, str]]:
    way = category.choose_sub_service(contract.service, told)
    if way is None:
        raise AseError(NO_SUB_SERVICE, "no category route fits")
    chosen = parts.catalog.find(way.service_id)
    if chosen is None:
        raise AseError(NO_SUB_SERVICE, f"sub service not found: {way.service_id}")
    record.service, record.code_map = chosen.service.id, chosen.service.code_map
    return chosen, {"route_param": way.route_key, "routekey": way.route_key}


def _called(asked: Asked, record: Record, parts: Parts) -> Generator[Turn | Attempt, Any, Any]:
    """Call an instance, and one other where nothing ran (or where the service is idempotent).

    Where all are full it waits for its turn; being refused by one that seemed to have room is part
    of the wait.
    """
    contract = asked.contract
    tried: tuple[str, ...] = ()
    first: AseError | None = None
    until = min(parts.clock() + parts.patience, record.received + contract.deadline)
    while True:
        try:
            place = yield from _placed(asked, tried, first, until, record, parts)
        except AseError as error:
            told = error.spec is NO_INSTANCE or error.spec is LOADER_FULL
            raise (first if told and first is not None else error) from None
        if first is not None:
            record.retried += (first.spec.name,)
        if parts.clock() - record.received >= contract.deadline:
            place.unused()
            raise AseError(DEADLINE)
        try:
            with place as held:
                call = yield _attempt(asked, held.instance, record, parts)
                record.over(parts.clock())
                return contract.decoder.decode(call.outcome())
        except AseError as error:
            again = error.spec.retryable or (
                contract.service.idempotent and error.spec is LOADER_LOST
            )
            tried += (record.instance,)
            waits = error.spec is LOADER_FULL and parts.clock() < until
            if not again or not (waits or len(tried) < _ATTEMPTS) or not parts.picker.may_retry():
                raise
            first = error


def _placed(
    asked: Asked,
    tried: tuple[str, ...],
    first: AseError | None,
    until: float,
    record: Record,
    parts: Parts,
) -> Generator[Turn, Any, Any]:
    """Return a place, after a wait where every instance holds all it takes."""
    service, digest = asked.contract.service.id, asked.contract.digest
    try:
        return parts.picker.acquire(service, digest, tried, asked.key)
    except AseError as error:
        now = parts.clock()
        refused = first is not None and first.spec is LOADER_FULL
        if until <= now or not (error.spec is LOADER_FULL or refused):
            raise
    wait = yield Turn(service, digest, asked.key, until - now, ahead=refused)
    record.waited += parts.clock() - now
    return wait.outcome()


def _attempt(asked: Asked, instance: Any, record: Record, parts: Parts) -> Attempt:
    now = parts.clock()
    record.began(instance.addr, now)
    left = asked.contract.deadline - (now - record.received)
    handle = record.sid if not record.retried else parts.new_id()
    return Attempt(instance, asked.frame, handle, left)
