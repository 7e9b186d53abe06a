"""Who is connected, as a registry knows it by itself and by the others."""

import asyncio

from registry.feedback import Consumer, Outcome
from registry.generation import Subscription
from registry.providers import Present
from registry.store.memory_presence import MemoryPresence


def consumer(reason: str) -> Consumer:
    return Consumer(Subscription("gw", "h:1", {}, ()), {}, {}, Outcome.APPLIED, reason, 0.0)


def test_an_instance_that_moved_to_another_registry_stays_known() -> None:
    """Its connection here is dead, and ends only when no sign of life has come for a while."""

    async def run() -> None:
        presence = MemoryPresence()
        present = Present(presence)
        following = asyncio.ensure_future(present.follow())
        present.show_consumer("consumer/gw", consumer("here"))
        changed = present.changed
        await presence.put({"consumer/gw": consumer("there").to_bytes()})
        await changed.wait()
        assert [entry.reason for entry in present.consumers()] == ["here"]
        present.show_consumer("consumer/gw", None)
        assert [entry.reason for entry in present.consumers()] == ["there"]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(run())
