"""The registry: decides commands, and tells those that follow it what has changed.

All that is durable is in the store, and who is connected is in `presence`; both may be shared by
several registries. This one keeps a copy of the records, which follows the store.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from registry import commands
from registry.access import Actor
from registry.commands import Author
from registry.errors import Refusal, RegistryError
from registry.feedback import Consumer
from registry.names import ServiceVersion
from registry.records import MAX_FILE_BYTES, FileKind, FileRef, content_digest
from registry.state import RegistryState
from registry.store.interfaces import (
    ChangeSet,
    ConflictError,
    Entry,
    Store,
    StoreCompactedError,
    StoreError,
    Transaction,
)
from rpc.bounded_cache import BoundedCache

_logger = logging.getLogger("ase.registry")

_MAX_ATTEMPTS: Final = 20  # to commit, each from a newer state
_RETRY_DELAY_S: Final = 0.2
_MAX_CACHED_CONTENTS: Final = 200
_STORE_ID: Final = "store-id"  # where a content's digest stands: no digest is that
_APPLY_TIMEOUT_S: Final = 10.0

Decide = Callable[[RegistryState, Author], Transaction]
# Returns what a file is and what is wrong with it, by its name and content.
InspectFile = Callable[[str, bytes], tuple[FileKind, str, list[str]]]


class Registry:
    """The registry in one process.

    `inspect_file` validates a file: it returns its kind, its content type and its faults. `clock`
    returns the Unix time. `store_id` tells a store from one that was made anew. `_on_change` are
    called with the versions whose publications changed.
    `_applied` is set, and replaced, by each change of the state.
    """

    def __init__(self, store: Store, inspect_file: InspectFile, clock: Callable[[], float]) -> None:
        self.state = RegistryState()
        self.store_problem = ""
        self.store_id = ""
        self._store = store
        self._inspect_file = inspect_file
        self._clock = clock
        self._contents: BoundedCache[str, bytes] = BoundedCache(_MAX_CACHED_CONTENTS)
        self._reading: dict[str, asyncio.Future[bytes]] = {}
        self._on_change: list[Callable[[set[ServiceVersion]], None]] = []
        self._applied = asyncio.Event()

    def on_change(self, callback: Callable[[set[ServiceVersion]], None]) -> None:
        """Have `callback` called after each change, with the versions that are published anew."""
        self._on_change.append(callback)

    async def load(self) -> None:
        """Read all records. Raises StoreError."""
        self.store_id = await self._read_store_id()
        # The revision first: what is committed meanwhile is then read twice, and not missed.
        revision = await self._store.revision()
        records: dict[str, Entry] = {}
        for prefix in commands.STATE_PREFIXES:
            records |= await self._store.read(prefix)
        self.state = RegistryState.load(records, revision)
        self._announce({name for name, _ in self.state.publications()})

    async def follow_store(self) -> None:
        """Apply the changes of the store, forever."""
        while True:
            try:
                async for change_set in self._store.watch(self.state.revision):
                    self._apply(change_set)
                    self.store_problem = ""
            except StoreCompactedError:
                _logger.warning("changes missed; all records are read again")
                await self._reload()
            except StoreError as error:
                if not self.store_problem:
                    fields = {"reason": str(error)}
                    _logger.error("store lost; the last state is served", extra=fields)  # noqa: TRY400
                self.store_problem = str(error)
            await asyncio.sleep(_RETRY_DELAY_S)

    async def execute(self, actor: Actor, decide: Decide) -> int:
        """Make one change and return its revision; the state has it then.

        `decide` is called again when somebody else was faster. Raises RegistryError.
        """
        for _ in range(_MAX_ATTEMPTS):
            nonce = secrets.token_hex(4)
            author = Author(actor.name, self._clock(), nonce, actor.identity)
            revision = self.state.revision
            transaction = decide(self.state, author)
            try:
                committed = await self._store.commit(transaction)
            except ConflictError:
                await self._wait_applied(revision + 1, _RETRY_DELAY_S)
                continue
            except StoreError as error:
                raise RegistryError(Refusal.UNAVAILABLE, str(error)) from error
            await self._wait_applied(committed, _APPLY_TIMEOUT_S)
            return committed
        raise RegistryError(Refusal.CONFLICT, "others change it all the time", "try again")

    async def upload(self, file_name: str, content: bytes) -> FileRef:
        """Keep the content of a file, if it is valid, and return the reference to it.

        Raises RegistryError TOO_LARGE, INVALID or UNAVAILABLE.
        """
        if len(content) > MAX_FILE_BYTES:
            limit = f"{MAX_FILE_BYTES // 1024} KiB are allowed"
            raise RegistryError(
                Refusal.TOO_LARGE, f"{file_name}: {len(content) // 1024} KiB; {limit}"
            )
        kind, content_type, faults = await asyncio.to_thread(self._inspect_file, file_name, content)
        if faults:
            raise RegistryError(Refusal.INVALID, "\n".join(faults))
        digest = content_digest(content)
        try:
            await self._store.put_content(digest, content)
        except StoreError as error:
            raise RegistryError(Refusal.UNAVAILABLE, str(error)) from error
        self._contents.add(digest, content)  # it is published soon, to many
        return FileRef(digest, len(content), content_type, kind)

    async def content(self, digest: str) -> bytes:
        """Return a content. Raises RegistryError NOT_FOUND or UNAVAILABLE."""
        content = self._contents.entries.get(digest)
        if content is not None:
            return content
        # Many ask for a content at once, when it was published: it is read once.
        reading = self._reading.get(digest)
        if reading is None:
            reading = self._reading[digest] = asyncio.ensure_future(self._read_content(digest))
            reading.add_done_callback(lambda _: self._reading.pop(digest, None))
        return await asyncio.shield(reading)

    async def _read_content(self, digest: str) -> bytes:
        try:
            content = await self._store.get_content(digest)
        except StoreError as error:
            raise RegistryError(Refusal.UNAVAILABLE, str(error)) from error
        if content is None:
            raise RegistryError(Refusal.NOT_FOUND, f"no content {digest[:80]}")
        self._contents.add(digest, content)
        return content

    async def audit(self, after: str, limit: int) -> Mapping[str, Entry]:
        """Return audit entries in the order of time, after the key `after`."""
        try:
            return await self._store.read(commands.AUDIT_PREFIX, after=after, limit=limit)
        except StoreError as error:
            raise RegistryError(Refusal.UNAVAILABLE, str(error)) from error

    def changes(self, after: int) -> AsyncIterator[ChangeSet]:
        """Yield every transaction after a revision; raises as `Store.watch`."""
        return self._store.watch(after)

    async def _read_store_id(self) -> str:
        """Return what tells this store from every other one; make it at the first start."""
        identity = await self._store.get_content(_STORE_ID)
        if identity is None:
            await self._store.put_content(_STORE_ID, secrets.token_hex(16).encode())
            identity = await self._store.get_content(_STORE_ID)
        return (identity or b"").decode()

    async def _reload(self) -> None:
        try:
            await self.load()
        except StoreError as error:
            self.store_problem = str(error)

    def _apply(self, change_set: ChangeSet) -> None:
        if change_set.revision <= self.state.revision:
            return
        changes = ((change.key, change.value) for change in change_set.changes)
        self._announce(self.state.apply(changes, change_set.revision))

    def _announce(self, changed: set[ServiceVersion]) -> None:
        applied, self._applied = self._applied, asyncio.Event()
        applied.set()
        for callback in self._on_change:
            callback(changed)

    async def _wait_applied(self, revision: int, timeout_s: float) -> None:
        """Wait until the state has a revision, `timeout_s` seconds at most."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.state.revision < revision:
                    await self._applied.wait()
        except TimeoutError:
            pass


def consumers_of(entries: Mapping[str, bytes]) -> list[Consumer]:
    """Return the consumers among the entries of `Presence`."""
    prefix = "consumer/"
    return [Consumer.from_bytes(value) for key, value in entries.items() if key.startswith(prefix)]
