"""A wrapper that works in batches, and says how large they were."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import Counter

from aseloader import Data, Input, Output, Refused, Wrapper

_texts = Counter("batching_texts", "texts that were processed")


class Batching(Wrapper):
    """Answers with the size of its batch."""

    service = "batching"
    max_batch = 8
    text = Input("text")
    size = Output("text", format="json")

    def init(self, config: Mapping[str, str]) -> None:
        self._busy_s = float(config.get("busy", "0.05"))

    def batch(
        self, params: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Data]]
    ) -> list[Any]:
        threading.Event().wait(self._busy_s)
        _texts.inc(len(inputs))
        return [
            Refused("not this one")
            if request["text"].data == b"refuse"
            else {"size": [len(inputs)]}
            for request in inputs
        ]
