"""Schema documents as they occur: every kind of header, parameters and payloads, for properties."""

from typing import Any

from hypothesis import strategies as st

HEADER_MEMBERS = {
    "app_id": {"type": "string", "maxLength": 50},
    "appid": {"type": "string", "maxLength": 50},
    "uid": {"type": "string", "maxLength": 50},
    "device.imei": {"type": "string", "maxLength": 50},
    "net_type": {"type": "string", "enum": ["wifi", "5G"]},
    "request_id": {"type": "string", "minLength": 0, "maxLength": 64},
    "patch_id": {"type": "array", "items": {"type": "string", "maxLength": 64}},
}
STATUSES = ([3], [0, 1, 2, 3], [0, 1, 2])
VALUES: tuple[dict[str, Any], ...] = (
    {"type": "string", "maxLength": 1024},
    {"type": "string", "minLength": 7},
    {"type": "string", "enum": [None, "create", "close"]},
    {"type": "string", "pattern": "^[a-f]{4}$"},
    {"type": "integer", "minimum": 3, "maximum": 9},
    {"type": "number", "exclusiveMinimum": 0.5},
    {"type": "boolean"},
    {"type": "integer", "default": None, "enum": [4, 5]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 2},
    {"type": "object", "properties": {"status": {"type": "integer", "enum": [7, 3]}}},
)


@st.composite
def object_schemas(draw: st.DrawFn, members: dict[str, Any]) -> dict[str, Any]:
    """An object with some of `members`, of which some are required; closed or open."""
    names = draw(st.lists(st.sampled_from(sorted(members)), unique=True)) if members else []
    schema: dict[str, Any] = {"type": "object", "properties": {n: members[n] for n in names}}
    if names and draw(st.booleans()):
        schema["required"] = draw(st.lists(st.sampled_from(names), unique=True))
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.booleans())
    return schema


@st.composite
def payload_schemas(draw: st.DrawFn, data_key: str) -> dict[str, Any]:
    data = {"type": "string"} | draw(
        st.sampled_from(
            [
                {"minLength": 1, "maxLength": 10485760},
                {"minLength": 200},
                {"maxLength": 8},
                {"maxB64DLen": 4},
                {"minB64DLen": 99, "maxB64DLen": 100},
                {},
            ]
        )
    )
    status = {"type": "integer", "enum": draw(st.sampled_from(STATUSES))}
    attributes = {"encoding": {"type": "string", "enum": ["utf8", "gb2312"]}, "status": status}
    schema = draw(object_schemas(attributes))
    schema["properties"] = schema["properties"] | {data_key: data}
    return schema


@st.composite
def schema_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document whose schema accepts some request that gives an app id."""
    statuses = draw(st.sampled_from([*STATUSES, None]))
    header_members: dict[str, Any] = dict(HEADER_MEMBERS)
    if statuses is not None:
        header_members["status"] = {"type": "integer", "enum": statuses}
    data_types = draw(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(["text", "audio", "image"]))
    )
    nick = {"input": {name: {"dataType": data_types[name]} for name in data_types}, "accept": {}}
    parameters = {f"p{index}": value for index, value in enumerate(VALUES)}
    sections: dict[str, Any] = {
        "header": draw(object_schemas(header_members)),
        "parameter": draw(object_schemas({"nick": draw(object_schemas(parameters))})),
        "payload": draw(
            object_schemas({n: draw(payload_schemas(key)) for n, key in data_types.items()})
        ),
    }
    return {
        "meta": {"serviceId": "probe", "service": ["nick"], "nick": nick},
        "schemainput": draw(object_schemas(sections)),
        "schemaoutput": {},
    }
