"""The start of a process when the system has no room for it."""

import asyncio
import os
import resource
from pathlib import Path

import pytest

from aseloader.processes.worker_process import WorkerProcess
from tests.harness import ROOT


def test_process_that_cannot_be_started_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        arguments = [f"{ROOT}/tests/wrappers/many.py:Many", "--processes", "1", "--lb", ""]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = WorkerProcess(0, arguments, tmp_path, environment)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            await asyncio.sleep(0)  # the first attempt
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await process.first_start
        await process.stop(20)

    with caplog.at_level("ERROR", "ase.loader"):
        asyncio.run(main())
    (record,) = caplog.records
    assert record.ended.startswith("it could not be started: ")  # type: ignore[attr-defined]
