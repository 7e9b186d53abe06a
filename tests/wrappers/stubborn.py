"""A wrapper whose thread does not look at `cancelled`: it returns when a FIFO is written to."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aseloader import Boolean, Context, Data, Input, Output, Outputs, Wrapper


class Stubborn(Wrapper):
    """Waits for its release, whatever its caller does."""

    service = "stubborn"
    queue = 0
    total = 1

    wait = Boolean(default=True)
    text = Input("text")
    said = Output("text")

    def init(self, config: Mapping[str, str]) -> None:
        self._fifo = Path(config["fifo"])

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        if params["wait"]:
            self._fifo.read_text()
            logging.getLogger("test.stubborn").info("returned")
        return {"said": b"at last"}
