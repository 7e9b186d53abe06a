"""Wrappers that load for as long as a FIFO is not written to, or with a long progress bar."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aseloader import Context, Data, Output, Outputs, Wrapper


class Loading(Wrapper):
    """Loads."""

    service = "loading"
    said = Output("text")

    def init(self, config: Mapping[str, str]) -> None:
        logging.getLogger("test.loading").info("loading")
        Path(config["fifo"]).read_text()

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return {"said": b""}


class Progress(Loading):
    """Writes far more than a line's worth to stderr, without ending a line."""

    service = "progress"

    def init(self, config: Mapping[str, str]) -> None:
        for number in range(20_000):
            sys.stderr.write(f"\rloading weights {number:>6}")
        sys.stderr.write("x" * 3_000_000 + "\n")
