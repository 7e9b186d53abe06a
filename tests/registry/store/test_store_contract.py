"""What every store does: the same tests for SQLite and for a real etcd."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.registry.etcd_server import start_etcd
from registry.store.etcd import EtcdPresence, EtcdStore
from registry.store.etcd_cluster import EtcdCluster, EtcdServers
from registry.store.interfaces import (
    ChangeSet,
    ConflictError,
    Presence,
    Store,
    StoreCompactedError,
    StoreError,
    Transaction,
)
from registry.store.memory_presence import MemoryPresence
from registry.store.sqlite import SqliteStore
from schemas import wire
from tests.certificates import make_certificate

_PREFIXES = itertools.count()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_etcd(tmp_path_factory.mktemp("etcd")) as members:
        yield members[0].address


@pytest.fixture(scope="module")
def secure_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServers]:
    """An etcd that asks for a certificate and a user; the user may write below `/test-`."""
    folder = tmp_path_factory.mktemp("secure")
    make_certificate(folder, "ca")
    make_certificate(folder, "member", "ca")
    make_certificate(folder, "client", "ca")
    flags = (
        "--cert-file", f"{folder}/member.pem", "--key-file", f"{folder}/member.key",
        "--trusted-ca-file", f"{folder}/ca.pem", "--client-cert-auth",
    )  # fmt: skip
    with start_etcd(folder, tls_flags=flags) as members:
        files = (f"{folder}/ca.pem", f"{folder}/client.pem", f"{folder}/client.key")
        servers = EtcdServers((members[0].address,), *files, user="ase", password="secret")
        asyncio.run(create_user(replace(servers, user="", password="")))
        yield servers


async def create_user(servers: EtcdServers) -> None:
    cluster = EtcdCluster(servers)

    async def call(method: str, **fields: str | bytes) -> None:
        # EtcdPut has the fields of each of these requests: two texts or messages.
        await cluster.call(f"/etcdserverpb.Auth/{method}", wire.EtcdPut(**fields))

    for user, role in (("root", "root"), ("ase", "writer")):
        await call("UserAdd", key=user.encode(), value=b"secret")
        await call("RoleAdd", key=role.encode())
        await call("UserGrantRole", key=user.encode(), value=role.encode())
    # A Permission: READWRITE, from a key on, to another.
    permission = b"\x08\x02\x12\x06/test-\x1a\x06/test."
    await call("RoleGrantPermission", key=b"writer", value=permission)
    await call("AuthEnable")
    await cluster.close()


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("etcd", marks=pytest.mark.peer("etcd")),
        pytest.param("secure_etcd", marks=pytest.mark.peer("etcd")),
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param != "sqlite":
        request.getfixturevalue(request.param)
    return str(request.param)


def etcd_servers(*members: str) -> EtcdServers:
    return EtcdServers(members)


@asynccontextmanager
async def open_store(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Store, Presence]]:
    store: Store
    presence: Presence
    if kind == "sqlite":
        sqlite = SqliteStore(tmp_path / "registry.sqlite")
        assert await sqlite.open() == ""
        store, presence = sqlite, MemoryPresence()
    else:
        running, prefix = request.getfixturevalue(kind), f"/test-{next(_PREFIXES)}/"
        servers = running if kind == "secure_etcd" else etcd_servers(running)
        etcd_store = EtcdStore(servers, prefix)
        await etcd_store.open()
        store, presence = etcd_store, EtcdPresence(servers, prefix)
    try:
        yield store, presence
    finally:
        await presence.close()
        await store.close()


def put(expected: dict[str, int] | None = None, **values: str) -> Transaction:
    return Transaction({k: v.encode() for k, v in values.items()}, expected=expected or {})


async def take(changes: AsyncIterator[ChangeSet], count: int) -> list[ChangeSet]:
    async with asyncio.timeout(30):
        return [await anext(changes) for _ in range(count)]


def test_records_are_read_by_prefix_in_order(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (store, _):
            start = await store.revision()
            values = {"a/2": b"two", "a/1": b"", "a/10": b"ten", "b/1": b"b", "a": b"plain"}
            revision = await store.commit(Transaction(values))
            assert revision > start
            assert await store.revision() == revision
            entries = await store.read("a/")
            assert [(k, e.value) for k, e in entries.items()] == [
                ("a/1", b""),
                ("a/10", b"ten"),
                ("a/2", b"two"),
            ]
            assert {e.revision for e in entries.values()} == {revision}
            assert [*await store.read("a/", after="a/1", limit=1)] == ["a/10"]
            assert [*await store.read("a/", after="a/2")] == []
            assert await store.read("c/") == {}
            entry = await store.get("b/1")
            assert entry is not None
            assert (entry.value, entry.revision) == (b"b", revision)
            assert await store.get("b/2") is None

    asyncio.run(run())


def test_many_records_are_read_whole(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """More than one page of etcd."""

    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (store, _):
            for page in range(13):
                await store.commit(
                    Transaction({f"n/{page:02}/{number:03}": b"x" for number in range(100)})
                )
            assert len(await store.read("n/")) == 1300
            assert len(await store.read("n/", limit=700)) == 700

    asyncio.run(run())


def test_a_transaction_is_made_whole_or_not_at_all(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (store, _):
            first = await store.commit(put({"a": 0}, a="1", b="1"))
            second = await store.commit(put({"a": first}, a="2"))
            for expected in ({"a": first}, {"a": 0}, {"c": second}, {"a": second, "b": second}):
                with pytest.raises(ConflictError):
                    await store.commit(put(expected, a="3", d="3"))
            assert await store.revision() == second
            entries = await store.read("")
            assert {k: e.value for k, e in entries.items()} == {"a": b"2", "b": b"1"}
            third = await store.commit(Transaction(deletes=frozenset("ab"), expected={"b": first}))
            assert await store.read("") == {}
            await store.commit(put({"a": 0}, a="new"))
            assert third > second

    asyncio.run(run())


def test_of_many_at_the_same_time_one_wins(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (store, _):
            commits = [store.commit(put({"a": 0}, a=str(number))) for number in range(20)]
            results = await asyncio.gather(*commits, return_exceptions=True)
            winners = [result for result in results if isinstance(result, int)]
            assert len(winners) == 1
            assert sum(isinstance(result, ConflictError) for result in results) == 19

    asyncio.run(run())


def test_a_watch_has_every_transaction_in_order_without_a_gap(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (store, _):
            start = await store.revision()
            await store.commit(put(a="1"))
            async with aclosing(store.watch(start)) as changes:  # type: ignore[type-var]
                before = await take(changes, 1)
                assert [(c.key, c.value) for c in before[0].changes] == [("a", b"1")]
                revisions = [await store.commit(put(a=str(n), b="x")) for n in range(30)]
                await store.commit(Transaction(deletes=frozenset("b")))
                later = await take(changes, 31)
                assert [c.revision for c in later[:30]] == revisions
                assert {c.key: c.value for c in later[29].changes} == {"a": b"29", "b": b"x"}
                assert [(c.key, c.value) for c in later[30].changes] == [("b", None)]
            # Another one begins in the middle.
            async with aclosing(store.watch(revisions[10])) as changes:  # type: ignore[type-var]
                assert [c.revision for c in await take(changes, 19)] == revisions[11:]

    asyncio.run(run())


def test_contents_are_kept_and_are_no_change(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (store, _):
            start = await store.revision()
            large = bytes(range(256)) * 4096  # 1 MiB
            await store.put_content("d1", large)
            await store.put_content("d1", large)
            assert await store.get_content("d1") == large
            assert await store.get_content("d2") is None
            await store.commit(put(a="1"))
            async with aclosing(store.watch(start)) as changes:  # type: ignore[type-var]
                assert [c.key for c in (await take(changes, 1))[0].changes] == ["a"]
            assert [*await store.read("")] == ["a"]

    asyncio.run(run())


def test_presence_is_seen_by_all_and_ends_with_its_registry(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        async with open_store(kind, tmp_path, request) as (_, presence):
            await presence.put({"a": b"1", "b": b"2"})
            async with aclosing(presence.watch()) as entries, asyncio.timeout(30):  # type: ignore[type-var]
                assert dict(await anext(entries)) == {"a": b"1", "b": b"2"}
                await presence.put({"a": None, "c": b"3"})
                seen: dict[str, bytes | None] = {}
                while len(seen) < 2:
                    seen |= await anext(entries)
                assert seen == {"a": None, "c": b"3"}
            assert dict(await presence.read()) == {"b": b"2", "c": b"3"}
            await presence.put({f"n{number}": b"x" for number in range(250)})
            assert len(await presence.read()) == 252

    asyncio.run(run())


def test_a_watch_of_what_is_not_kept_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        store = SqliteStore(tmp_path / "r.sqlite", history=100)
        await store.open()
        for number in range(300):
            await store.commit(put(a=str(number)))
        async with aclosing(store.watch(10)) as changes:  # type: ignore[type-var]
            with pytest.raises(StoreCompactedError) as raised:
                await anext(changes)
        assert raised.value.oldest == 201
        async with aclosing(store.watch(200)) as changes:  # type: ignore[type-var]
            assert (await take(changes, 100))[-1].revision == 300
        # A revision of the future is one of a store that was restored from a backup since.
        async with aclosing(store.watch(301)) as changes:  # type: ignore[type-var]
            with pytest.raises(StoreCompactedError):
                await anext(changes)
        await store.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_entries_written_at_once_are_kept_and_those_of_others_not_removed(
    etcd: str, tmp_path: Path
) -> None:
    """One lease is granted; an end is of the registry that has the entry."""

    async def run() -> None:
        prefix = f"/test-{next(_PREFIXES)}/"
        first = EtcdPresence(etcd_servers(etcd), prefix, lease_s=2)
        second = EtcdPresence(etcd_servers(etcd), prefix, lease_s=2)
        await asyncio.gather(*(first.put({f"k{n}": b"1"}) for n in range(5)))
        await asyncio.sleep(4)  # two leases: what is not kept alive has ended
        assert len(await first.read()) == 5
        await second.put({"k0": b"2"})
        await first.put({"k0": None, "k1": None})
        assert dict(await second.read()) == {"k0": b"2", "k2": b"1", "k3": b"1", "k4": b"1"}
        await first.put({f"big/{n}": b"x" * 100_000 for n in range(20)})
        assert len(await first.read()) == 24
        await first.close()
        assert dict(await second.read()) == {"k0": b"2"}
        await second.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_a_registry_that_was_away_takes_back_only_what_nobody_has(etcd: str) -> None:
    """Its lease has ended meanwhile, and one of its entries has moved."""

    async def run() -> None:
        prefix = f"/test-{next(_PREFIXES)}/"
        away = EtcdPresence(etcd_servers(etcd), prefix, lease_s=2)
        other = EtcdPresence(etcd_servers(etcd), prefix, lease_s=60)
        await away.put({"moved": b"away", "stays": b"away"})
        async with asyncio.timeout(30):
            watch = aiter(other.watch())
            assert await anext(watch) == {"moved": b"away", "stays": b"away"}
            revoke = wire.EtcdLeaseRevoke(ID=away._lease)
            await other._cluster.call("/etcdserverpb.Lease/LeaseRevoke", revoke)
            assert await anext(watch) == {"moved": None, "stays": None}
            await other.put({"moved": b"other"})
            assert await anext(watch) == {"moved": b"other"}
            assert await anext(watch) == {"stays": b"away"}
            await watch.aclose()  # type: ignore[attr-defined]
        await away.put({"moved": None})  # its sweep
        assert dict(await other.read()) == {"moved": b"other", "stays": b"away"}
        await away.close()
        assert dict(await other.read()) == {"moved": b"other"}
        await other.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_a_content_is_kept_as_it_was_first(etcd: str) -> None:
    """Registries that start together agree on the name of their store by one."""

    async def run() -> None:
        store = EtcdStore(etcd_servers(etcd), f"/test-{next(_PREFIXES)}/")
        await store.put_content("store", b"first")
        await store.put_content("store", b"second")
        assert await store.get_content("store") == b"first"
        await store.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_a_member_is_given_up_once_by_all_that_use_it(etcd: str) -> None:
    async def run() -> None:
        cluster = EtcdCluster(etcd_servers("127.0.0.1:1", etcd))
        watches = [cluster.watch("/any/", 0) for _ in range(2)]
        results = await asyncio.gather(*map(anext, watches), return_exceptions=True)
        assert [type(result) for result in results] == [StoreError, StoreError]
        alive = cluster.channel()
        await cluster.call("/etcdserverpb.KV/Range", wire.EtcdRange(key=b"a"))
        assert cluster.channel() is alive
        await cluster.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_calls_at_the_same_time_do_not_pass_over_members_that_answer(etcd: str) -> None:
    async def run() -> None:
        for count in (1, 3, 6):
            store = EtcdStore(etcd_servers("127.0.0.1:1", etcd, etcd), "/other/")
            revisions = await asyncio.gather(*(store.revision() for _ in range(count)))
            assert len({*revisions}) == 1
            await store.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_a_token_that_has_ended_is_renewed(secure_etcd: EtcdServers) -> None:
    """A change of the users ends all tokens."""

    async def run() -> None:
        root = EtcdCluster(replace(secure_etcd, user="root"))
        store = EtcdStore(secure_etcd, f"/test-{next(_PREFIXES)}/")
        revision = await store.commit(put(a="1"))
        changes = store.watch(revision)
        following = asyncio.ensure_future(anext(aiter(changes)))
        for number in range(2):
            user = wire.EtcdPut(key=f"other-{number}".encode(), value=b"secret")
            await root.call("/etcdserverpb.Auth/UserAdd", user)
            store._cluster._token += "x"  # as one that etcd does not know any more
            assert await store.commit(put(b=str(number))) > revision
        async with asyncio.timeout(30):
            assert (await following).changes[0].value == b"0"
        await changes.aclose()  # type: ignore[attr-defined]
        await root.close()
        await store.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "wrong"}, "see registry.etcd_user and registry.etcd_password"),
        ({"user": "", "password": ""}, "see registry.etcd_user and registry.etcd_password"),
        ({"cert": "", "key": ""}, "see that a majority of its members runs"),
        ({"ca": "none.pem"}, "etcd: none.pem"),
    ],
)
def test_what_etcd_refuses_is_said_with_the_cure(
    secure_etcd: EtcdServers, change: dict[str, str], message: str
) -> None:
    async def run() -> None:
        store = EtcdStore(replace(secure_etcd, **change), "/test-x/")
        with pytest.raises(StoreError, match=message):
            await store.open()
        await store.close()

    asyncio.run(run())


@pytest.mark.peer("etcd")
def test_a_user_who_may_not_write_there_is_told_so(secure_etcd: EtcdServers) -> None:
    async def run() -> None:
        store = EtcdStore(secure_etcd, "/elsewhere/")
        with pytest.raises(StoreError, match=r"permission denied; see registry\.etcd_user"):
            await store.commit(put(a="1"))
        await store.close()

    asyncio.run(run())
