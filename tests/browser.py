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

_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--no-proxy-server",
    # Whatever is not on this machine is not there.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


class Browser:
    """One page of a Chromium, with the URLs that it requested and the errors that it logged."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            profile_dir = stack.enter_context(
                tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            )
            browser_in, commands_out = os.pipe()
            messages_in, browser_out = os.pipe()
            args = [
                shutil.which("chromium") or "chromium",
                *_FLAGS,
                f"--user-data-dir={profile_dir}",
            ]
            # The browser reads from 3 and writes to 4.
            shell = f'exec 3<&{browser_in} 4>&{browser_out}; exec "$@"'
            process = subprocess.Popen(
                ["bash", "-c", shell, "chromium", *args, "about:blank"],
                pass_fds=(browser_in, browser_out),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            os.close(browser_in)
            os.close(browser_out)
            self._in = stack.enter_context(os.fdopen(messages_in, "rb", buffering=0))
            self._out = stack.enter_context(os.fdopen(commands_out, "wb", buffering=0))
            self._buffer = b""
            self._command_id = 0
            self._session = ""
            self.requested_urls: list[str] = []
            self.errors: list[str] = []
            pages = self._call("Target.getTargets")["targetInfos"]
            target = next(page["targetId"] for page in pages if page["type"] == "page")
            attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
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
        evaluation = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return evaluation["result"].get("value")

    def wait(self, script: str, fits: Callable[[Any], bool] = bool) -> Any:
        """Return the value of an expression as soon as it fits."""
        deadline = time.monotonic() + 30
        while not fits(value := self.run(script)):
            if time.monotonic() > deadline:
                raise AssertionError(f"{script}: still {value!r}; {self.errors}")
        return value

    def resize(self, width: int, height: int, *, is_dark: bool) -> None:
        """Set the size of the window, and the colour scheme that its user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._command_id += 1
        command: dict[str, Any] = {"id": self._command_id, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        self._out.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self._read_message()
            if message.get("id") == self._command_id:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._record(message)

    def _record(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested_urls.append(params["request"]["url"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])

    def _read_message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = self._in.read(65536)
            if not data:
                raise AssertionError("the browser ended")
            self._buffer += data
        raw_message, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw_message)
        return message
