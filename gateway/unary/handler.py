"""The handling of one unary request, as a generator of steps. Pure: no I/O; the clock is passed in.

The generator yields what it needs: the body, a slot, a call to a loader; its answer comes last. A
`RequestDriver` does the I/O. It sends each result back, or throws an AseError into the generator.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from atom.interfaces import CallTarget
from atom.wire import read_units
from gateway.access.caller_head import CallerHead
from gateway.request import answer_store, checks, content_coding, json_body, resumption
from gateway.request.answer_store import AnswerKey
from gateway.request.event_stream import EventStreamRequest
from gateway.request.exchange import Exchange
from gateway.request.interfaces import Dependencies, PendingOperation, Slot
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse
from gateway.request.retry import may_retry, needs_retry_budget
from gateway.services.catalog import Contract
from schemas.model.errors import (
    BAD_MODE,
    DEADLINE,
    INTERNAL,
    LOADER_FULL,
    NO_INSTANCE,
    AseError,
)
from schemas.validation.validate import InvalidBodyError


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Step: receive the request body. The driver sends its bytes."""


@dataclass(frozen=True, slots=True)
class ReadBodyStart:
    """Step: receive the start of the body. The driver sends it: `BODY_START_BYTES`, or all of it.

    The next step is `ReadBody`, unless the start is enough to refuse the request.
    """


class CallLoader:
    """Step: call a loader. The driver sends the call when it has ended.

    `frame` is a serialised LoaderInput, `handle` is unique to each attempt, `timeout` is in
    seconds.
    """

    __slots__ = ("frame", "handle", "target", "timeout")

    def __init__(self, target: CallTarget, frame: bytes, handle: str, timeout: float) -> None:
        self.target = target
        self.frame = frame
        self.handle = handle
        self.timeout = timeout


class AcquireSlot:
    """Step: wait for a slot, because all instances are full. The driver sends the finished wait.

    The wait lasts at most `timeout` seconds. Applications (`app_id`) share slots. `at_front`: the
    request goes to the front of the queue, because an instance rejected it after it already had a
    slot.
    """

    __slots__ = ("affinity_key", "app_id", "at_front", "digest", "service_id", "timeout")

    def __init__(
        self,
        service_id: str,
        digest: str,
        affinity_key: str,
        app_id: str,
        timeout: float,
        *,
        at_front: bool,
    ) -> None:
        self.service_id = service_id
        self.digest = digest
        self.affinity_key = affinity_key
        self.app_id = app_id
        self.timeout = timeout
        self.at_front = at_front


class ValidatedRequest:
    """A validated request: its contract and its frame, a serialised LoaderInput.

    Requests with the same `affinity_key` go to few instances; "" means no affinity. `answer_key`
    is that of its answer if that is to be kept, and `fingerprint` stands for what it asks.
    """

    __slots__ = ("affinity_key", "answer_key", "contract", "fingerprint", "frame")

    def __init__(
        self,
        contract: Contract,
        frame: bytes,
        affinity_key: str,
        answer_key: AnswerKey | None,
        fingerprint: bytes,
    ) -> None:
        self.contract = contract
        self.frame = frame
        self.affinity_key = affinity_key
        self.answer_key = answer_key
        self.fingerprint = fingerprint


Step = ReadBody | ReadBodyStart | AcquireSlot | CallLoader | HttpResponse | EventStreamRequest
Steps = Generator[Step, Any, None]
READ_BODY: Final = ReadBody()
READ_BODY_START: Final = ReadBodyStart()
# The application id stands in the first member of most bodies.
BODY_START_BYTES: Final = 4096
_SHED_MESSAGE: Final = "every instance is full, and more requests wait than `lb.wait` has time for"


def serve_unary(
    service_id: str,
    head: CallerHead,
    raw_body: bytes | None,
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
) -> Steps:
    """Serve a unary request. The last step is its response, or a request for an event stream.

    `head` says who calls. `exchange` is the form of request and answer. `raw_body` is None while
    the body is still arriving: then the first step is `ReadBody`, unless the head alone is
    rejected. The response describes an error if there was one. `record` is filled in on the way.
    """
    headers, authenticator = head.headers, dependencies.authenticator
    if dependencies.tracer is not None:
        record.begin_trace(dependencies.tracer)
    try:
        identity = record.identity = authenticator.identify(head)
        contract = checks.find_contract(dependencies.catalog, service_id, record)
        identity.check_service(contract.service.id)
        record.admission = dependencies.limiter.admit(identity, contract.service.id)
        exchange.check_head(contract, headers)
        max_body = record.admission.max_body(dependencies.options.max_body)
        checks.check_length(headers, max_body)
        if raw_body is None:
            raw_body = yield from _read_body(contract, headers, record, dependencies, exchange)
        checks.check_body_size(raw_body, max_body)
        _shed_overload(contract, headers, raw_body, record, dependencies, exchange)
        record.body_received_at = dependencies.clock()
        authenticator.check_body(identity, head, raw_body)
        request = _validate_request(contract, raw_body, headers, record, dependencies, exchange)
        if record.trace is not None:
            record.trace.add("validate", record.body_received_at, dependencies.clock())
        answer: HttpResponse | EventStreamRequest
        if isinstance(request, EventStreamRequest):
            answer = request
        else:
            try:
                answer = yield from _answer(request, record, dependencies, exchange)
            except AseError as error:
                if error.spec is not BAD_MODE or not exchange.accepts_events(headers):
                    raise
                # The wrapper only streams, and nothing ran: the client takes its events too.
                request = _validate_request(
                    contract, raw_body, headers, record, dependencies, exchange, only_streams=True
                )
                if not isinstance(request, EventStreamRequest):
                    raise
                answer = request
    except AseError as error:
        answer = exchange.fail(error, record, dependencies.clock())
    except Exception as exception:  # noqa: BLE001 (it is logged, with its traceback)
        dependencies.on_internal_error(record.sid, exception)
        answer = exchange.fail(AseError(INTERNAL), record, dependencies.clock())
    yield answer  # a step too: StopIteration would cost more than the parsing of the body


def _read_body(
    contract: Contract,
    headers: Mapping[bytes, bytes],
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
) -> Generator[ReadBody | ReadBodyStart, bytes, bytes]:
    """Return the body. While requests wait for a slot, shed the request by its start if possible.

    So a request that cannot be served costs neither its parsing nor, if it is large, its transfer.
    """
    if dependencies.picker.is_crowded(contract.service.id):
        if record.identity.app_id:
            _shed_overload(contract, headers, b"", record, dependencies, exchange)
        start = yield READ_BODY_START
        _shed_overload(contract, headers, start, record, dependencies, exchange)
    return (yield READ_BODY)


def _shed_overload(
    contract: Contract,
    headers: Mapping[bytes, bytes],
    body_start: bytes,
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
) -> None:
    """Raise AseError 10110 if all instances are full and the request would wait in vain.

    A request whose application is not known yet is not shed while others may wait.
    """
    picker, service_id = dependencies.picker, contract.service.id
    if dependencies.slot_timeout > 0.0 and not picker.is_crowded(service_id):
        return
    app_id = exchange.peek_app_id(headers, body_start, record.identity, dependencies.options)
    timeout = min(dependencies.slot_timeout, contract.deadline)
    if picker.must_shed(service_id, contract.digest, app_id, timeout):
        raise AseError(LOADER_FULL, _SHED_MESSAGE)


def _validate_request(
    contract: Contract,
    raw_body: bytes,
    headers: Mapping[bytes, bytes],
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
    *,
    only_streams: bool = False,
) -> ValidatedRequest | EventStreamRequest:
    """Parse and validate a body; encode it for the contract that serves it.

    If the client requests an event stream, the envelope is returned as it is: the session of the
    stream validates and encodes it. So it is if the service `only_streams`, unless the client
    refuses events.
    """
    options = dependencies.options
    coding = headers.get(b"content-encoding")
    if coding is not None and content_coding.is_gzip(coding):
        raw_body = content_coding.gunzip(raw_body, options.max_gzip_body)
    parsed = exchange.parse(contract, raw_body, headers, record.identity, options)
    envelope, ascii_only, json_text = parsed.envelope, parsed.ascii_only, parsed.json_text
    record.app_id = parsed.app_id
    requested_contract = contract
    contract, gateway_headers = checks.resolve_contract(
        contract, envelope, record, dependencies.catalog
    )
    checks.admit_sub_service(requested_contract, contract, record, dependencies.limiter)
    if parsed.has_line_breaks:
        checks.join_base64_lines(envelope, contract.service)
    wants_events = exchange.wants_events(contract, envelope, headers, only_streams)
    if contract.validator.max_values < options.max_nodes:
        json_body.check_node_count(json_text, contract.validator.max_values)
    if contract.affinity_path:
        record.affinity_key = checks.affinity_key(envelope, contract.affinity_path)
    affinity_key = record.affinity_key
    if wants_events:
        return EventStreamRequest(
            contract,
            envelope,
            gateway_headers,
            affinity_key,
            ascii_only,
            record,
            exchange,
            resumption.received_results(headers, is_idempotent=contract.service.idempotent),
        )
    answer_key = None
    if contract.service.idempotent:
        answer_key = answer_store.find_key(headers, contract.service.id, parsed.app_id)
    try:
        violations = contract.validator.validate_and_transform(envelope, ascii_only)
        if violations:
            raise InvalidBodyError(violations)
        frame = contract.encoder.encode(envelope, gateway_headers)
        fingerprint = b""
        if answer_key is not None:  # the frame without what the gateway adds to each request
            hasher = blake2b(contract.encoder.encode(envelope, {}))
            hasher.update(exchange.answer_form().encode())
            fingerprint = hasher.digest()
    except AseError as error:
        raise exchange.explain(contract, error) from None
    return ValidatedRequest(contract, frame, affinity_key, answer_key, fingerprint)


def _answer(
    request: ValidatedRequest,
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
) -> Generator[AcquireSlot | CallLoader, Any, HttpResponse]:
    """Call an instance and return the answer; one that is kept is returned without a call."""
    key, answers = request.answer_key, dependencies.answers
    if key is None:
        outputs = yield from _call_with_retries(request, record, dependencies, exchange)
        return exchange.finish(outputs, record, dependencies.clock())
    kept_answer = answers.begin(key, request.fingerprint, dependencies.clock())
    if kept_answer is not None:
        record.finish(kept_answer.status, 0, dependencies.clock())
        return kept_answer
    is_complete = False
    try:
        outputs = yield from _call_with_retries(request, record, dependencies, exchange)
        response = exchange.finish(outputs, record, dependencies.clock())
        answers.complete(key, response, dependencies.clock())
        is_complete = True
    finally:
        if not is_complete:
            answers.abandon(key)
    return response


def _call_with_retries(
    request: ValidatedRequest,
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
) -> Generator[AcquireSlot | CallLoader, Any, Any]:
    """Call an instance and return its decoded output; retry once at another instance.

    `may_retry` decides whether a call is retried, and a retry after a failure needs the retry
    budget. If no other instance has a slot, the error of the previous attempt is raised.
    """
    contract = request.contract
    tried_addresses: tuple[str, ...] = ()
    previous_error: AseError | None = None
    now = dependencies.clock()
    wait_deadline = min(
        now + dependencies.slot_timeout, record.body_received_at + contract.deadline
    )
    while True:
        try:
            slot = _acquire_slot(
                request, tried_addresses, previous_error, wait_deadline, record, dependencies
            )
            if isinstance(slot, AcquireSlot):
                slot = yield from _wait_for_slot(slot, record, dependencies)
                now = dependencies.clock()
        except AseError as error:
            is_unavailable = error.spec is NO_INSTANCE or error.spec is LOADER_FULL
            raise (
                previous_error if is_unavailable and previous_error is not None else error
            ) from None
        if previous_error is not None:
            record.retry_reasons += (previous_error.spec.name,)
        if now - record.body_received_at >= contract.deadline:
            slot.release_unused()
            raise _deadline_error(contract)
        try:
            return (yield from _call(request, slot, now, record, dependencies, exchange))
        except AseError as error:
            now = dependencies.clock()
            record.attempt_finished(now)
            record.note_attempt(error.spec.name, *slot.pick_figures())
            tried_addresses += (record.instance,)
            retry_allowed = may_retry(
                error,
                len(tried_addresses),
                is_idempotent=contract.service.idempotent,
                can_wait=now < wait_deadline,
            )
            if not retry_allowed or (
                needs_retry_budget(error) and not dependencies.picker.try_acquire_retry()
            ):
                raise _deadline_error(contract) if error.spec is DEADLINE else error
            previous_error = error


def _call(
    request: ValidatedRequest,
    slot: Slot,
    now: float,
    record: RequestRecord,
    dependencies: Dependencies,
    exchange: Exchange,
) -> Generator[CallLoader, Any, Any]:
    """Call the instance of a slot and return its decoded output; the slot is released."""
    with slot as held_slot:
        call = yield _start_attempt(request, held_slot.instance, now, record, dependencies)
        now = dependencies.clock()
        record.attempt_finished(now)
        output = call.outcome()
        record.bytes_in, record.bytes_out = len(request.frame), len(output)
        if units := read_units(output):
            record.add_units(units)
        outputs = exchange.decode(request.contract, output)
        if record.trace is not None:
            record.trace.add("decode", now, dependencies.clock())
        if now - record.accepted_at >= dependencies.options.slow:
            record.note_attempt("", *held_slot.pick_figures())
        return outputs


def _deadline_error(contract: Contract) -> AseError:
    """Return the error of a request that took too long: how long it may take, and who says so."""
    option = f"`services.{contract.service.id}.deadline`"
    origin = f"{option}, `deadline` of the Wrapper or its schema, or `gateway.deadline`"
    return AseError(DEADLINE, f"no answer within {contract.deadline:g} s: {origin}")


def _acquire_slot(
    request: ValidatedRequest,
    tried_addresses: tuple[str, ...],
    previous_error: AseError | None,
    wait_deadline: float,
    record: RequestRecord,
    dependencies: Dependencies,
) -> Slot | AcquireSlot:
    """Return a slot, or the step that waits for one if all instances are full."""
    service_id, digest = request.contract.service.id, request.contract.digest
    trace = record.trace
    started = dependencies.clock() if trace is not None else 0.0
    try:
        return dependencies.picker.acquire(
            service_id, digest, tried_addresses, request.affinity_key
        )
    except AseError as error:
        now = dependencies.clock()
        was_refused = previous_error is not None and previous_error.spec is LOADER_FULL
        if wait_deadline <= now or not (error.spec is LOADER_FULL or was_refused):
            raise
    finally:
        if trace is not None:
            trace.add("pick", started, dependencies.clock())
    return AcquireSlot(
        service_id,
        digest,
        request.affinity_key,
        record.app_id,
        wait_deadline - now,
        at_front=was_refused,
    )


def _wait_for_slot(
    step: AcquireSlot, record: RequestRecord, dependencies: Dependencies
) -> Generator[AcquireSlot, PendingOperation[Slot], Slot]:
    """Return the slot that a request waits for, and note how long it waited."""
    started = dependencies.clock()
    pending = yield step
    waited_until = dependencies.clock()
    record.waited_s += waited_until - started
    if record.trace is not None:
        record.trace.add("wait", started, waited_until)
    return pending.outcome()


def _start_attempt(
    request: ValidatedRequest,
    instance: CallTarget,
    now: float,
    record: RequestRecord,
    dependencies: Dependencies,
) -> CallLoader:
    record.attempt_started(instance.addr, now)
    timeout = request.contract.deadline - (now - record.body_received_at)
    handle = record.sid if not record.retry_reasons else dependencies.new_id()
    return CallLoader(instance, request.frame, handle, timeout)
