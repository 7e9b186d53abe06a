"""The pipe by which a process tells its loader the curve of its batches."""

import asyncio
import os
from pathlib import Path

import pytest

from aseloader.processes.status_pipe import StatusWriter, open_reader, read_curves


def test_curves_come_through_until_the_writer_has_gone() -> None:
    async def main() -> list[tuple[float, float]]:
        descriptor, writer_descriptor = os.pipe()
        transport, reader = await open_reader(descriptor)
        writer = StatusWriter(writer_descriptor)
        for curve in ((0.0, 0.0), (12.5, 0.25)):
            writer.write(*curve)
        os.write(writer_descriptor, b"1.0")  # the process ends while it writes
        os.close(writer_descriptor)
        curves = [curve async for curve in read_curves(reader)]
        transport.close()
        return curves

    assert asyncio.run(main()) == [(0.0, 0.0), (12.5, 0.25)]


def test_pipe_that_is_full_or_has_no_reader_does_not_stop_the_process() -> None:
    descriptor, writer_descriptor = os.pipe()
    writer = StatusWriter(writer_descriptor)
    for _ in range(10_000):  # a pipe takes 64 KiB
        writer.write(1.0, 2.0)
    os.close(descriptor)
    writer.write(1.0, 2.0)
    os.close(writer_descriptor)


def test_descriptor_that_is_no_pipe_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        descriptor = os.open(tmp_path / "file", os.O_RDONLY)
        with pytest.raises(ValueError, match="pipe"):
            await open_reader(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.close(descriptor)

    asyncio.run(main())
