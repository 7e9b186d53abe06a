"""Calls in threads: every result arrives, many by one wake-up; a cancelled one goes on."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aseloader.thread_calls import ThreadCalls


def test_results_of_many_calls_arrive() -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = ThreadCalls(pool)

        async def main() -> list[int]:
            return await asyncio.gather(*(calls.start(lambda n: n * n, n) for n in range(2000)))

        assert asyncio.run(main()) == [n * n for n in range(2000)]
        assert asyncio.run(main())[:3] == [0, 1, 4], "in another loop too"


def test_results_that_wait_are_delivered_together() -> None:
    with ThreadPoolExecutor(1) as pool:
        calls = ThreadCalls(pool)

        async def main() -> int:
            loop = asyncio.get_running_loop()
            wake_ups = 0
            original = loop.call_soon_threadsafe

            def count(*arguments: Any, **options: Any) -> Any:
                nonlocal wake_ups
                wake_ups += 1
                return original(*arguments, **options)

            loop.call_soon_threadsafe = count  # type: ignore[method-assign]
            futures = [calls.start(int, str(n)) for n in range(50)]
            pool.submit(int).result(10)  # the loop stands still until the thread is through
            assert await asyncio.gather(*futures) == list(range(50))
            return wake_ups

        assert asyncio.run(main()) == 1


def test_a_call_that_nobody_waits_for_goes_on() -> None:
    with ThreadPoolExecutor(1) as pool:
        calls = ThreadCalls(pool)
        started, release, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            started.set()
            release.wait(10)
            ended.set()

        async def main() -> None:
            future = calls.start(work)
            await asyncio.to_thread(started.wait, 10)
            future.cancel()
            release.set()
            assert await asyncio.to_thread(ended.wait, 10)
            assert await calls.start(int) == 0

        asyncio.run(main())
