"""One replica as a process of this host, with a folder that outlives the deployer.

The process holds the lock of `lock` as long as it lives, by a descriptor that it has inherited. So
whoever can lock the file knows that no process runs, and nobody can start a second one, whenever a
deployer was killed. The folder has its pid, its port, its log, and how it ended.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from deploy.shimlets.ports import free_port
from deploy.shimlets.usage import is_alive

# Writes the pid before the program runs: the deployer may be killed before it could.
_LAUNCH: Final = 'echo $$ > "$0" && exec "$@"'
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 30.0
_STABLE_S: Final = 60.0  # a run as long as this ends the counting of crashes
_LOG_TAIL_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Notes:
    """What is noted of a replica. Times are Unix seconds; 0 where nothing has happened."""

    port: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    stopping_at: float = 0.0
    crashes: int = 0
    reason: str = ""


class ReplicaProcess:
    """A replica in `folder`. `grace_s` seconds after it was told to stop it is killed.

    Another deployer may work on the same folder, before or after this one leads: `_notes` are what
    is on the disk whenever that is looked at, but for the process that was started here, `_child`.
    """

    def __init__(self, folder: Path, grace_s: float, max_log_bytes: int) -> None:
        self.folder = folder
        self._grace_s = grace_s
        self._max_log_bytes = max_log_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._notes = self._read_notes()

    @property
    def notes(self) -> _Notes:
        """What is noted of it."""
        return self._notes

    @property
    def pid(self) -> int:
        """The pid of the process that was started last; 0 if that has not noted it yet."""
        if self._child is not None:
            return self._child.pid
        try:
            return int((self.folder / "pid").read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def is_running(self) -> bool:
        """Return whether the process lives. What it has left behind is killed."""
        if self._child is not None:
            if self._child.poll() is None:
                return True
            self._note_end(f"ended {_describe_exit(self._child.returncode)}")
            self._child = None
        self._notes = self._read_notes()
        if self._can_lock():
            if self._notes.started_at > self._notes.ended_at:  # it ended while nobody looked
                self._note_end("ended while no deployer ran")
            return False
        pid = self.pid
        if pid and not is_alive(pid):
            _kill_group(pid)  # its children hold the lock
        return True

    def retry_at(self) -> float:
        """Return when it may be started again after its end."""
        crashes = self._notes.crashes
        delay = min(_MIN_BACKOFF_S * 2 ** min(crashes - 1, 10), _MAX_BACKOFF_S) if crashes else 0.0
        return self._notes.ended_at + delay

    def start(self, command: Sequence[str], host: str, env: Mapping[str, str], cwd: Path) -> int:
        """Start the process, unless one runs; return its pid, or 0. Raises OSError.

        `{port}` in the command is replaced by a port that is free now.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            port = free_port(host)
            self._write_notes(replace(self._notes, port=port, started_at=time.time()))
            (self.folder / "pid").unlink(missing_ok=True)
            self._keep_log()
            arguments = [argument.replace("{port}", str(port)) for argument in command]
            with (self.folder / "log").open("ab") as log:
                self._child = subprocess.Popen(  # noqa: S603 (the loader of a deployment)
                    ["/bin/sh", "-c", _LAUNCH, str(self.folder / "pid"), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(env),
                    cwd=cwd,
                    start_new_session=True,
                    pass_fds=[descriptor],
                )
            return self._child.pid
        finally:
            os.close(descriptor)

    def stop(self) -> None:
        """Tell it to finish its requests and end; kill it if it had its time."""
        now, pid = time.time(), self.pid
        if not pid:
            return  # it was started a moment ago, and is told when it is asked to stop again
        if not self._notes.stopping_at:
            self._write_notes(replace(self._notes, stopping_at=now))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        elif now > self._notes.stopping_at + self._grace_s:
            _kill_group(pid)

    def kill(self, reason: str) -> None:
        """Kill it at once; it counts as a crash for this reason."""
        pid = self.pid
        if pid and is_alive(pid):
            _kill_group(pid)
            if self._child is not None:
                self._child.wait()
                self._child = None
            self._note_end(reason)

    def remove(self) -> None:
        """Remove the folder of a replica that has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def read_log(self, lines: int) -> str:
        """Return the last lines of its log."""
        return read_tail(self.folder / "log", lines)

    def trim_log(self) -> None:
        """Keep a log that has grown too large as `log.1`, and begin a new one.

        The process appends, so that it goes on at the new end.
        """
        path = self.folder / "log"
        with contextlib.suppress(OSError):
            if path.stat().st_size > self._max_log_bytes:
                shutil.copyfile(path, self.folder / "log.1")
                os.truncate(path, 0)

    def _keep_log(self) -> None:
        """Keep the log of the run before: each run has a log of its own."""
        with contextlib.suppress(OSError):
            (self.folder / "log").rename(self.folder / "log.1")

    def _can_lock(self) -> bool:
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _note_end(self, reason: str) -> None:
        """Note the end of the process that the notes are of; another deployer may have another."""
        stored = self._read_notes()
        if stored.started_at != self._notes.started_at:
            self._notes = stored
            return
        now = time.time()
        is_stable = now - self._notes.started_at > _STABLE_S
        crashes = 1 if is_stable else self._notes.crashes + 1
        self._write_notes(replace(self._notes, ended_at=now, crashes=crashes, reason=reason))

    def _read_notes(self) -> _Notes:
        try:
            return _Notes(**json.loads((self.folder / "notes.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return _Notes()

    def _write_notes(self, notes: _Notes) -> None:
        self._notes = notes
        write_atomically(self.folder / "notes.json", json.dumps(asdict(notes)))


def read_tail(path: Path, lines: int) -> str:
    """Return the last lines of a log, "" if it cannot be read."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(log.tell() - _LOG_TAIL_BYTES, 0))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old or the new text. Raises OSError.

    Only its owner may read it: it may have the environment of a model.
    """
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.rename(path)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
