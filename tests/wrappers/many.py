"""A wrapper in two processes: who answers, what crashes, what streams."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aseloader import Choice, Input, Output, Refused, Wrapper
from aseloader.wrapper import Context, Data


class Many(Wrapper):
    """Tells which process has answered."""

    service = "many"
    processes = 2
    queue = 1
    act = Choice("answer", "hold", "block", "crash", "crash_once", "refuse", default="answer")
    text = Input("text")
    facts = Output("json")

    def init(self, config: Mapping[str, str]) -> None:
        if config.get("init") == "fail":
            raise RuntimeError("no weights")
        self.config = dict(config)

    def once(self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context) -> Any:
        if params["act"] == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if params["act"] == "crash_once" and not Path(self.config["flag"]).exists():
            Path(self.config["flag"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if params["act"] == "block":
            threading.Event().wait(3)
        if params["act"] == "refuse":
            raise Refused("not this one")
        while params["act"] == "hold" and not context.cancelled:
            threading.Event().wait(0.01)
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        size = len(inputs["text"].data)
        facts = {"pid": os.getpid(), "size": size, "device": device, "config": self.config}
        return {"facts": facts}


class ManyIdempotent(Many):
    """The same, and running a request twice does no harm."""

    service = "manyidempotent"
    idempotent = True


class ManySessions(Many):
    """Echoes the frames of a session, with the process that has done it."""

    service = "manysessions"

    def session(
        self, params: Mapping[str, Any], inputs: Iterator[Mapping[str, Data]]
    ) -> Iterator[Any]:
        for frame in inputs:
            if frame["text"].data == b"crash":
                os.kill(os.getpid(), signal.SIGKILL)
            yield {"facts": {"pid": os.getpid(), "size": len(frame["text"].data)}}
