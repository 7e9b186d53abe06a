"""A wrapper whose answer is large."""

import logging
from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Output, Outputs, Wrapper


class Big(Wrapper):
    """Answers with 8 MB."""

    service = "big"
    said = Output("other")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        logging.getLogger("test.big").info("made")
        return {"said": b"x" * 8_000_000}
