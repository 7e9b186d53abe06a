"""The log writer: every line is written, or counted as lost and the count written."""

import errno
import json
import logging
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asectl.logs import JsonFormatter, LogWriter, _format_text


def record(message: str, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "name": "ase", "levelname": "INFO"} | extra)


def parse_lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.decode().splitlines()]


def read_all(descriptor: int) -> bytes:
    data = b""
    while piece := os.read(descriptor, 65536):
        data += piece
    return data


def test_lines_come_in_order_and_control_characters_are_escaped() -> None:
    read_end, write_end = os.pipe()
    writer = LogWriter(write_end, JsonFormatter().format_line)
    writer.put(record("a\nb", path='x" , "level": "error'))
    writer.put('{"message": "ready"}')
    writer.finish()
    os.close(write_end)
    first, second = parse_lines(read_all(read_end))
    assert (first["message"], first["path"], first["level"]) == (
        "a\nb",
        'x" , "level": "error',
        "info",
    )
    assert second == {"message": "ready"}
    os.close(read_end)


def test_lines_lost_on_a_full_disk_are_counted_and_the_count_is_logged(
    tmp_path: Path,
) -> None:
    full_fd, file = os.open("/dev/full", os.O_WRONLY), tmp_path / "log"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        os.write(full_fd, b"x")
    target = os.dup(full_fd)
    writer = LogWriter(target, JsonFormatter().format_line)
    for _ in range(3):
        writer.put(record("lost"))
    while writer._unreported < 3:  # the thread has tried
        threading.Event().wait(0.001)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, target)  # there is room again
    writer.put(record("kept"))
    writer.finish()
    kept_record, drop_record = parse_lines(file.read_bytes())
    assert kept_record["message"] == "kept"
    assert (drop_record["message"], drop_record["count"]) == ("log lines dropped", 3)
    for fd in (full_fd, target, descriptor):
        os.close(fd)


def test_a_truncated_line_does_not_corrupt_the_next(tmp_path: Path) -> None:
    """A write that the system takes in part: the next batch begins with a line of its own."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    capacity = os.write(write_end, b"x" * (1 << 20))  # the pipe is full now
    os.read(read_end, 4096)  # and has one page left
    writer = LogWriter(write_end, JsonFormatter().format_line)
    writer.put(record("y" * 9000))
    while not writer._unreported:
        threading.Event().wait(0.001)
    drained = b""
    while len(drained) < capacity:
        drained += os.read(read_end, 65536)
    writer.put(record("whole"))
    writer.finish()
    os.close(write_end)
    *_, whole_line, drop_line = (drained + read_all(read_end)).decode().splitlines()
    assert json.loads(whole_line)["message"] == "whole"
    assert json.loads(drop_line)["count"] == 1
    os.close(read_end)


def test_lost_lines_are_counted_once_whatever_follows(tmp_path: Path) -> None:
    """A record may be several lines of text, and a line may be no record."""
    read_end, write_end = os.pipe()
    writer = LogWriter(write_end, partial(_format_text, JsonFormatter(), colour=False))
    writer._dropped = 3
    for number in range(3):
        try:
            raise ValueError("a\nb")
        except ValueError:
            writer.put(record(f"failed {number}", exc_info=sys.exc_info()))
        writer.put("no JSON")
        while writer._queue:
            threading.Event().wait(0.001)
    writer.finish()
    os.close(write_end)
    text = read_all(read_end).decode()
    os.close(read_end)
    assert text.count("log lines dropped count=3") == 1
    assert text.count("no JSON\n") == 3
    assert text.count("\n    ") > 3
