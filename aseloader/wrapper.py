"""The base class of a model service, and the values that the loader passes to it.

`aseloader.engine` calls `once` and `batch`, `aseloader.sessions` calls `session`. Pure: no I/O, no
clock.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

_MAX_UNITS: Final = 2**53


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
    - `usage(...)`: says what the request used, such as tokens.
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
        self._units: deque[tuple[str, int]] = deque()

    def usage(self, **units: int) -> None:
        """Add to what the request or session has used, as `asectl usage` sums it up.

            context.usage(tokens=17)

        It may be called any number of times, from any thread, before the result is returned or,
        in a session, yielded. Raises ValueError for a value that is not a whole number from 0 on.
        """
        for name, amount in units.items():
            if type(amount) is not int or not 0 <= amount <= _MAX_UNITS:
                raise ValueError(f"usage: {name} must be a whole number from 0 on")
            self._units.append((name, amount))

    def take_usage(self) -> dict[str, int]:
        """Return what was used since the last call; the loader sends it with a result."""
        units: dict[str, int] = {}
        while self._units:
            name, amount = self._units.popleft()
            units[name] = units.get(name, 0) + amount
        return units

    @property
    def cancelled(self) -> bool:
        """Return whether the caller has gone or the deadline has passed.

        The result is then no longer used, so long work should stop.
        """
        return self._cancelled()


# Bytes, text, Data, and whatever an Output of kind json or image takes: see `aseloader.fields`.
Outputs = Mapping[str, Any]


class Wrapper:
    """Base class of a model service: declare the API, write `once`, `session` or `batch`.

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
    - `total`: how many requests and sessions one process works on at a time; with `batch`, how many
      batches.
    - `processes`: how many processes run the wrapper, each with an instance and a `total` of its
      own. The loader's process then only takes and forwards requests (`docs/loader.md`).
    - `queue`: how many more requests may wait in the loader. None: 0 for a class with `session`;
      else as many as it works on, or 16 // `total` if that is more
      (`lb.reporter.limiter.default_queue_size`).
    - `deadline`: seconds for a request or a whole session. None: the gateway's default.
    - `idempotent`: running a request twice does no harm, so the gateway may send it again when a
      loader is lost.
    - `max_batch`: the most requests of a batch.
    - `max_wait_ms`: how long a request may wait for others to join its batch while the loader could
      start it, in milliseconds. The loader waits less, or not at all, if that is not worth it
      (`docs/loader.md`).
    - `batch_by`: names of parameters that all requests of a batch have in common.

    The loader creates one instance per process, calls `init`, serves, drains and calls `fini`. A
    plain method runs in threads, up to `total` at a time on the same instance. An `async` one runs
    in the event loop, which it must not block. The class has one of these methods, or the first
    two; each may omit its last parameter:

    `once(self, params, inputs, context)` processes one request and returns its outputs. `params`
    has every declared parameter, parsed; an absent one has its default. `inputs` has the payloads
    by their declared names, each a `Data`, `context` is a `Context`. Return the outputs by their
    declared names, each as bytes, text, `Data`, or a dict or list, which is sent as JSON:

        return {"counts": {"cat": 2}, "thumbnail": Data(png, {"encoding": "png"})}

    An `async def once` is cancelled when its caller goes. Raise `Refused` for an input that cannot
    be processed. Any other exception is logged, and the client gets code 10908.

    `session(self, params, inputs, context)` processes a stream of frames and yields outputs as soon
    as they are ready. Write an async generator, or a plain one, which runs in a thread and gets a
    plain iterator:

        async def session(self, params, inputs):
            async for frame in inputs:  # a mapping of Data by input name
                yield {"segment": find(frame["audio"].data)}

    It may end before the inputs do. `params` is that of the first frame. If a class has no
    `session`, the loader joins the frames of a session and processes them as one request.

    `batch(self, params, inputs, contexts)` processes up to `max_batch` requests at once. Each
    argument is a list with one item per request, as `once` gets it. Return a list in the same
    order, each item the outputs of a request, or an exception for that request alone:

        def batch(self, params, inputs, contexts):
            labels = self.model.predict([request["text"].data.decode() for request in inputs])
            return [{"label": label} for label in labels]

    If it raises for more than one request, the loader calls it again for each of them alone, so
    that one bad input fails only its own request.
    """

    service: ClassVar[str] = ""
    version: ClassVar[str] = "v1"
    total: ClassVar[int] = 1
    processes: ClassVar[int] = 1
    queue: ClassVar[int | None] = None
    deadline: ClassVar[float | None] = None
    idempotent: ClassVar[bool] = False
    max_batch: ClassVar[int] = 32
    max_wait_ms: ClassVar[float] = 5.0
    batch_by: ClassVar[tuple[str, ...]] = ()

    def init(self, config: Mapping[str, str]) -> None:
        """Load the model. The loader opens its port and reports to the hubs only after this.

        `config` holds the `--set KEY=VALUE` options of `asectl`. If this raises, the loader prints
        the traceback and exits.
        """

    def fini(self) -> None:
        """Release the model. The loader calls it last, when no request or session runs."""
