"""A wrapper whose model belongs to the thread that loaded it, as sqlite3 and CUDA have it."""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from aseloader import Context, Data, Input, Output, Outputs, Wrapper


class Database(Wrapper):
    """Counts its requests in a database."""

    service = "database"
    total = 1

    text = Input("text")
    count = Output("text")

    def init(self, config: Mapping[str, str]) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE requests (text BLOB)")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return {"count": self._add(inputs["text"].data)}

    def session(
        self, params: Mapping[str, Any], inputs: Iterator[Mapping[str, Data]], context: Context
    ) -> Iterator[dict[str, Any]]:
        for frame in inputs:
            yield {"count": self._add(frame["text"].data)}

    def fini(self) -> None:
        self.connection.close()

    def _add(self, text: bytes) -> str:
        self.connection.execute("INSERT INTO requests VALUES (?)", (text,))
        ((count,),) = self.connection.execute("SELECT count(*) FROM requests")
        return str(count)
