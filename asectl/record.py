"""`asectl record FILE`: write down what a gateway does, for `asectl replay`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from asectl import http_client
from asectl.durations import format_age, parse_duration
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from asectl.progress import progress
from asectl.table import printable

_MARK = b'{"kind": "%s"'
_TIMEOUT_S = 10.0  # a gateway sends something each second


class _Tally:
    """What has been written: `requests`, and how many gateways began and ended their recording.

    `_rest` is the line that has come in part.
    """

    def __init__(self) -> None:
        self.requests = self._starts = self._ends = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Count the lines of what has come."""
        text, newline, self._rest = (self._rest + data).rpartition(b"\n")
        lines = text + newline
        self.requests += lines.count(_MARK % b"request")
        self._starts += lines.count(_MARK % b"start")
        self._ends += lines.count(_MARK % b"end")

    def is_complete(self) -> bool:
        """Return whether each gateway that began has ended its recording."""
        return 0 < self._starts <= self._ends

    def __str__(self) -> str:
        return f"{self.requests} requests recorded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("file", metavar="FILE", help="the recording, a file that does not exist")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=parse_duration,
        default=60.0,
        metavar="TIME",
        help="as 10s or 5m; Ctrl-C ends it before (1m)",
    )
    http_client.add_url_arguments(parser, "the admin port of the gateway", "http://127.0.0.1:8290")
    http_client.add_token_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Record and print how much.

    What is written up to an error, or Ctrl-C, can be replayed. Raises Failure: exit code 1 if the
    file cannot be written, 4 if the gateway does not answer as one.
    """
    path, tally = Path(args.file), _Tally()
    admin = HttpTarget.from_args(args)
    with _new_file(path) as file, progress(lambda: str(tally)):
        try:
            _copy(admin, args.seconds, file, tally)
        except KeyboardInterrupt:
            pass
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"{admin.url}: the recording broke off ({error})"
            raise Failure(f"{message}; {tally} in {path}", EXIT_UNREACHABLE) from None
        except OSError as error:
            if error.filename:  # a file with certificates
                raise
            message = f"{path}: {error.strerror}; {tally}, which can be replayed"
            raise Failure(message, EXIT_FAILED) from None
    if not path.exists():
        raise Failure(f"{admin.url}: nothing was recorded", EXIT_FAILED)
    print(f"{tally} in {path}; asectl replay {path} says what would have been")
    return 0


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file, which is deleted if nothing is written. Raises Failure."""
    try:
        file = path.open("xb", buffering=0)
    except FileExistsError:
        raise Failure(f"{path}: exists, and is not overwritten; name another file") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    try:
        with file:
            yield file
    finally:
        if path.is_file() and not path.stat().st_size:
            path.unlink()


def _copy(admin: HttpTarget, seconds: float, file: BinaryIO, tally: _Tally) -> None:
    """Write what the gateway sends. Raises Failure, httpx.HTTPError, OSError."""
    url = f"/debug/recording?seconds={seconds:g}"
    with admin.client(_TIMEOUT_S) as client, client.stream("GET", url) as response:
        if response.status_code != 200:
            raise Failure(f"{admin.url}: {_refusal(response)}", EXIT_UNREACHABLE)
        for chunk in response.iter_bytes():
            while chunk:  # a disk that is nearly full takes a part
                written = file.write(chunk)
                tally.add(chunk[:written])
                chunk = chunk[written:]
    if not tally.is_complete():
        raise httpx.RemoteProtocolError(f"the gateway ended before {format_age(seconds)}")


def _refusal(response: httpx.Response) -> str:
    """Return why there is no recording, and the cure."""
    try:
        response.read()
        content = response.json()
        return printable("; ".join(filter(None, (content["error"], content.get("cure")))))
    except (ValueError, KeyError, TypeError):
        return f"answers {response.status_code}; is it the admin port of a gateway?"
