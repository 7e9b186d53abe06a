"""Calls to the members of an etcd cluster, by its v3 API: with TLS and a user, at one that answers.

https://etcd.io/docs/v3.5/learning/api/ and https://etcd.io/docs/v3.5/op-guide/authentication/
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from registry.store.interfaces import Entry, StoreCompactedError, StoreError
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.metadata import Metadata
from rpc.status import RpcError, Status
from schemas import wire

KV: Final = "/etcdserverpb.KV/"
_WATCH: Final = "/etcdserverpb.Watch/Watch"
_AUTHENTICATE: Final = "/etcdserverpb.Auth/Authenticate"
_MOD_REVISION, _LEASE_TARGET = 2, 4  # of Compare.target
# A member without a leader ends a watch, instead of being silent.
_NEEDS_LEADER: Final = (("hasleader", "true"),)
_CALL_TIMEOUT_S: Final = 2.0
_ATTEMPTS: Final = 2  # of a call at each member
_RETRY_DELAY_S: Final = 0.1
_CHECK_INTERVAL_S: Final = 1.0
_PAGE: Final = 500
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
# Statuses with which another member, or the same one later, may do it.
_TRANSIENT: Final = frozenset(
    {Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.UNKNOWN}
)
# What etcd says to a token that has ended, or that a change of its users made invalid.
_TOKEN_ENDED: Final = ("invalid auth token", "revision of auth store is old")
# What it says to a user that it does not know, or who may not do it.
_USER_REFUSED: Final = ("invalid user ID or password", "user name is empty", "permission denied")
_USER_CURE: Final = (
    "see registry.etcd_user and registry.etcd_password, and what its role may do "
    "(etcdctl role get ROLE)"
)
_CLUSTER_CURE: Final = "see that a majority of its members runs (etcdctl endpoint health --cluster)"


@dataclass(frozen=True, slots=True)
class EtcdServers:
    """The members of a cluster (host:port), and the credentials for them.

    `ca`, `cert` and `key` are PEM files; without `ca` there is no TLS, without `cert` no
    certificate of ours. Without `user` etcd asks for none.
    """

    members: tuple[str, ...]
    ca: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        """Return the members, with commas."""
        return ",".join(self.members)

    def open_channel(self, member: str) -> Channel:
        """Return a channel to a member. Raises StoreError for the files."""
        tls = None
        if self.ca:
            try:
                tls = ssl.create_default_context(cafile=self.ca)
                if self.cert:
                    tls.load_cert_chain(self.cert, self.key)
            except OSError as error:
                files = ", ".join(filter(None, (self.ca, self.cert, self.key)))
                raise StoreError(f"etcd: {files}: {error}") from error
        return Channel(
            member, frequent_keepalive=False, tls=tls, max_message_size=_MAX_MESSAGE_BYTES
        )


class EtcdCluster:
    """Calls to the members of a cluster: the next one is asked when one does not answer.

    `_token` is what a user's password was exchanged for; it ends after some minutes without a call.
    """

    def __init__(self, servers: EtcdServers) -> None:
        self._servers = servers
        self._members = servers.members
        self._token = ""
        self._channels: dict[str, Channel] = {}
        self._preferred = 0

    async def call(self, method: str, request: Message) -> tuple[bytes, bool]:
        """Return the response, and whether an attempt before it may have been done too.

        Raises StoreError if no member answers.
        """
        data = request.SerializeToString()
        may_have_run, reason = False, ""
        for _ in range(_ATTEMPTS * len(self._members)):
            channel = self.channel()
            try:
                response = await self._call_once(channel, method, data)
            except RpcError as error:
                reason = str(error)
                if self._is_token_ended(error):
                    self._token = ""
                    continue
                if error.status not in _TRANSIENT:
                    break
                may_have_run = may_have_run or error.may_have_run
                await self.give_up(channel)
                await asyncio.sleep(_RETRY_DELAY_S)
            else:
                return response, may_have_run
        is_refused = any(text in reason for text in _USER_REFUSED)
        cure = _USER_CURE if is_refused else _CLUSTER_CURE
        # An answer that was lost says nothing of whether the change was made.
        doubt = "; it may have been done nevertheless: look before you try again"
        raise StoreError(f"etcd {self._servers}: {reason}; {cure}{doubt if may_have_run else ''}")

    async def call_stream(self, method: str, request: Message) -> bytes:
        """Return the first response of a stream. Raises StoreError."""
        channel = self.channel()
        try:
            stream = channel.stream(
                method, timeout=_CALL_TIMEOUT_S, metadata=await self._metadata(channel)
            )
            async for data in stream_responses(stream, _requests(request.SerializeToString())):
                return data
        except RpcError as error:
            self._forget_token(error)
            await self.give_up(channel)
            raise StoreError(f"etcd: {error}") from error
        raise StoreError("etcd: the member has ended a stream")

    async def _call_once(self, channel: Channel, method: str, data: bytes) -> bytes:
        metadata = await self._metadata(channel)
        return await channel.unary(method, data, timeout=_CALL_TIMEOUT_S, metadata=metadata)

    async def _metadata(self, channel: Channel) -> Metadata:
        """Return the metadata of a call, with a token if there is a user. Raises RpcError."""
        if self._servers.user and not self._token:
            request = wire.EtcdAuthenticate(
                name=self._servers.user, password=self._servers.password
            )
            data = await channel.unary(
                _AUTHENTICATE, request.SerializeToString(), timeout=_CALL_TIMEOUT_S
            )
            self._token = wire.EtcdAuthenticateReply.FromString(data).token
        return (*_NEEDS_LEADER, ("token", self._token)) if self._token else _NEEDS_LEADER

    def _is_token_ended(self, error: RpcError) -> bool:
        return bool(self._token) and any(text in str(error) for text in _TOKEN_ENDED)

    def _forget_token(self, error: RpcError) -> None:
        if self._is_token_ended(error):
            self._token = ""

    def channel(self) -> Channel:
        """Return a channel to the member that answered last."""
        member = self._members[self._preferred % len(self._members)]
        if member not in self._channels:
            self._channels[member] = self._servers.open_channel(member)
        return self._channels[member]

    async def give_up(self, channel: Channel) -> None:
        """Close the channel to a member that does not answer: what watches there goes elsewhere.

        Several calls may find that at once; the next member is preferred once.
        """
        preferred = self._members[self._preferred % len(self._members)]
        if self._channels.get(preferred) is channel:
            self._preferred += 1
        self._channels = {m: c for m, c in self._channels.items() if c is not channel}
        await channel.close()

    async def _check(self, channel: Channel, key: bytes) -> None:
        """Give a channel up when its member does not answer any more.

        A member that stands still, or is cut off, says nothing of it on a watch.
        """
        request = wire.EtcdRange(key=key, limit=1).SerializeToString()
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            try:
                await self._call_once(channel, KV + "Range", request)
            except RpcError as error:
                self._forget_token(error)
                await self.give_up(channel)
                return

    async def read(self, prefix: str, after: str, limit: int) -> tuple[dict[str, Entry], int]:
        """Return the entries whose key begins with `prefix`, and the revision they are of."""
        start = after.encode() + b"\0" if after > prefix else prefix.encode()
        entries: dict[str, Entry] = {}
        revision = 0
        while True:
            size = min(limit - len(entries), _PAGE) if limit else _PAGE
            request = wire.EtcdRange(
                key=start, range_end=_end(prefix), limit=size, revision=revision
            )
            data, _ = await self.call(KV + "Range", request)
            reply = wire.EtcdRangeReply.FromString(data)
            revision = revision or reply.header.revision
            for pair in reply.kvs:
                entries[pair.key.decode()] = Entry(pair.value, pair.mod_revision)
            if not reply.more or (limit and len(entries) >= limit):
                return entries, revision
            start = reply.kvs[-1].key + b"\0"

    async def watch(self, prefix: str, after: int) -> AsyncIterator[wire.EtcdWatchReply]:
        """Yield what a watch of `prefix` says, from the revision after `after`.

        Raises StoreCompactedError, or StoreError when the member is lost.
        """
        create = wire.EtcdWatchCreate(
            key=prefix.encode(), range_end=_end(prefix), start_revision=after + 1
        )
        request = wire.EtcdWatch(create_request=create).SerializeToString()
        channel = self.channel()
        check = asyncio.ensure_future(self._check(channel, prefix.encode()))
        try:
            stream = channel.stream(_WATCH, metadata=await self._metadata(channel))
            async for data in stream_responses(stream, _requests(request)):
                reply = wire.EtcdWatchReply.FromString(data)
                if reply.compact_revision:
                    raise StoreCompactedError(reply.compact_revision)
                if reply.canceled:
                    self._token = ""  # if it was for that; it costs one call if not
                    raise StoreError(f"etcd: watch ended: {reply.cancel_reason}")
                yield reply
        except RpcError as error:
            self._forget_token(error)
            await self.give_up(channel)
            raise StoreError(f"etcd: watch lost: {error}") from error
        finally:
            check.cancel()
        await self.give_up(channel)
        raise StoreError("etcd: the member has ended a watch")

    async def put_absent(self, values: Mapping[str, bytes], lease: int = 0) -> bool:
        """Put values, if none of their keys is there; return whether. Raises StoreError."""
        request = wire.EtcdTransaction()
        for key, value in values.items():
            name = key.encode()
            request.compare.add(target=_MOD_REVISION, key=name, mod_revision=0)
            request.success.add(request_put=wire.EtcdPut(key=name, value=value, lease=lease))
        data, _ = await self.call(KV + "Txn", request)
        return wire.EtcdTransactionReply.FromString(data).succeeded

    async def has_lease(self, key: str, lease: int) -> bool:
        """Return whether a key is there with this lease. Raises StoreError."""
        request = wire.EtcdTransaction()
        request.compare.add(target=_LEASE_TARGET, key=key.encode(), lease=lease)
        data, _ = await self.call(KV + "Txn", request)
        return wire.EtcdTransactionReply.FromString(data).succeeded

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            await channel.close()


async def _requests(request: bytes) -> AsyncIterator[bytes]:
    """Yield one request, and leave the client's half open."""
    yield request
    await asyncio.Event().wait()


def _end(prefix: str) -> bytes:
    """Return the end of the range of all keys that begin with `prefix`, which is ASCII."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])
