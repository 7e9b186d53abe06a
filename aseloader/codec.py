"""Conversion between the loader's frames and the values that a wrapper receives and returns.

Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from typing import Any

from aseloader.declare import members
from aseloader.fields import Input, Output, Parameter
from aseloader.types.json_values import to_json
from aseloader.types.payloads import UnknownEncodingError, payload_bytes
from aseloader.wrapper import Data, Outputs, Wrapper
from schemas.model.errors import BAD_OUTPUT, INPUT_REFUSED, AseError
from schemas.model.service import DataType
from schemas.model.text import as_text
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

# The request's own description of each output, by name.
Expected = Mapping[str, MetaDesc]


class Codec:
    """Decoder and encoder of frames for the declarations of one wrapper class."""

    def __init__(self, wrapper: type[Wrapper]) -> None:
        self._params: dict[str, Parameter] = members(wrapper, Parameter)
        self._inputs: dict[str, Input] = members(wrapper, Input)
        self._outputs: dict[str, Output] = members(wrapper, Output)

    def decode_params(self, frame: LoaderInput) -> dict[str, Any]:
        """Return every declared parameter by name; an absent one has its default.

        Raises AseError 10107, naming the parameter, if a required one is missing or if the text of
        one cannot be parsed.
        """
        params: dict[str, Any] = {}
        for name, parameter in self._params.items():
            text = frame.params.get(name)
            is_absent = text is None or (not text and not parameter.may_be_empty)
            if is_absent and parameter.required:
                raise AseError(INPUT_REFUSED, f"parameter {name!r} is missing")
            try:
                value = parameter.absent_value() if is_absent else parameter.parse(text or "")
            except ValueError:
                raise AseError(INPUT_REFUSED, f"parameter {name!r} cannot be read") from None
            params[name] = value
        return params

    def convert_inputs(self, inputs: Mapping[str, Data]) -> dict[str, Any]:
        """Return the inputs as values of their declared types.

        Raises AseError 10107, naming the input, if its bytes are no such value.
        """
        values: dict[str, Any] = {}
        for name, data in inputs.items():
            try:
                values[name] = self._inputs[name].read(data)
            except ValueError as error:
                raise AseError(INPUT_REFUSED, f"input {name!r} {error}") from None
        return values

    def decode_inputs(self, frame: LoaderInput) -> dict[str, Data]:
        """Return the inputs of a frame by name.

        Raises AseError 10107 if an input is not declared or has another kind than declared.
        """
        inputs: dict[str, Data] = {}
        for payload in frame.pl:
            name = payload.meta.name
            declared = self._inputs.get(name)
            if declared is None or payload.meta.dataType != declared.kind:
                raise AseError(INPUT_REFUSED, f"input {name!r} is not declared")
            inputs[name] = Data(payload.data, dict(payload.meta.attribute))
        return inputs

    def check_required_inputs(self, inputs: Mapping[str, Data]) -> None:
        """Raise AseError 10107 if a required input is missing."""
        for name, declared in self._inputs.items():
            if declared.required and name not in inputs:
                raise AseError(INPUT_REFUSED, f"input {name!r} is missing")

    def encode_response(self, outputs: Any, expected: Expected) -> list[Payload]:
        """Return the outputs of a single request. Raises AseError 10106, as `encode_outputs`."""
        if not isinstance(outputs, Mapping):
            message = f"must return a mapping of outputs by name, not {type(outputs).__name__}"
            raise AseError(BAD_OUTPUT, f"the wrapper {message}")
        return self.encode_outputs(outputs, expected, 0, LoaderOutput.ONCE)

    def encode_outputs(
        self, outputs: Outputs, expected: Expected, seq: int, status: int
    ) -> list[Payload]:
        """Return the outputs as payloads of a frame.

        `expected` holds the request's own description of each output; its attributes are sent
        unless the output overrides them. `seq` and `status` become attributes of every payload.
        Raises AseError 10107 if the request expects a picture in an encoding that there is not,
        10106 if an output is not declared, is not in `expected`, differs from it in kind, or has a
        value of another type than `Outputs` allows.
        """
        payloads = []
        for name, value in outputs.items():
            declared, expected_meta = self._outputs.get(name), expected.get(name)
            if declared is None or expected_meta is None or expected_meta.dataType != declared.kind:
                declared_names = ", ".join(self._outputs)
                problem = f"output {name!r} is not declared, or not of its type"
                raise AseError(BAD_OUTPUT, f"{problem}; there is: {declared_names}")
            encoding = expected_meta.attribute.get("encoding", "") or next(
                iter(declared.encodings), ""
            )
            data, attributes = _encode_value(name, value, declared, encoding)
            stream_attributes = {"seq": str(seq), "status": str(status)}
            attributes = {**expected_meta.attribute, **attributes, **stream_attributes}
            meta = MetaDesc(name=name, dataType=int(declared.kind), attribute=attributes)
            payloads.append(Payload(meta=meta, data=data))
        return payloads


def error_output(service: str, code: int, message: str) -> LoaderOutput:
    """Return the final LoaderOutput that reports an error: `code` and `message`, status END."""
    message = message.encode("utf-8", "replace").decode()  # protobuf rejects lone surrogates
    return LoaderOutput(serviceId=service, code=code, err=message, status=LoaderOutput.END)


def _encode_value(
    name: str, value: Any, declared: Output, encoding: str
) -> tuple[bytes, dict[str, str]]:
    attributes = {"format": declared.format} if declared.format else {}
    default_attributes = {} if declared.kind is not DataType.TEXT else {"encoding": "utf8"}
    is_text = isinstance(value, Data | bytes) or (isinstance(value, str) and declared.is_text)
    if declared.format == "json" and not is_text:
        return _encode_json(name, value, declared), {**default_attributes, **attributes}
    try:
        encoded = payload_bytes(value, declared.kind, encoding)
    except UnknownEncodingError as error:
        raise AseError(INPUT_REFUSED, f"output {name!r} {error}") from error
    except ValueError as error:
        raise AseError(BAD_OUTPUT, f"output {name!r} {error}") from error
    if encoded is not None:
        return encoded[0], {**attributes, "encoding": encoded[1]}
    match value:
        case Data():
            value_attributes = {key: as_text(text) for key, text in value.attributes.items()}
            return value.data, attributes | value_attributes
        case bytes() | bytearray() | memoryview():
            return bytes(value), attributes
        case str():
            return value.encode(), attributes
        case None | bool() | int() | float():
            hint = "must be bytes, text, Data, a dict or a list"
            raise AseError(BAD_OUTPUT, f'output {name!r} {hint}; numbers go into an Output("json")')
    return _encode_json(name, value, declared), {**default_attributes, **attributes}


def _encode_json(name: str, value: Any, declared: Output) -> bytes:
    try:
        data = to_json(value)
    except ValueError as error:
        raise AseError(BAD_OUTPUT, f"output {name!r} {error}") from error
    if declared.json_type is not None:
        try:
            declared.json_type.load(data)
        except ValueError as error:
            raise AseError(BAD_OUTPUT, f"output {name!r} {error}") from error
    return data
