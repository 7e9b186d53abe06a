"""A function with annotations as a service: `@service("words") def words(text: str) -> ...`.

The annotations become the declarations of a wrapper class. Pure: no I/O, no clock.
"""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from aseloader.declare import DeclarationError
from aseloader.fields import (
    Boolean,
    Choice,
    Input,
    Integer,
    Number,
    Object,
    Output,
    Parameter,
    String,
)
from aseloader.types.json_values import is_class_of
from aseloader.wrapper import Context, Wrapper

F = TypeVar("F", bound=Callable[..., Any])

_WRAPPER_ATTRIBUTE: Final = "__ase_wrapper__"
_METHOD_NAMES: Final = ("once", "session", "batch")
_SIMPLE_PARAMETERS: Final[dict[Any, type[Parameter]]] = {
    bool: Boolean, int: Integer, float: Number, str: String,
}  # fmt: skip


def service(name: str, *, output: str = "result", **attributes: Any) -> Callable[[F], F]:
    """Make a function a service with the id `name`. Start it with `asectl up FILE:FUNCTION`.

        @service("words", output="counts", total=2)
        def words(text: str, top: int = 3) -> dict[str, int]:
            return dict(Counter(text.split()).most_common(top))

    Its arguments become the API, the first paragraph of its docstring the description:

    - `str` without a default is an input of kind text, `bytes` of kind other, `PIL.Image.Image` of
      kind image. Any other type without a default that is no number, bool or Literal is an input of
      kind json.
    - The others are parameters: `int`, `float`, `bool`, `Literal["a", "b"]`, and `str` with a
      default. With a default, a dataclass, TypedDict or dict is a parameter too.
    - `Annotated[int, Integer(1, 20)]` states any declaration of `aseloader.fields` instead.
    - `Context` is the context of the request.

    The result is one output, named `output`: `str` of kind text, `bytes` of kind other, a picture
    of kind image, anything else of kind json. `attributes` are class attributes of `Wrapper`. With
    `max_batch` the function processes batches: each argument is a list, annotated `list[str]` and
    so on, and it returns a list.

    The function itself stays as it is. Raises DeclarationError for a signature that is no API.
    """

    def decorate(function: F) -> F:
        wrapper = _wrapper_class(function, name, output, attributes)
        setattr(function, _WRAPPER_ATTRIBUTE, wrapper)
        return function

    return decorate


def wrapper_class_of(value: object) -> type[Wrapper] | None:
    """Return the wrapper class that `value` is or was made a service of; None if it is neither."""
    if isinstance(value, type):
        return value if issubclass(value, Wrapper) and value is not Wrapper else None
    wrapper = getattr(value, _WRAPPER_ATTRIBUTE, None)
    return wrapper if isinstance(wrapper, type) and issubclass(wrapper, Wrapper) else None


def _wrapper_class(
    function: Callable[..., Any], name: str, output: str, attributes: Mapping[str, Any]
) -> type[Wrapper]:
    location = f"{inspect.getsourcefile(function)}:{function.__code__.co_firstlineno}"
    location = f"{location}: {function.__name__}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(f"{location}: a stream of outputs needs a Wrapper with `session`")
    is_batch = "max_batch" in attributes
    fields: dict[str, Any] = {}
    context_name = ""
    hints = get_type_hints(function, include_extras=True)
    for argument in inspect.signature(function).parameters.values():
        where = f"{location}: `{argument.name}`"
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise DeclarationError(f"{where}: an argument must be given by its name")
        declared_type = _declared_type(hints, argument.name, where, is_batch=is_batch)
        if declared_type is Context:
            context_name = argument.name
            continue
        try:
            fields[argument.name] = _declare_argument(declared_type, argument)
        except (TypeError, ValueError) as error:
            raise DeclarationError(f"{where}: {error}") from error
    result_type = _declared_type(hints, "return", f"{location}: the result", is_batch=is_batch)
    clash = next((n for n in (*fields, output) if n in _METHOD_NAMES or n in vars(Wrapper)), None)
    if clash is not None or output in fields:
        message = f"the name {clash or output!r} is taken; rename the argument or `output`"
        raise DeclarationError(f"{location}: {message}")
    names = {field.name or attribute: attribute for attribute, field in fields.items()}
    fields[output] = _declare_result(result_type)
    unknown = sorted(set(attributes) - set(Wrapper.__annotations__))
    if unknown:
        raise DeclarationError(f"{location}: {unknown[0]!r} is no attribute of a Wrapper")
    call = _Call(function, names, output, context_name)
    methods = _methods(call, is_async=inspect.iscoroutinefunction(function), is_batch=is_batch)
    members = {"service": name, "__doc__": function.__doc__, **attributes, **fields, **methods}
    return type(function.__name__, (Wrapper,), {"__module__": function.__module__, **members})


def _declared_type(hints: Mapping[str, Any], name: str, where: str, *, is_batch: bool) -> Any:
    """Return the type of one value: that of an item if the function gets lists."""
    if name not in hints:
        hint = "write `text: str`, `top: int = 3`, and `-> dict[str, int]`"
        raise DeclarationError(f"{where} has no annotation: {hint}")
    declared_type = hints[name]
    if not is_batch:
        return declared_type
    if get_origin(declared_type) not in (list, Sequence):
        hint = "with `max_batch` every argument and the result is a list"
        raise DeclarationError(f"{where}: {hint}: `list[{_type_name(declared_type)}]`")
    return get_args(declared_type)[0]


def _declare_argument(declared_type: Any, argument: inspect.Parameter) -> Parameter | Input:
    """Return the declaration of an argument. Raises TypeError or ValueError if it has none."""
    has_default = argument.default is not inspect.Parameter.empty
    default = argument.default if has_default else None
    declared, declared_type = _split_annotated(declared_type, (Parameter, Input))
    if isinstance(declared, Input):
        declared = declared.typed(_without_none(declared_type))
        declared.required = declared.required and not has_default
        return declared
    if isinstance(declared, Parameter):
        if has_default:
            declared.default = default
        declared.required = declared.default is None and not has_default
        return declared
    bare_type = _without_none(declared_type)
    arguments: dict[str, Any] = {"default": default, "required": not has_default}
    if get_origin(bare_type) is Literal:
        if not all(isinstance(choice, str) for choice in get_args(bare_type)):
            raise TypeError("a Literal has texts alone; state numbers by Integer(minimum, maximum)")
        return Choice(*get_args(bare_type), **arguments)
    if bare_type in _SIMPLE_PARAMETERS and (has_default or bare_type is not str):
        return _SIMPLE_PARAMETERS[bare_type](**arguments)
    if has_default and default is not None:
        return Object(bare_type, **arguments)
    return Input(_payload_kind(bare_type), type=bare_type, required=not has_default)


def _declare_result(declared_type: Any) -> Output:
    declared, declared_type = _split_annotated(declared_type, (Output,))
    if isinstance(declared, Output):
        return declared.typed(declared_type)
    kind = _payload_kind(declared_type)
    return Output(kind, type=declared_type if kind == "json" else None)


def _payload_kind(declared_type: Any) -> str:
    if declared_type is str:
        return "text"
    if declared_type is bytes:
        return "other"
    return "image" if is_class_of(declared_type, "PIL.Image", "Image") else "json"


def _split_annotated(declared_type: Any, classes: tuple[type, ...]) -> tuple[Any, Any]:
    """Return a copy of the declaration in `Annotated`, None without one, and the type."""
    if get_origin(declared_type) is not Annotated:
        return None, declared_type
    plain_type, *annotations = get_args(declared_type)
    declared = next((copy.copy(a) for a in annotations if isinstance(a, classes)), None)
    return declared, plain_type if declared is not None else declared_type


def _without_none(declared_type: Any) -> Any:
    """Return X for `X | None`, and any other type as it is."""
    if get_origin(declared_type) not in (Union, UnionType):
        return declared_type
    others = [member for member in get_args(declared_type) if member is not NoneType]
    return others[0] if len(others) == 1 else declared_type


class _Call:
    """How a function is called for requests.

    `names` has the argument of each parameter and input, by its name in the API. `context_name` is
    the argument for the context, "" without one. The result becomes the output `output`.
    """

    def __init__(
        self, function: Callable[..., Any], names: Mapping[str, str], output: str, context_name: str
    ) -> None:
        self.function = function
        self._names = names
        self._output = output
        self._context_name = context_name

    def arguments(self, params: Any, inputs: Any, context: Context) -> dict[str, Any]:
        """Return the arguments for one request; an absent optional input keeps its default."""
        values = {self._names[name]: value for name, value in {**params, **inputs}.items()}
        return values | ({self._context_name: context} if self._context_name else {})

    def columns(
        self, params: Sequence[Any], inputs: Sequence[Any], contexts: Sequence[Context]
    ) -> dict[str, list[Any]]:
        """Return the arguments for a batch: lists with an item for each request, None if absent."""
        rows = [{**p, **i} for p, i in zip(params, inputs, strict=True)]
        columns = {self._names[name]: [row.get(name) for row in rows] for name in self._names}
        return columns | ({self._context_name: [*contexts]} if self._context_name else {})

    def outputs(self, result: Any) -> dict[str, Any]:
        """Return the outputs of one request."""
        return {self._output: result}

    def outputs_of_batch(self, results: Any) -> list[Any]:
        """Return the outputs of each request of a batch; an exception stays as it is."""
        return [r if isinstance(r, BaseException) else self.outputs(r) for r in results]


def _methods(call: _Call, *, is_async: bool, is_batch: bool) -> dict[str, Any]:
    """Return the method that calls the function, by its name."""

    def once(_: Wrapper, params: Any, inputs: Any, context: Context) -> dict[str, Any]:
        return call.outputs(call.function(**call.arguments(params, inputs, context)))

    async def once_async(_: Wrapper, params: Any, inputs: Any, context: Context) -> dict[str, Any]:
        return call.outputs(await call.function(**call.arguments(params, inputs, context)))

    def batch(_: Wrapper, params: Any, inputs: Any, contexts: Any) -> list[Any]:
        return call.outputs_of_batch(call.function(**call.columns(params, inputs, contexts)))

    async def batch_async(_: Wrapper, params: Any, inputs: Any, contexts: Any) -> list[Any]:
        return call.outputs_of_batch(await call.function(**call.columns(params, inputs, contexts)))

    if is_batch:
        return {"batch": batch_async if is_async else batch}
    return {"once": once_async if is_async else once}


def _type_name(declared_type: Any) -> str:
    return getattr(declared_type, "__name__", str(declared_type))
