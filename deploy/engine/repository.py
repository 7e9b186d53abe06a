"""The records of the deployments in a store, with a copy here that follows it."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Final

from deploy.workloads.records import (
    STATUS,
    WANTED,
    Deployment,
    DeploymentEntry,
    DeploymentStatus,
)
from registry.store.interfaces import (
    ChangeSet,
    ConflictError,
    Store,
    StoreCompactedError,
    StoreError,
    Transaction,
)

_logger = logging.getLogger("ase.deploy")

_RETRY_DELAY_S: Final = 0.2
_OWNER: Final = "deployer"


class DeploymentRepository:
    """Reads and writes the records. `problem` says why the store cannot be read, "" if it can.

    `owner` is a random name of the store: deployers that share it own the same versions.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: dict[str, DeploymentEntry] = {}
        self._revision = 0
        self._on_change: list[Callable[[str], None]] = []
        self._applied = asyncio.Event()
        self.problem = ""
        self.owner = ""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the id of each deployment whose wanted state has changed."""
        self._on_change.append(callback)

    def ids(self) -> list[str]:
        """Return the ids of all deployments, those that have ended too."""
        return sorted(self._entries)

    def get(self, deployment_id: str) -> DeploymentEntry:
        """Return the records of a deployment; an empty entry if there are none."""
        return self._entries.get(deployment_id, DeploymentEntry())

    def model_digests(self) -> set[str]:
        """Return the digests of the models of all specifications, the previous ones too."""
        deployments = [entry.wanted for entry in self._entries.values() if entry.wanted is not None]
        specs = [spec for each in deployments for spec in (each.spec, *each.previous)]
        return {spec.model_digest for spec in specs if spec.model_digest}

    async def load(self) -> None:
        """Read all records. Raises StoreError."""
        if not self.owner:
            self.owner = await self._read_owner()
        revision = await self._store.revision()
        records = {**await self._store.read(WANTED), **await self._store.read(STATUS)}
        self._entries = {}
        for key, entry in records.items():
            self._set(key, entry.value, entry.revision)
        self._revision = revision
        self._announce(self.ids())

    async def follow(self) -> None:
        """Apply the changes of the store, forever."""
        while True:
            try:
                async for change_set in self._store.watch(self._revision):
                    self._apply(change_set)
                    self.problem = ""
            except StoreCompactedError:
                await self._load_again()
            except StoreError as error:
                if not self.problem:
                    _logger.error("store lost", extra={"reason": str(error)})  # noqa: TRY400
                self.problem = str(error)
            await asyncio.sleep(_RETRY_DELAY_S)

    async def commit(self, transaction: Transaction) -> int:
        """Make changes and return their revision; the copy has them then.

        Raises ConflictError, StoreError.
        """
        revision = await self._store.commit(transaction)
        while self._revision < revision:
            await self._applied.wait()
        return revision

    async def _read_owner(self) -> str:
        """Return the name of the store; give it one if it has none. Raises StoreError."""
        while True:
            records = await self._store.read(_OWNER)
            if _OWNER in records:
                return records[_OWNER].value.decode()
            name = f"deployer-{secrets.token_hex(8)}".encode()
            with contextlib.suppress(ConflictError):
                await self._store.commit(Transaction({_OWNER: name}, expected={_OWNER: 0}))

    async def _load_again(self) -> None:
        try:
            await self.load()
        except StoreError as error:
            self.problem = str(error)

    def _apply(self, change_set: ChangeSet) -> None:
        if change_set.revision <= self._revision:
            return
        changed = {
            self._set(change.key, change.value, change_set.revision)
            for change in change_set.changes
            if change.key.startswith((WANTED, STATUS))
        }
        self._revision = change_set.revision
        self._announce(sorted(filter(None, changed)))

    def _set(self, key: str, value: bytes | None, revision: int) -> str:
        """Set a record of the copy; return the id if what is wanted has changed, else ""."""
        prefix, _, deployment_id = key.partition("/")
        entry = self._entries.setdefault(deployment_id, DeploymentEntry())
        if f"{prefix}/" == STATUS:
            entry.status = DeploymentStatus.from_bytes(value) if value else DeploymentStatus()
            entry.status_revision = revision if value else 0
        else:
            entry.wanted = Deployment.from_bytes(value) if value else None
            entry.wanted_revision = revision if value else 0
        if not entry.wanted_revision and not entry.status_revision:
            del self._entries[deployment_id]
        return "" if f"{prefix}/" == STATUS else deployment_id

    def _announce(self, changed: list[str]) -> None:
        applied, self._applied = self._applied, asyncio.Event()
        applied.set()
        for deployment_id in changed:
            for callback in self._on_change:
                callback(deployment_id)
