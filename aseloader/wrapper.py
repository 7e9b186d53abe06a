"""The base class of a model service, and the values that the loader passes to it.

`aseloader.engine` calls `once`, `aseloader.sessions` calls `session`. Pure: no I/O, no clock.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


class Refused(Exception):  # noqa: N818 (reads as it is raised: `raise Refused("too small")`)
    """Rejection of an input that passes the schema but that the model cannot process.

    Raise it in `once` or `session`:

        if height > 8192:
            raise Refused("the thumbnail would be more than 8192 pixels high")

    The client gets HTTP 400, or WebSocket close code 1008, with code 10107 and the message, cut to
    2048 characters. The loader neither logs it nor counts it as an error of its own.
    """


@dataclass(frozen=True, slots=True)
class Data:
    """The bytes of one payload and their attributes.

    `attributes` are strings such as `encoding`, `format` or `sample_rate`. An input has the
    attributes of the request. An output is sent with the attributes that the request expects,
    overridden by those given here:

        return {"thumbnail": Data(jpeg, {"encoding": "jpg"})}
    """

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoding(self) -> str:
        """Return the attribute `encoding`, or "" if there is none."""
        return self.attributes.get("encoding", "")


class Context:
    """The context of one request or session.

    - `sid`: the id of the request, the same in the logs of the gateway and of the loader.
    - `headers`: the header of the request's envelope with the fields that the gateway added.
    - `deadline`: the time, in seconds of `time.monotonic()`, after which the caller no longer waits
      for the result; None without a deadline.
    - `cancelled`: whether to stop early. Long work should check it:

        for step in range(steps):
            if context.cancelled:
                break
            image = denoise(image, step)

    The argument `cancelled` is called from any thread that reads the property.
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
        """Return whether the caller has gone or the deadline has passed.

        The result is then no longer used, so long work should stop.
        """
        return self._cancelled()


Outputs = Mapping[str, bytes | str | Data | dict[str, Any] | list[Any]]


class Wrapper:
    """Base class of a model service: declare the API, write `once`, `session` or both.

        class Repeat(Wrapper):
            service = "repeat"
            total = 2
            times = Integer(1, 5, default=1)
            text = Input("text", max_bytes=100_000)
            result = Output("text")

            def once(self, params, inputs, context):
                return {"result": inputs["text"].data * params["times"]}

    The first paragraph of the subclass's docstring becomes the description of the API. Parameters,
    inputs and outputs are class attributes (`aseloader.fields`). The other class attributes:

    - `service`: the id in the URL, of letters, digits, `_`, `.` and `-`, at most 128 characters.
    - `version`: the version of the API, for its schema document.
    - `total`: how many requests and sessions one process works on at a time.
    - `queue`: how many more requests may wait in the process. None: 0 for a class with `session`,
      else `total`, or 16 // `total` if that is more (`lb.reporter.limiter.default_queue_size`).
    - `deadline`: seconds for a request or a whole session. None: the gateway's default.
    - `idempotent`: running a request twice does no harm, so the gateway may send it again when a
      loader is lost.

    The loader creates one instance per process, calls `init`, serves, drains and calls `fini`. A
    plain `once` or `session` runs in threads, up to `total` at a time on the same instance.
    """

    service: ClassVar[str] = ""
    version: ClassVar[str] = "v1"
    total: ClassVar[int] = 1
    queue: ClassVar[int | None] = None
    deadline: ClassVar[float | None] = None
    idempotent: ClassVar[bool] = False

    def init(self, config: Mapping[str, str]) -> None:
        """Load the model. The loader opens its port and reports to the hubs only after this.

        `config` holds the `--set KEY=VALUE` options of `asectl`. If this raises, the loader prints
        the traceback and exits.
        """

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs | Awaitable[Outputs]:
        """Process one request and return its outputs. May be `async def`.

        `params` has every declared parameter, parsed; an absent one has its default. `inputs` has
        the payloads by their declared names. Return the outputs by their declared names, each as
        bytes, text, `Data`, or a dict or list, which is sent as JSON:

            return {"counts": {"cat": 2}, "thumbnail": Data(png, {"encoding": "png"})}

        A plain method runs in a thread. An `async` one runs in the event loop, which it must not
        block, and is cancelled when its caller goes. Raise `Refused` for an input that cannot be
        processed. Any other exception is logged, and the client gets code 10908.
        """
        # Not a stub: a class may implement `session` alone, so `once` cannot be an abstract method,
        # which would forbid creating it. The loader rejects a class with neither before it serves
        # (declare.py), and answers 10004 to a single request if only `session` is implemented
        # (engine.py). Only a direct call of a method that the author did not write, as in a unit
        # test, reaches this line. It raises what Python defines for that case (library reference,
        # "NotImplementedError": a method that derived classes are to override).
        raise NotImplementedError(f"{type(self).__name__} needs a method once")

    def session(
        self, params: Mapping[str, Any], inputs: AsyncIterator[Mapping[str, Data]]
    ) -> AsyncIterable[Outputs] | Iterable[Outputs]:
        """Process a stream of frames and yield outputs as soon as they are ready.

        Write an async generator, or a plain one, which runs in a thread and gets a plain iterator:

            async def session(self, params, inputs):
                async for frame in inputs:  # a mapping of Data by input name
                    yield {"segment": find(frame["audio"].data)}

        It may end before the inputs do. An optional third parameter receives the `Context`.
        `params` is that of the first frame. Raise `Refused` as in `once`. If a class has no
        `session`, the loader joins the frames of a session and calls `once`.
        """
        # Not a stub, as in `once`: a class may implement `once` alone. The loader then joins the
        # frames and calls that (sessions.py compares the method with this one), so it never comes
        # here; a direct call does, and learns which method is missing.
        raise NotImplementedError(f"{type(self).__name__} needs a method session")

    def fini(self) -> None:
        """Release the model. The loader calls it last, when no request or session runs."""
