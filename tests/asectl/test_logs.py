"""The log writer: every line is written, or counted as lost and the count written."""

import errno
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from asectl.logs import JsonFormatter, LogWriter


def record(message: str, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "name": "ase", "levelname": "INFO"} | extra)


def lines_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.decode().splitlines()]


def read_all(descriptor: int) -> bytes:
    data = b""
    while piece := os.read(descriptor, 65536):
        data += piece
    return data


def test_lines_come_in_order_and_control_characters_are_escaped() -> None:
    out, into = os.pipe()
    writer = LogWriter(into, JsonFormatter())
    writer.put(record("a\nb", path='x" , "level": "error'))
    writer.put('{"message": "ready"}')
    writer.finish()
    os.close(into)
    first, second = lines_of(read_all(out))
    assert (first["message"], first["path"], first["level"]) == (
        "a\nb",
        'x" , "level": "error',
        "info",
    )
    assert second == {"message": "ready"}
    os.close(out)


def test_lines_that_a_full_disk_does_not_take_are_counted_and_the_count_is_logged(
    tmp_path: Path,
) -> None:
    full, file = os.open("/dev/full", os.O_WRONLY), tmp_path / "log"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        os.write(full, b"x")
    target = os.dup(full)
    writer = LogWriter(target, JsonFormatter())
    for _ in range(3):
        writer.put(record("lost"))
    while writer._unreported < 3:  # the thread has tried
        threading.Event().wait(0.001)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, target)  # there is room again
    writer.put(record("kept"))
    writer.finish()
    kept, note = lines_of(file.read_bytes())
    assert kept["message"] == "kept"
    assert (note["message"], note["count"]) == ("log lines dropped", 3)
    for each in (full, target, descriptor):
        os.close(each)


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    """A write that the system takes in part: the next batch begins with a line of its own."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    room = os.write(into, b"x" * (1 << 20))  # the pipe is full now
    os.read(out, 4096)  # and has one page left
    writer = LogWriter(into, JsonFormatter())
    writer.put(record("y" * 9000))
    while not writer._unreported:
        threading.Event().wait(0.001)
    drained = b""
    while len(drained) < room:
        drained += os.read(out, 65536)
    writer.put(record("whole"))
    writer.finish()
    os.close(into)
    *_, whole, note = (drained + read_all(out)).decode().splitlines()
    assert json.loads(whole)["message"] == "whole"
    assert json.loads(note)["count"] == 1
    os.close(out)
