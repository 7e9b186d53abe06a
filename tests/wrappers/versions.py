"""One service in two versions, whose schemas differ."""

from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Integer, Output, Outputs, Wrapper


class Old(Wrapper):
    """The version that runs."""

    service = "versions"
    said = Output("text", format="json")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return {"said": {"version": type(self).__name__.lower()}}


class New(Old):
    """The version that is rolled out."""

    size = Integer(1, 9)
