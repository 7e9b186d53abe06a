"""The watchdog: a loop that stands still is reported while it stands, with where it stands."""

import asyncio
import logging
import threading

from asectl.watchdog import watch

PATIENCE_S = 30.0


class RecordingHandler(logging.Handler):
    """Keeps records, and sets an event at each."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logged = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.logged.set()


def test_blocked_loop_is_reported_with_its_stack_and_again_when_it_resumes() -> None:
    handler, logger = RecordingHandler(), logging.getLogger("ase.loop")

    def stand_still() -> None:
        assert handler.logged.wait(PATIENCE_S), "the watchdog said nothing while the loop stood"
        handler.logged.clear()

    async def main() -> None:
        with watch(asyncio.get_running_loop(), limit=0.01):
            asyncio.get_running_loop().call_soon(stand_still)
            await asyncio.to_thread(handler.logged.wait, PATIENCE_S)
            while len(handler.records) < 2:
                await asyncio.to_thread(handler.logged.wait, PATIENCE_S)

    logger.addHandler(handler)
    try:
        asyncio.run(main())
    finally:
        logger.removeHandler(handler)
    first, second = handler.records[:2]
    assert first.getMessage() == "event loop stands still"
    assert "stand_still" in vars(first)["stack"]
    assert second.getMessage() == "event loop runs again"
    assert vars(second)["seconds"] >= 0.01


def test_responsive_loop_is_not_reported_and_the_thread_ends_with_it() -> None:
    handler, logger = RecordingHandler(), logging.getLogger("ase.loop")
    logger.addHandler(handler)

    async def main() -> None:
        with watch(asyncio.get_running_loop(), limit=5.0):
            await asyncio.sleep(0)

    try:
        asyncio.run(main())
    finally:
        logger.removeHandler(handler)
    assert not handler.records
    for thread in threading.enumerate():
        if thread.name == "watchdog":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
