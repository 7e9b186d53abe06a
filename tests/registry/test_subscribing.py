"""Subscribers of a real registry: generations, answers, gray releases, lost connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.client.subscriber import ApplyResult
from registry.grpc_methods import SUBSCRIBE
from registry.names import VersionPattern
from rpc.client import Channel
from rpc.message_stream import stream_responses
from schemas import wire
from tests.registry.running import OWN, RunningSubscriber, running_registry

SCHEMA = {
    "meta": {"serviceId": "image", "version": "1.0.0", "route": "/v1/private/image"},
    "schemainput": {"type": "object"},
}


def outcomes(status: dict[str, object]) -> dict[str, tuple[int, str, str]]:
    instances: list[dict[str, object]] = status["instances"]  # type: ignore[assignment]
    return {
        str(i["instance"]): (int(str(i["running"])), str(i["outcome"]), str(i["reason"]))
        for i in instances
    }


def test_a_release_reaches_all_and_each_answers(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("ase.yaml", "log_level: info\n")
            async with (
                RunningSubscriber(registry.grpc, tmp_path, "a") as first,
                RunningSubscriber(registry.grpc, tmp_path, "b") as second,
            ):
                for subscriber in (first, second):
                    await subscriber.wait_applied("log_level: info\n")
                await registry.release("ase.yaml", "log_level: debug\n")
                for subscriber in (first, second):
                    await subscriber.wait_applied("log_level: debug\n")
                status = await registry.status()
                assert outcomes(status) == {"a": (2, "applied", ""), "b": (2, "applied", "")}
                assert status["complete"]
            await registry.wait_instances(0)

    asyncio.run(run())


def test_a_refused_release_leaves_the_one_before_and_says_why(tmp_path: Path) -> None:
    async def run() -> None:
        def judge(text: str) -> str:
            return "no debug here" if "debug" in text else ""

        async with running_registry(tmp_path) as registry:
            await registry.release("ase.yaml", "log_level: info\n")
            async with RunningSubscriber(registry.grpc, tmp_path, judge=judge) as subscriber:
                await subscriber.wait_applied("log_level: info\n")
                await registry.release("ase.yaml", "log_level: debug\n")
                assert outcomes(await registry.status()) == {
                    "gw-1": (1, "refused", "no debug here")
                }
                current = subscriber.mirror.current / "ase.yaml"
                assert current.read_text() == "log_level: info\n"
                await registry.post("rollback")
                await registry.status()
                assert outcomes(await registry.status()) == {"gw-1": (3, "applied", "")}

    asyncio.run(run())


def test_gray_instances_return_when_it_is_withdrawn(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            async with (
                RunningSubscriber(registry.grpc, tmp_path, "a", file="a.txt", zone="x") as gray,
                RunningSubscriber(registry.grpc, tmp_path, "b", file="a.txt") as stable,
            ):
                await gray.wait_applied("1")
                await stable.wait_applied("1")
                await registry.release("a.txt", "2", gray={"labels": {"zone": "x"}})
                await gray.wait_applied("2")
                status = await registry.status()
                assert outcomes(status) == {"a": (2, "applied", ""), "b": (1, "applied", "")}
                assert stable.applied == ["1"]
                await registry.post("withdraw")
                await gray.wait_applied("1")
                await registry.release("a.txt", "3", gray={"addresses": ["b"]})
                await stable.wait_applied("3")
                await registry.post("promote")
                await gray.wait_applied("3")
                assert stable.applied == ["1", "3"]  # nothing new for those that had it

    asyncio.run(run())


def test_schemas_of_the_group_come_with_the_own_files(tmp_path: Path) -> None:
    async def run() -> None:
        patterns = (
            VersionPattern.parse(OWN),
            VersionPattern.parse("shop/web/*/*", schemas_only=True),
        )
        async with running_registry(tmp_path) as registry:
            text = json.dumps(SCHEMA)
            response = await registry.put("schema_image.json", text, "shop/web/image/1.0.0")
            assert response.json()["kind"] == "schema", response.text
            await registry.put("notes.txt", "not for gateways", "shop/web/image/1.0.0")
            await registry.post("releases", "shop/web/image/1.0.0")
            await registry.release("ase.yaml", "log_level: info\n")
            async with RunningSubscriber(registry.grpc, tmp_path, patterns=patterns) as subscriber:
                await subscriber.wait_applied("log_level: info\n")
                folder = subscriber.mirror.current
                assert (folder / "schemas/image~schema_image.json").read_text() == text
                names = sorted(p.name for p in folder.rglob("*") if p.is_file())
                assert names == [".generation.json", "ase.yaml", "image~schema_image.json"]

    asyncio.run(run())


def test_large_files_are_fetched_and_kept_ones_are_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            for number in range(10):
                response = await registry.put(f"{number}.bin", bytes([number]) * 1_000_000)
                assert response.status_code == 200
            await registry.release("a.txt", "1")
            async with RunningSubscriber(registry.grpc, tmp_path, file="a.txt") as subscriber:
                await subscriber.wait_applied("1")
                for number in range(10):
                    content = (subscriber.mirror.current / f"{number}.bin").read_bytes()
                    assert content == bytes([number]) * 1_000_000
                await registry.release("a.txt", "2")
                await subscriber.wait_applied("2")
                assert (subscriber.mirror.current / "9.bin").stat().st_size == 1_000_000

    asyncio.run(run())


def test_a_subscriber_goes_on_while_the_registry_is_away_and_misses_nothing(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            port = int(registry.grpc.rpartition(":")[2])
            subscriber = RunningSubscriber(registry.grpc, tmp_path, file="a.txt")
            async with subscriber:
                await subscriber.wait_applied("1")
        # Changed while nobody listens, by another process.
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "2")
        async with subscriber:
            await asyncio.sleep(0)
            async with running_registry_at(tmp_path, port) as registry:
                await subscriber.wait_applied("2")
                assert outcomes(await registry.status()) == {"gw-1": (2, "applied", "")}
        # And one that starts with what it has on the disk applies nothing twice.
        async with running_registry_at(tmp_path, port) as registry:
            again = RunningSubscriber(registry.grpc, tmp_path, file="a.txt")
            async with again:
                await registry.wait_instances(1)
                assert outcomes(await registry.status()) == {"gw-1": (2, "applied", "")}
            assert again.applied == []

    asyncio.run(run())


def running_registry_at(folder: Path, port: int):  # type: ignore[no-untyped-def]
    return running_registry(folder, port=port)


def test_one_that_never_answers_is_seen_and_holds_up_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            silent = RunningSubscriber(registry.grpc, tmp_path, "silent", file="a.txt")
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            async def hang(_: Path):  # type: ignore[no-untyped-def]
                await waiting

            silent.subscriber.start_applying(hang)
            async with silent, RunningSubscriber(registry.grpc, tmp_path, file="a.txt") as other:
                await other.wait_applied("1")
                await registry.wait_instances(2)
                status = await registry.status(wait=0.3)
                assert not status["complete"]
                assert outcomes(status)["silent"] == (0, "waiting", "")
                await registry.release("a.txt", "2")
                await other.wait_applied("2")

    asyncio.run(run())


def test_two_instances_of_one_name_do_not_share_a_stream(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            first = RunningSubscriber(registry.grpc, tmp_path / "1", "same", file="a.txt")
            second = RunningSubscriber(registry.grpc, tmp_path / "2", "same", file="a.txt")
            async with first:
                await first.wait_applied("1")
                async with second:
                    await second.wait_applied("1")
            assert len((await registry.status())["instances"]) <= 1

    asyncio.run(run())


@pytest.mark.parametrize("size", [1, 200])
def test_a_change_reaches_many_at_once(tmp_path: Path, size: int) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            subscribers = [
                RunningSubscriber(registry.grpc, tmp_path, f"gw-{number}", file="a.txt")
                for number in range(size)
            ]
            for subscriber in subscribers:
                await subscriber.__aenter__()
            await asyncio.gather(*(s.wait_applied("1") for s in subscribers))
            await registry.release("a.txt", "2")
            await asyncio.gather(*(s.wait_applied("2") for s in subscribers))
            status = await registry.status()
            assert len(status["instances"]) == size
            assert {i["outcome"] for i in status["instances"]} == {"applied"}
            await asyncio.gather(*(s.__aexit__() for s in subscribers))

    asyncio.run(run())


def test_thousands_that_reconnect_at_once_are_served(tmp_path: Path) -> None:
    count, connections = 2000, 4

    async def follow(channel: Channel, number: int, arrivals: asyncio.Queue[bytes]) -> None:
        first = wire.SubscriptionRequest(instance=f"gw-{number}")
        first.follow.add(version=OWN)

        async def requests() -> AsyncIterator[bytes]:
            yield wire.SubscribeRequest(subscription=first).SerializeToString()
            await asyncio.Event().wait()

        async for message in stream_responses(channel.stream(SUBSCRIBE), requests()):
            arrivals.put_nowait(message)

    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            for number in range(2):  # the second time they come back
                arrivals: asyncio.Queue[bytes] = asyncio.Queue()
                channels = [Channel(registry.grpc) for _ in range(connections)]
                tasks = [
                    asyncio.ensure_future(follow(channels[i % connections], i, arrivals))
                    for i in range(count)
                ]
                async with asyncio.timeout(60):
                    for _ in range(count):
                        await arrivals.get()
                    await registry.release("a.txt", f"new {number}")
                    for _ in range(count):
                        await arrivals.get()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for channel in channels:
                    await channel.close()

    asyncio.run(run())


def test_an_instance_of_another_project_takes_no_place(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            other = (VersionPattern.parse("bank/web/gateway/1.0.0"),)
            async with RunningSubscriber(registry.grpc, tmp_path / "1", "x", file="a.txt") as ours:
                await ours.wait_applied("1")
                async with RunningSubscriber(
                    registry.grpc, tmp_path / "2", "x", patterns=other
                ) as theirs:
                    await theirs.subscriber.has_answered.wait()
                    await registry.release("a.txt", "2")
                    await ours.wait_applied("2")

    asyncio.run(run())


def test_two_that_share_a_folder_both_apply(tmp_path: Path) -> None:
    """As the workers of one gateway do."""

    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            first = RunningSubscriber(registry.grpc, tmp_path, "w", file="a.txt")
            second = RunningSubscriber(registry.grpc, tmp_path, "w2", file="a.txt")
            second.mirror = first.mirror
            second.subscriber._mirror = first.mirror
            async with first, second:
                for text in ("1", "2", "3"):
                    await registry.release("a.txt", text) if text != "1" else None
                    await first.wait_applied(text)
                    await second.wait_applied(text)
                await registry.status()
                assert {o[1] for o in outcomes(await registry.status()).values()} == {"applied"}

    asyncio.run(run())


def test_a_stop_in_the_middle_leaves_the_one_before(tmp_path: Path) -> None:
    """What was not judged to its end is not in use, and is judged at the next start."""

    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            begun = asyncio.Event()

            async def apply(_: Path) -> ApplyResult:
                begun.set()
                await asyncio.Event().wait()
                raise AssertionError

            async with asyncio.timeout(30):
                async with RunningSubscriber(registry.grpc, tmp_path, file="a.txt") as first:
                    await first.wait_applied("1")
                    first.subscriber.start_applying(apply)
                    await registry.put("a.txt", "2")
                    publishing = asyncio.ensure_future(registry.post("releases"))
                    await begun.wait()
                assert (first.mirror.current / "a.txt").read_text() == "1"
                async with RunningSubscriber(registry.grpc, tmp_path, file="a.txt") as again:
                    await again.wait_applied("2")
                await publishing

    asyncio.run(run())


def test_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.client.subscriber._RETRY_FAILED_S", 0.01)

    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            subscriber = RunningSubscriber(registry.grpc, tmp_path, file="a.txt")
            async with subscriber:
                await subscriber.wait_applied("1")
                # A folder that cannot be made stands for a disk that is full for a while.
                folder = tmp_path / "gw-1"
                await registry.put("b.txt", "2")
                await asyncio.to_thread(folder.rename, tmp_path / "away")
                await asyncio.to_thread(folder.write_text, "in the way")
                await registry.post("releases")
                status = await registry.status()
                assert status["instances"][0]["outcome"] == "failed"
                assert status["instances"][0]["running"] == 1
                await asyncio.to_thread(folder.unlink)
                await asyncio.to_thread((tmp_path / "away").rename, folder)
                async with asyncio.timeout(30):
                    while True:
                        if (await registry.status())["instances"][0]["outcome"] == "applied":
                            break
                        await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_registry_that_lost_its_store_takes_nothing_away(tmp_path: Path) -> None:
    async def run() -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        subscriber = RunningSubscriber("127.0.0.1:1", tmp_path, file="a.txt")
        async with running_registry(tmp_path / "1") as registry:
            await registry.release("a.txt", "1")
            subscriber = RunningSubscriber(registry.grpc, tmp_path, file="a.txt")
            async with subscriber:
                await subscriber.wait_applied("1")
            port = int(registry.grpc.rpartition(":")[2])
        async with running_registry_at(tmp_path / "2", port) as registry, subscriber:
            await registry.release("a.txt", "other")
            status = await registry.status()
            assert status["instances"][0]["outcome"] == "failed"
            assert "another store than before" in status["instances"][0]["reason"]
            assert (subscriber.mirror.current / "a.txt").read_text() == "1"

    asyncio.run(run())


def test_what_an_instance_runs_is_known_after_it_came_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            subscriber = RunningSubscriber(
                registry.grpc, tmp_path, file="a.txt", judge=lambda t: "no" if t == "2" else ""
            )
            async with subscriber:
                await subscriber.wait_applied("1")
                await registry.release("a.txt", "2")
                assert outcomes(await registry.status()) == {"gw-1": (1, "refused", "no")}
            await registry.wait_instances(0)
            async with subscriber:
                await registry.wait_instances(1)
                await registry.status()
                assert outcomes(await registry.status()) == {"gw-1": (1, "refused", "no")}

    asyncio.run(run())


def test_a_version_that_is_not_for_an_instance_is_not_waited_for(tmp_path: Path) -> None:
    """A loader's file is not for gateways, which follow schemas alone."""

    async def run() -> None:
        patterns = (
            VersionPattern.parse(OWN),
            VersionPattern.parse("shop/web/*/*", schemas_only=True),
        )
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            async with RunningSubscriber(
                registry.grpc, tmp_path, patterns=patterns, file="a.txt"
            ) as subscriber:
                await subscriber.wait_applied("1")
                await registry.release("init.yaml", "a: 1\n", "shop/web/words/1.0.0")
                status = await registry.status("shop/web/words/1.0.0")
                assert status == status | {"complete": True, "instances": []}

    asyncio.run(run())
