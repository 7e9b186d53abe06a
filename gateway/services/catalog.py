"""The catalog: the active contract of each service. Pure.

A contract is a compiled schema document. The operator's schema files have priority. For a service
without a file, the schema of the most instances is active. Exactly one contract is active per
service. It is replaced in one assignment, so that no request uses two (docs/architecture.md).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atom.decode import Decoder
from atom.encode import Encoder
from config.options import ServiceOptions
from gateway.plain.envelope import EnvelopeBuilder
from gateway.plain.heads import PlainHeads
from gateway.services.routes import Routes
from schemas.model import document, request_header
from schemas.model.errors import NO_INSTANCE, NO_SERVICE, AseError
from schemas.model.plain import PlainApi
from schemas.model.service import Service
from schemas.validation.request_validator import RequestValidator

MAX_SERVICES = 1000


@dataclass(frozen=True, slots=True)
class PlainContract:
    """The plain form of a service, the builder of its envelopes, and what heads decide."""

    api: PlainApi
    builder: EnvelopeBuilder
    heads: PlainHeads


@dataclass(frozen=True, slots=True)
class Contract:
    """A schema document, compiled to serve requests.

    `digest` is the sha256 of the canonical `schema_document`, in hex. `source` is "file" or
    "report". `deadline` is in seconds. `affinity_path` are the members that lead from a request's
    root to its affinity key; empty: no affinity. `get_events`: GET is answered with events.
    `default_status` are the members that the header of an envelope over POST gets if it lacks them.
    """

    service: Service
    digest: str
    schema_document: bytes
    source: str
    deadline: float
    affinity_path: tuple[str, ...]
    get_events: bool
    default_status: Mapping[str, Any]
    validator: RequestValidator
    encoder: Encoder
    decoder: Decoder
    plain: PlainContract


@dataclass(frozen=True, slots=True)
class ContractChange:
    """A change of the active contract of a service.

    `old_digest` is empty if the service had no contract, `new_digest` if it has none any more.
    """

    service: str
    old_digest: str
    new_digest: str


@dataclass(frozen=True, slots=True)
class SchemaUse:
    """How many live instances of a service have the schema `digest`.

    `answering` of these `instances` are known to answer. Their slots do not count: an instance can
    claim any number of them.
    """

    service: str
    digest: str
    instances: int
    answering: int


def build_contract(
    schema_document: bytes,
    source: str,
    services: Mapping[str, ServiceOptions],
    default_deadline: float,
) -> Contract:
    """Compile a canonical schema document into a contract.

    `services` are the operator's options by service id. The deadline is the operator's, else that
    of the schema, else `default_deadline` (seconds). Raises DocumentError.
    """
    service = document.service_from_document(document.parse(schema_document))
    service_options = services.get(service.id, ServiceOptions())
    plain_api = PlainApi(service)
    return Contract(
        service=service,
        digest=document.digest(schema_document),
        schema_document=schema_document,
        source=source,
        deadline=service_options.deadline or service.deadline or default_deadline,
        affinity_path=tuple(service_options.affinity.split("."))
        if service_options.affinity
        else (),
        get_events=service_options.get_events,
        default_status=request_header.default_status(service),
        validator=RequestValidator(service.input),
        encoder=Encoder(service),
        decoder=Decoder(service),
        plain=PlainContract(plain_api, EnvelopeBuilder(service, plain_api), PlainHeads(plain_api)),
    )


class Catalog:
    """The active contract of every service; iterates over them in the order of service ids.

    `files` are the contracts of the operator's schema files; reports cannot replace them.
    `services` and `default_deadline` are as in `build_contract`. `remembered` are contracts of
    loaders from before the start; they count as such.

    `_active` maps service ids to active contracts. `_by_digest` has the active contracts by digest,
    and of the service that changed last also the previous one: if loaders switch back, it is not
    compiled again. `_routes` is built from `_active` at first use; None after a change.
    """

    def __init__(
        self,
        files: Iterable[Contract],
        services: Mapping[str, ServiceOptions],
        default_deadline: float,
        remembered: Iterable[Contract] = (),
    ) -> None:
        self._active = {contract.service.id: contract for contract in (*remembered, *files)}
        self._is_complete: Callable[[], bool] = lambda: True
        self._services = dict(services)
        self._default_deadline = default_deadline
        self._by_digest: dict[str, Contract] = {c.digest: c for c in self._active.values()}
        self._routes: Routes | None = None

    def __iter__(self) -> Iterator[Contract]:
        return iter(sorted(self._active.values(), key=lambda contract: contract.service.id))

    def routes(self) -> Routes:
        """Return the routes of the active services."""
        if self._routes is None:
            self._routes = Routes(contract.service for contract in self)
        return self._routes

    def find(self, service_id: str) -> Contract | None:
        """Return the active contract of a service, or None."""
        return self._active.get(service_id)

    def require(self, service_id: str) -> Contract:
        """Return the active contract of a service.

        Raises AseError 10225 if there is no such service, 20002 if that cannot be known yet.
        """
        contract = self._active.get(service_id)
        if contract is not None:
            return contract
        if self._is_complete():
            raise AseError(NO_SERVICE, "no such service")
        raise AseError(NO_INSTANCE, "no such service is known yet: no hub could be reached")

    def set_completeness(self, is_complete: Callable[[], bool]) -> None:
        """Ask `is_complete`, for an unknown service, whether all services are known."""
        self._is_complete = is_complete

    def reload(
        self,
        files: Iterable[Contract],
        services: Mapping[str, ServiceOptions],
        default_deadline: float,
    ) -> list[ContractChange]:
        """Replace the operator's contracts by those in `files` and return the changes.

        A contract from reports stays active if its service has none in `files`. It is compiled
        again if the options have changed. A change of options alone is no ContractChange.
        """
        active = {contract.service.id: contract for contract in files}
        options_unchanged = (
            dict(services) == self._services and default_deadline == self._default_deadline
        )
        for service_id, old in self._active.items():
            if service_id not in active and old.source == "report":
                active[service_id] = (
                    old
                    if options_unchanged
                    else build_contract(old.schema_document, "report", services, default_deadline)
                )
        previous, self._active, self._routes = self._active, active, None
        self._services, self._default_deadline = dict(services), default_deadline
        self._by_digest = {contract.digest: contract for contract in active.values()}
        digests = [{k: v.digest for k, v in contracts.items()} for contracts in (previous, active)]
        return [
            ContractChange(
                service_id, digests[0].get(service_id, ""), digests[1].get(service_id, "")
            )
            for service_id in sorted({*previous, *active})
            if digests[0].get(service_id) != digests[1].get(service_id)
        ]

    def reconcile(
        self, uses: Iterable[SchemaUse], documents: Mapping[str, bytes]
    ) -> list[ContractChange]:
        """Activate the schema of the most instances, for each service without a file.

        Another schema replaces the active one only if more instances that are known to answer have
        it than live instances have the active one. `documents` has the schema documents by digest;
        a schema without a document is ignored. A service without instances keeps its contract, so
        that its requests fail with "no live instance", not with "no such service". A new service is
        ignored if MAX_SERVICES are active. Returns the changes. Raises DocumentError if a document
        is invalid; changes made before it stay.
        """
        best: dict[str, SchemaUse] = {}
        for use in sorted(uses, key=lambda use: use.digest):
            if use.digest not in documents:
                continue
            current_best = best.get(use.service)
            if current_best is None or self._rank(use) > self._rank(current_best):
                best[use.service] = use
        return [
            change
            for use in best.values()
            if (change := self._activate(use, documents[use.digest])) is not None
        ]

    def _rank(self, use: SchemaUse) -> tuple[int, bool, int]:
        """Return the sort key of a schema: the instances that count, then whether it is active."""
        active = self._active.get(use.service)
        is_active = active is not None and active.digest == use.digest
        return (use.instances if is_active else use.answering, is_active, use.instances)

    def _activate(self, use: SchemaUse, schema_document: bytes) -> ContractChange | None:
        """Make a schema active; return None if it is already, or may not be."""
        active = self._active.get(use.service)
        if active is not None and (active.source == "file" or active.digest == use.digest):
            return None
        if active is None and len(self._active) >= MAX_SERVICES:
            return None
        contract = self._by_digest.get(use.digest)
        if contract is None:
            contract = build_contract(
                schema_document, "report", self._services, self._default_deadline
            )
        # Bounded: one contract per service, and the old one of the service that changes now.
        if active is not None:
            self._by_digest = {c.digest: c for c in [*self._active.values(), active]}
        self._by_digest[use.digest] = contract
        self._active[use.service] = contract
        self._routes = None
        return ContractChange(use.service, active.digest if active else "", use.digest)
