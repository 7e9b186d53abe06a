"""What a model author writes, and what it is handed; the engine drives it. Pure."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


class Refused(Exception):  # noqa: N818 (reads as it is raised: `raise Refused("too small")`)
    """The input is not one this model can work on: the caller gets 400, code 10107, the words."""


@dataclass(frozen=True, slots=True)
class Data:
    """One payload: bytes and their attributes (`encoding`, `format`, `sample_rate`, ...)."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoding(self) -> str:
        """Return the attribute `encoding`, "" when there is none."""
        return self.attributes.get("encoding", "")


class Context:
    """What surrounds one request.

    `sid` is its id everywhere, `headers` the envelope's and the gateway's, `deadline` the moment
    (of `time.monotonic()`, seconds) after which nobody waits for the answer, None without one.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        deadline: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.sid = headers.get("sid", "")
        self.headers = headers
        self.deadline = deadline
        self._cancelled = cancelled

    @property
    def cancelled(self) -> bool:
        """Return whether nobody waits any more; long work should look here and stop."""
        return self._cancelled()


Outputs = Mapping[str, bytes | str | Data | dict[str, Any] | list[Any]]


class Wrapper:
    """A model as a service. Subclass it, declare its API, write `once`, `session` or both.

    `service` is the id in the URL; `total` how many requests one process works on at a time, and
    `queue` how many more may wait for their turn there (None: as many again, at least a few);
    `deadline` seconds per request (None: the gateway's default); `idempotent` says that running
    a request twice does no harm, so that it may be sent again when a loader dies.
    """

    service: ClassVar[str] = ""
    version: ClassVar[str] = "v1"
    total: ClassVar[int] = 1
    queue: ClassVar[int | None] = None
    deadline: ClassVar[float | None] = None
    idempotent: ClassVar[bool] = False

    def init(self, config: Mapping[str, str]) -> None:
        """Load the model; the loader reports itself only after this returned."""

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs | Awaitable[Outputs]:
        """Answer one request; may be `async def`.

        `params` has every declared parameter, read and with its default. Return outputs by their
        declared names: bytes, text, `Data`, or a dict or list that becomes JSON. Raise `Refused`
        for input that cannot be worked on.
        """
        # One of `once` and `session` is enough, so neither can be abstract. A class with neither is
        # refused before it is served (declare.py), and the engine answers 10004 where this one is
        # missing: it is reached only by who calls it by hand, and tells them.
        raise NotImplementedError(f"{type(self).__name__} needs a method once")

    def session(
        self, params: Mapping[str, Any], inputs: AsyncIterator[Mapping[str, Data]]
    ) -> AsyncIterable[Outputs] | Iterable[Outputs]:
        """Answer a stream of inputs, frame by frame, with a stream of outputs as they come.

        An async generator, or a plain one, which runs in a thread and gets a plain iterator. It may
        end before the inputs do. A third parameter gets the `Context`. Raise `Refused` as in
        `once`; without a `session`, `once` is handed the frames joined.
        """
        # As in `once`: never reached by a loader, which hands the frames to `once` then.
        raise NotImplementedError(f"{type(self).__name__} needs a method session")

    def fini(self) -> None:
        """Let the model go; nothing is asked of it any more."""
