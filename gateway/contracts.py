"""Which contract each service has: the operator's file, else what most live capacity speaks. Pure.

A contract is a schema made ready. Exactly one is active per service, and switching is one
assignment, so that no request ever meets two (DESIGN 3, "Schemas reach the gateway").
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from atom.decode import Decoder
from atom.encode import Encoder
from config.options import ServiceOptions
from gateway.routes import Routes
from schemas import document
from schemas.judge import RequestValidator
from schemas.service import Service

MAX_SERVICES = 1000


@dataclass(frozen=True, slots=True)
class Contract:
    """A service ready to be served.

    `source` is "file" or "report"; `deadline` in seconds. `affinity`: where in a request its key
    stands.
    """

    service: Service
    digest: str
    text: bytes
    source: str
    deadline: float
    affinity: tuple[str, ...]
    judge: RequestValidator
    encoder: Encoder
    decoder: Decoder


@dataclass(frozen=True, slots=True)
class Switch:
    """A service got another contract; `before` is empty for its first, `after` for none."""

    service: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """The licences of the live instances of a service that speak one digest."""

    service: str
    digest: str
    total: int


def build(
    text: bytes, source: str, services: Mapping[str, ServiceOptions], default: float
) -> Contract:
    """Make a canonical schema document ready to serve.

    `services` is what the operator says of single ones. The deadline is the operator's, else the
    schema's, else `default` (seconds). Raises DocumentError.
    """
    service = document.service_from_document(document.parse(text))
    told = services.get(service.id, ServiceOptions())
    return Contract(
        service=service,
        digest=document.digest(text),
        text=text,
        source=source,
        deadline=told.deadline or service.deadline or default,
        affinity=tuple(told.affinity.split(".")) if told.affinity else (),
        judge=RequestValidator(service.input),
        encoder=Encoder(service),
        decoder=Decoder(service),
    )


class Catalog:
    """The active contract of every service.

    `files` are the operator's contracts: they have authority. `services` and `default` as in
    `build`.
    """

    def __init__(
        self, files: Iterable[Contract], services: Mapping[str, ServiceOptions], default: float
    ) -> None:
        self._active = {contract.service.id: contract for contract in files}
        self._services = dict(services)
        self._default = default
        self._built: dict[str, Contract] = {c.digest: c for c in self._active.values()}
        self._routes: Routes | None = None

    def __iter__(self) -> Iterator[Contract]:
        return iter(sorted(self._active.values(), key=lambda contract: contract.service.id))

    def routes(self) -> Routes:
        """Return the routes of the services that are active now."""
        if self._routes is None:
            self._routes = Routes(contract.service for contract in self)
        return self._routes

    def find(self, service_id: str) -> Contract | None:
        """Return the active contract of a service, or None."""
        return self._active.get(service_id)

    def renew(
        self, files: Iterable[Contract], services: Mapping[str, ServiceOptions], default: float
    ) -> list[Switch]:
        """Let other files stand in the place of the operator's; return what that changed.

        What loaders brought of services without a file stays, under the new options.
        """
        active = {contract.service.id: contract for contract in files}
        same = dict(services) == self._services and default == self._default
        for service, old in self._active.items():
            if service not in active and old.source == "report":
                active[service] = old if same else build(old.text, "report", services, default)
        before, self._active, self._routes = self._active, active, None
        self._services, self._default = dict(services), default
        self._built = {contract.digest: contract for contract in active.values()}
        digests = [{k: v.digest for k, v in each.items()} for each in (before, active)]
        return [
            Switch(service, digests[0].get(service, ""), digests[1].get(service, ""))
            for service in sorted({*before, *active})
            if digests[0].get(service) != digests[1].get(service)
        ]

    def settle(
        self, capacities: Iterable[Capacity], documents: Mapping[str, bytes]
    ) -> list[Switch]:
        """Make the digest of most live capacity the active one, for every service without a file.

        Between equals the one that is active stays. A service whose instances all left keeps its
        contract: its requests are answered "no live instance", not "no such service".
        """
        best: dict[str, Capacity] = {}
        for told in sorted(capacities, key=lambda told: told.digest):
            if told.digest not in documents:
                continue
            rival = best.get(told.service)
            if rival is None or self._weight(told) > self._weight(rival):
                best[told.service] = told
        return [
            switch
            for told in best.values()
            if (switch := self._switch(told, documents[told.digest])) is not None
        ]

    def _weight(self, told: Capacity) -> tuple[int, bool]:
        active = self._active.get(told.service)
        return (told.total, active is not None and active.digest == told.digest)

    def _switch(self, told: Capacity, text: bytes) -> Switch | None:
        active = self._active.get(told.service)
        if active is not None and (active.source == "file" or active.digest == told.digest):
            return None
        if active is None and len(self._active) >= MAX_SERVICES:
            return None
        contract = self._built.get(told.digest)
        if contract is None:
            contract = build(text, "report", self._services, self._default)
        # Only what may become active again is kept: the old one and the new one.
        if active is not None:
            self._built = {c.digest: c for c in [*self._active.values(), active]}
        self._built[told.digest] = contract
        self._active[told.service] = contract
        self._routes = None
        return Switch(told.service, active.digest if active else "", told.digest)
