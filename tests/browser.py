"""A real browser, driven by its own protocol over two pipes: no driver, no socket."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, Self

_WORDS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--no-proxy-server",
    # Whatever is not on this machine is not there.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


class Browser:
    """One page of a Chromium. `asked` are the URLs that it asked for, `said` what it complained."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            theirs_in, ours_out = os.pipe()
            ours_in, theirs_out = os.pipe()
            words = [shutil.which("chromium") or "chromium", *_WORDS, f"--user-data-dir={folder}"]
            # The browser reads from 3 and writes to 4.
            shell = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
            process = subprocess.Popen(
                ["bash", "-c", shell, "chromium", *words, "about:blank"],
                pass_fds=(theirs_in, theirs_out),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            os.close(theirs_in)
            os.close(theirs_out)
            self._in = stack.enter_context(os.fdopen(ours_in, "rb", buffering=0))
            self._out = stack.enter_context(os.fdopen(ours_out, "wb", buffering=0))
            self._buffer = b""
            self._number = 0
            self._session = ""
            self.asked: list[str] = []
            self.said: list[str] = []
            pages = self._call("Target.getTargets")["targetInfos"]
            target = next(p["targetId"] for p in pages if p["type"] == "page")
            told = self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = told["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                self._call(f"{domain}.enable")
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return told["result"].get("value")

    def wait(self, script: str, fits: Callable[[Any], bool] = bool) -> Any:
        """Return the value of an expression as soon as it fits."""
        until = time.monotonic() + 30
        while not fits(value := self.run(script)):
            if time.monotonic() > until:
                raise AssertionError(f"{script}: still {value!r}; {self.said}")
        return value

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        told: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            told["sessionId"] = self._session
        self._out.write(json.dumps(told).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.said.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(json.dumps(params["exceptionDetails"])[:500])

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = self._in.read(65536)
            if not data:
                raise AssertionError("the browser ended")
            self._buffer += data
        told, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(told)
        return message
