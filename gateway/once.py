"""One request, one answer: the whole path on one page, without I/O. Pure.

It yields what it needs, first its body, then calls to loaders, and is sent what came of each; or
an AseError is thrown into it. Whoever drives it does the I/O (`gateway/course.py`).
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import body, identity
from gateway.answers import Answer, failure, success
from gateway.contracts import Contract
from gateway.parts import Parts
from gateway.record import Record
from schemas import category
from schemas.errors import (
    BAD_REQUEST,
    DEADLINE,
    INTERNAL,
    LOST,
    NO_SERVICE,
    NO_SUB_SERVICE,
    AseError,
)

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Body:
    """The request's body is needed: bytes are to be sent in."""


@dataclass(slots=True)
class Attempt:
    """A call is needed: the output of the instance is to be sent in, or its AseError thrown.

    `frame` is a serialised LoaderInput, `handle` fresh for each attempt, `timeout` in seconds.
    """

    target: Any
    frame: bytes
    handle: str
    timeout: float


Steps = Generator[Body | Attempt, Any, Answer]
BODY = Body()


def serve_once(
    service_id: str, headers: Mapping[bytes, bytes], record: Record, parts: Parts
) -> Steps:
    """Return the answer to a request, whatever befalls it; `record` tells what did.

    `headers` have lower-case names.
    """
    try:
        payload = yield from _once(service_id, headers, record, parts)
        return success(payload, record, parts.clock())
    except AseError as error:
        return failure(error, record, parts.clock())
    except Exception as error:  # noqa: BLE001 (it is told, with its traceback)
        parts.on_fault(record.sid, error)
        return failure(AseError(INTERNAL), record, parts.clock())


def _once(
    service_id: str, headers: Mapping[bytes, bytes], record: Record, parts: Parts
) -> Generator[Body | Attempt, Any, bytes]:
    options = parts.options
    contract = _found(service_id, record, parts)
    identity.check_content(headers)
    identity.check_length(headers, options.max_body)
    text = yield BODY
    record.received = parts.clock()
    told = body.parse(text, max_depth=options.max_depth, max_nodes=options.max_nodes)
    identity.check_app_id(told, headers, options.consumer_header)
    contract, routed = _sub_service(contract, told, record, parts)
    violations = contract.validator.violations(told)
    if violations:
        listed = "; ".join(map(str, violations))
        raise AseError(BAD_REQUEST, f"parameter schema validate error: {listed}")
    facts = {
        **routed,
        "sid": record.sid,
        "client_ip": record.client,
        "service_id": contract.service.id,
        "route": record.path,
    }
    frame = contract.encoder.encode(told, facts)
    output = yield from _called(contract, frame, record, parts)
    return contract.decoder.decode(output)


def _found(service_id: str, record: Record, parts: Parts) -> Contract:
    contract = parts.catalog.find(service_id)
    if contract is None:
        raise AseError(NO_SERVICE, "no such service")
    record.service, record.code_map = contract.service.id, contract.service.code_map
    return contract


def _sub_service(
    contract: Contract, told: Mapping[str, Any], record: Record, parts: Parts
) -> tuple[Contract, dict[str, str]]:
    """Return the contract that serves the request: of a category, the chosen sub service's."""
    if not contract.service.sub_routes:
        return contract, {}
    way = category.choose(contract.service, told)
    if way is None:
        raise AseError(NO_SUB_SERVICE, "no category route fits")
    chosen = parts.catalog.find(way.service_id)
    if chosen is None:
        raise AseError(NO_SUB_SERVICE, f"sub service not found: {way.service_id}")
    record.service, record.code_map = chosen.service.id, chosen.service.code_map
    return chosen, {"route_param": way.route_key, "routekey": way.route_key}


def _called(
    contract: Contract, frame: bytes, record: Record, parts: Parts
) -> Generator[Attempt, Any, Any]:
    """Call an instance, and one other where nothing ran (or where the service is idempotent)."""
    tried: list[str] = []
    first: AseError | None = None
    while True:
        try:
            place = parts.pick(contract, tried)
        except AseError as error:
            raise first or error from None
        if first is not None:
            record.retried.append(first.fault.name)
        try:
            return (yield from _attempt(contract, place, frame, record, parts))
        except AseError as error:
            again = error.fault.retry or (contract.service.idempotent and error.fault is LOST)
            tried.append(record.instance)
            if not again or len(tried) == _ATTEMPTS:
                raise
            first = error


def _attempt(
    contract: Contract, place: Any, frame: bytes, record: Record, parts: Parts
) -> Generator[Attempt, Any, Any]:
    with place as held:
        record.instance = held.instance.addr
        record.attempts += 1
        began = parts.clock()
        left = contract.deadline - (began - record.received)
        if left <= 0:
            raise AseError(DEADLINE)
        try:
            return (yield Attempt(held.instance, frame, parts.new_id(), left))
        finally:
            record.upstream += parts.clock() - began
