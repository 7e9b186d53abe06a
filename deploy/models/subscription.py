"""Takes over the applications and models of another deployer, as it publishes them.

What is taken over is marked with where it came from; what is this deployer's own is never changed.
Files are pulled later, by the deployments that need them (`deploy/models/puller.py`).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import httpx

from deploy.engine.commands import DeploymentConflictError, DeploymentNotFoundError
from deploy.engine.events import EventBus
from deploy.engine.leadership import Leadership
from deploy.event_stream import StreamedEvent, read_events
from deploy.openapi import PREFIX
from deploy.positions.catalog import PositionCatalog
from deploy.positions.records import Application, Model, model_key
from deploy.workloads.members import InvalidMemberError
from deploy.workloads.spec import InvalidSpecError
from registry.store.interfaces import Store, StoreError, Transaction

_logger = logging.getLogger("ase.deploy")

LAST_EVENT: Final = "model-subscription"
_RETRY_DELAY_S: Final = 1.0
_MAX_RETRY_DELAY_S: Final = 30.0
_SILENCE_S: Final = 45.0  # three keep-alives
_REFUSALS: Final = (
    DeploymentConflictError,
    DeploymentNotFoundError,
    InvalidMemberError,
    InvalidSpecError,
)


class ModelSubscription:
    """Follows the deployer at `url` while this one leads; `key` is its API key there, "" for none.

    `applications` are those that are taken over, all if it is empty. `_listed` are the keys of the
    records of a snapshot that is being received, None without one. `problem` says why the other
    deployer cannot be followed, "" if it can.
    """

    def __init__(
        self,
        url: str,
        key: str,
        applications: list[str],
        store: Store,
        catalog: PositionCatalog,
        bus: EventBus,
        leadership: Leadership,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._applications = applications
        self._store = store
        self._catalog = catalog
        self._bus = bus
        self._leadership = leadership
        self._listed: set[str] | None = None
        self.problem = ""

    async def run(self) -> None:
        """Follow the other deployer, forever."""
        delay = _RETRY_DELAY_S
        while True:
            if self._leadership.is_leader:
                try:
                    await self._follow()
                    delay = _RETRY_DELAY_S
                except (httpx.HTTPError, StoreError, ValueError) as error:
                    self._note_problem(str(error) or type(error).__name__)
                    delay = min(delay * 2, _MAX_RETRY_DELAY_S)
                except Exception:
                    _logger.exception("subscription failed by a fault of ours; it goes on")
            await asyncio.sleep(delay)

    async def _follow(self) -> None:
        """Take over what is published, until the stream ends or another deployer leads."""
        self._listed = None
        last = await self._store.get(LAST_EVENT)
        number, _, url = (last.value.decode() if last is not None else "").partition(" ")
        headers = {**self._headers, "accept": "text/event-stream"}
        if url == self._url:
            headers["last-event-id"] = number
        query = {"application": ",".join(self._applications)} if self._applications else None
        timeout = httpx.Timeout(_SILENCE_S, connect=10.0)
        async with (
            httpx.AsyncClient(timeout=timeout) as client,
            client.stream(
                "GET", f"{self._url}{PREFIX}/subscriptions/events", params=query, headers=headers
            ) as response,
        ):
            if response.status_code != httpx.codes.OK:
                body = (await response.aread())[:300].decode("utf-8", "replace")
                raise ValueError(f"HTTP {response.status_code}: {body}")
            if self.problem:
                _logger.info("models followed again", extra={"deployer": self._url})
            self.problem = ""
            async for event in read_events(response.aiter_lines()):
                if not self._leadership.is_leader:
                    return
                await self.apply(event)

    async def apply(self, event: StreamedEvent) -> None:
        """Take over one event; what cannot be taken is logged. Raises StoreError."""
        try:
            await self._take(event.name, event.data)
        except _REFUSALS as error:
            fields = {"event": event.name, "deployer": self._url, "reason": str(error)}
            _logger.warning("not taken over", extra=fields)
        if event.number:
            text = f"{event.number} {self._url}".encode()
            guard = self._leadership.guard()
            await self._store.commit(Transaction({LAST_EVENT: text}, expected=guard))

    async def _take(self, verb: str, data: Mapping[str, Any]) -> None:
        now = self._catalog.now()
        match verb:
            case "snapshot_begin":
                self._listed = set()
            case "snapshot_end":
                await self._remove_unlisted()
            case "application_add" | "application_update":
                application = Application.read(data.get("application"), now)
                self._list(application.key)
                await self._catalog.take_over(application, self._url)
            case "model_add" | "model_update":
                model = Model.read(data.get("model"), now)
                self._list(model.key)
                await self._catalog.take_over(model, self._url)
                self._bus.publish("model.added", model.id, application=model.application)
            case "application_delete":
                await self._remove(f"{Application.kind}/{data.get('application')}")
            case "model_delete":
                application_name, model_id = str(data.get("application")), str(data.get("model"))
                await self._remove(model_key(application_name, model_id))
                self._bus.publish("model.deleted", model_id, application=application_name)

    def _list(self, key: str) -> None:
        if self._listed is not None:
            self._listed.add(key)

    async def _remove(self, key: str) -> None:
        """Remove what was taken over; what positions need stays, and what is our own."""
        record, _ = await self._catalog.get(key)
        if record.origin == self._url:
            await self._catalog.remove(key)

    async def _remove_unlisted(self) -> None:
        """Remove what a snapshot has not: it was deleted while nobody listened."""
        listed, self._listed = self._listed or set(), None
        models: list[Model] = await self._catalog.records(Model.kind)
        applications: list[Application] = await self._catalog.records(Application.kind)
        records: list[Model | Application] = [*models, *applications]
        for record in records:
            if record.origin == self._url and record.key not in listed:
                try:
                    await self._remove(record.key)
                except _REFUSALS as error:
                    fields = {"record": record.key, "deployer": self._url, "reason": str(error)}
                    _logger.warning("deleted there, and kept here", extra=fields)

    def _note_problem(self, problem: str) -> None:
        if not self.problem:
            fields = {"deployer": self._url, "reason": problem}
            _logger.warning("models not followed; trying on", extra=fields)
        self.problem = problem
