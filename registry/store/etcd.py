"""The records of the registry in an etcd cluster, for registries that run several times.

By etcd's v3 API (https://etcd.io/docs/v3.5/learning/api/): a transaction compares revisions, a
watch resumes from one, and a lease ends the presence of a registry that has died.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from registry.store.etcd_cluster import KV, EtcdCluster, EtcdServers
from registry.store.interfaces import (
    ChangeSet,
    ConflictError,
    Entry,
    RecordChange,
    StoreCompactedError,
    StoreError,
    Transaction,
)
from schemas import wire

_logger = logging.getLogger("ase.registry")

_LEASE: Final = "/etcdserverpb.Lease/"
_MOD_REVISION, _LEASE_TARGET = 2, 4  # of Compare.target
_DELETE: Final = 1  # of Event.type


class EtcdStore:
    """A `Store` in etcd. Several registries may use the same keys."""

    def __init__(self, servers: EtcdServers, prefix: str) -> None:
        """Use the keys that begin with `prefix`."""
        self._cluster = EtcdCluster(servers)
        self._records = f"{prefix}records/"
        self._contents = f"{prefix}contents/"

    async def open(self) -> None:
        """Check that the cluster answers. Raises StoreError."""
        await self.revision()

    async def read(self, prefix: str, *, after: str = "", limit: int = 0) -> dict[str, Entry]:
        """Return records; see `Store`."""
        start = self._records + after if after else ""
        entries, _ = await self._cluster.read(self._records + prefix, start, limit)
        return {key.removeprefix(self._records): entry for key, entry in entries.items()}

    async def get(self, key: str) -> Entry | None:
        """Return one record; see `Store`."""
        return await self._get(self._records + key)

    async def put_content(self, digest: str, content: bytes) -> None:
        """Keep a content; see `Store`."""
        await self._cluster.put_absent({self._contents + digest: content})

    async def get_content(self, digest: str) -> bytes | None:
        """Return a content; see `Store`."""
        entry = await self._get(self._contents + digest)
        return entry.value if entry is not None else None

    async def revision(self) -> int:
        """Return the revision of the cluster."""
        request = wire.EtcdRange(key=self._records.encode(), limit=1)
        data, _ = await self._cluster.call(KV + "Range", request)
        return wire.EtcdRangeReply.FromString(data).header.revision

    async def commit(self, transaction: Transaction) -> int:
        """Make the changes; see `Store`.

        An answer may be lost although the changes were made. The next attempt then fails by their
        own revisions; whether they are ours is seen by a key that was new.
        """
        request = wire.EtcdTransaction()
        for key, revision in transaction.expected.items():
            request.compare.add(
                target=_MOD_REVISION, key=(self._records + key).encode(), mod_revision=revision
            )
        for key, value in transaction.puts.items():
            put = wire.EtcdPut(key=(self._records + key).encode(), value=value)
            request.success.add(request_put=put)
        for key in sorted(transaction.deletes):
            delete = wire.EtcdDelete(key=(self._records + key).encode())
            request.success.add(request_delete_range=delete)
        data, may_have_run = await self._cluster.call(KV + "Txn", request)
        reply = wire.EtcdTransactionReply.FromString(data)
        if reply.succeeded:
            return reply.header.revision
        if may_have_run:
            for key, revision in transaction.expected.items():
                if revision == 0 and key in transaction.puts:
                    entry = await self.get(key)
                    if entry is not None and entry.value == transaction.puts[key]:
                        return entry.revision
        raise ConflictError(", ".join(transaction.expected))

    async def watch(self, after: int) -> AsyncIterator[ChangeSet]:
        """Yield later transactions; see `Store`."""
        async for reply in self._cluster.watch(self._records, after):
            changes: dict[int, list[RecordChange]] = {}
            for event in reply.events:
                pair = event.kv
                key = pair.key.decode().removeprefix(self._records)
                value = None if event.type == _DELETE else pair.value
                changes.setdefault(pair.mod_revision, []).append(RecordChange(key, value))
            for revision, items in sorted(changes.items()):
                yield ChangeSet(revision, tuple(items))

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()

    async def _get(self, key: str) -> Entry | None:
        data, _ = await self._cluster.call(KV + "Range", wire.EtcdRange(key=key.encode()))
        pairs = wire.EtcdRangeReply.FromString(data).kvs
        return Entry(pairs[0].value, pairs[0].mod_revision) if pairs else None


class EtcdPresence:
    """A `Presence` in etcd: the entries of a registry have its lease.

    `_own` are the entries of this registry; they are written again under a new lease if the last
    one has ended, as after a partition. `_is_complete` is False until that has succeeded.
    """

    def __init__(self, servers: EtcdServers, prefix: str, lease_s: int = 10) -> None:
        """Use keys of `prefix`; the entries of a dead registry end after `lease_s` seconds."""
        self._cluster = EtcdCluster(servers)
        self._prefix = f"{prefix}presence/"
        self._lease_s = lease_s
        self._lease = 0
        self._own: dict[str, bytes] = {}
        self._granting = asyncio.Lock()
        self._is_complete = True
        self._keep_alive: asyncio.Task[None] | None = None

    async def put(self, entries: Mapping[str, bytes | None]) -> None:
        """Set or remove entries; see `Presence`."""
        for key, value in entries.items():
            if value is None:
                self._own.pop(key, None)
            else:
                self._own[key] = value
        async with self._granting:  # two leases would be granted, and one of them kept alive
            if not self._lease:
                await self._grant()
        await self._write(entries)

    async def read(self) -> Mapping[str, bytes]:
        """Return all entries; see `Presence`."""
        entries, _ = await self._cluster.read(self._prefix, "", 0)
        return {key.removeprefix(self._prefix): e.value for key, e in entries.items()}

    async def watch(self) -> AsyncIterator[Mapping[str, bytes | None]]:
        """Yield all entries, then what changes; see `Presence`."""
        entries, revision = await self._cluster.read(self._prefix, "", 0)
        yield {key.removeprefix(self._prefix): e.value for key, e in entries.items()}
        try:
            async for reply in self._cluster.watch(self._prefix, revision):
                if reply.events:
                    yield {
                        event.kv.key.decode().removeprefix(self._prefix): (
                            None if event.type == _DELETE else event.kv.value
                        )
                        for event in reply.events
                    }
        except StoreCompactedError as error:
            raise StoreError(f"etcd: {error}") from error

    async def close(self) -> None:
        """End the lease, and the entries of this registry with it."""
        if self._keep_alive is not None:
            self._keep_alive.cancel()
            await asyncio.gather(self._keep_alive, return_exceptions=True)
        if self._lease:
            with contextlib.suppress(StoreError):
                await self._cluster.call(
                    _LEASE + "LeaseRevoke", wire.EtcdLeaseRevoke(ID=self._lease)
                )
        await self._cluster.close()

    async def _grant(self) -> None:
        data, _ = await self._cluster.call(
            _LEASE + "LeaseGrant", wire.EtcdLeaseGrant(TTL=self._lease_s)
        )
        self._lease = wire.EtcdLeaseGrantReply.FromString(data).ID
        if self._keep_alive is None:
            self._keep_alive = asyncio.ensure_future(self._renew())

    async def _write(self, entries: Mapping[str, bytes | None]) -> None:
        """Write entries, in transactions that etcd takes. Raises StoreError."""
        for key, value in entries.items():
            if value is None:
                await self._delete((self._prefix + key).encode())
        for batch in _batches(entries):
            request = wire.EtcdTransaction()
            for key, value in batch.items():
                name = (self._prefix + key).encode()
                put = wire.EtcdPut(key=name, value=value, lease=self._lease)
                request.success.add(request_put=put)
            await self._cluster.call(KV + "Txn", request)

    async def _write_again(self) -> None:
        """Write the own entries under a new lease. Raises StoreError.

        Those that another registry has by now, because they moved there while this one was away,
        are not ours any more.
        """
        for batch in _batches(dict(self._own)):
            if await self._put_absent(batch):
                continue
            for key, value in batch.items():
                is_ours = await self._put_absent({key: value}) or await self._cluster.has_lease(
                    self._prefix + key, self._lease
                )
                if not is_ours and self._own.get(key) == value:
                    del self._own[key]

    async def _put_absent(self, entries: Mapping[str, bytes]) -> bool:
        values = {self._prefix + key: value for key, value in entries.items()}
        return await self._cluster.put_absent(values, self._lease)

    async def _delete(self, name: bytes) -> None:
        """Delete an entry, if it is still ours: another registry may have it by now."""
        request = wire.EtcdTransaction()
        request.compare.add(target=_LEASE_TARGET, key=name, lease=self._lease)
        request.success.add(request_delete_range=wire.EtcdDelete(key=name))
        await self._cluster.call(KV + "Txn", request)

    async def _renew(self) -> None:
        """Renew the lease forever; write the own entries again when it has ended."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                if not await self._renew_once():
                    self._is_complete = False
                    await self._grant()
                if not self._is_complete:
                    await self._write_again()
                    self._is_complete = True
            except StoreError as error:
                _logger.warning("lease not renewed; trying on", extra={"reason": str(error)})

    async def _renew_once(self) -> bool:
        """Renew the lease; return whether it lives. Raises StoreError."""
        request = wire.EtcdLeaseKeepAlive(ID=self._lease)
        data = await self._cluster.call_stream(_LEASE + "LeaseKeepAlive", request)
        return wire.EtcdLeaseKeepAliveReply.FromString(data).TTL > 0


# Of a transaction; etcd takes 128, and 1.5 MiB.
_MAX_OPERATIONS: Final = 100
_MAX_TRANSACTION_BYTES: Final = 512 * 1024


def _batches(entries: Mapping[str, bytes | None]) -> Iterator[dict[str, bytes]]:
    """Yield the entries that have a value, in parts that one transaction takes."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, value in entries.items():
        if value is None:
            continue
        if batch and (len(batch) >= _MAX_OPERATIONS or size + len(value) > _MAX_TRANSACTION_BYTES):
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(value) + len(key)
    if batch:
        yield batch
