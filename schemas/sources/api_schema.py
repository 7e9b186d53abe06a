"""Conversion between `kind: ApiSchema`, the YAML form of an API, and a declaration. Pure.

The form comes from the design document of asectl. Its misspelled keys `paramters`, `palyload`,
`vedio` and `configFilname` are accepted as input; the output has the correct spelling. A parameter
of type object becomes a string that contains JSON, because on the wire an object under `parameter`
declares an expected output.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.model.document import DocumentError, Problem
from schemas.model.service import SERVICE_ID, SERVICE_ID_RULE, DataType
from schemas.model.suggestion import did_you_mean
from schemas.sources import from_document
from schemas.sources.declare import MAX_BYTES, Declaration, Param, PayloadStream
from schemas.validation.request_validator import RequestValidator

API_VERSION, KIND = "iflytek.com/v1alpha1", "ApiSchema"

_Path = tuple[str | int, ...]

# Canonical keys, each with the aliases that are accepted for it.
_ALIASES = {
    "parameters": ("paramters",),
    "payload": ("palyload",),
    "configFilename": ("configFilname",),
}
# Keys of `metadata` that are kept unchanged as annotations.
_ANNOTATION_KEYS = ("name", "group", "region", "projectName", "configFilename", "creationTimestamp")
_METADATA_KEYS = (
    *_ANNOTATION_KEYS, "serviceName", "version", "sub", "description", "deadline", "idempotent",
    "streams",
)  # fmt: skip
_STREAM_KEYS = (
    "type", "encoding", "compress", "format", "raw", "description", "maxBytes", "contentFormat",
)  # fmt: skip
_JSON_COMMENT_KEY = "JSON"
# Members of a document's `meta` that the nick, named after the service id, must not overwrite.
_RESERVED_SERVICE_IDS = frozenset({
    "serviceId", "version", "service", "route", "sub", "description", "session_timeout",
    "idempotent", "about", "hosts", "call", "codeMap", "subRoute", "routeKey", "type",
})  # fmt: skip


def declaration_from_api_schema(tree: object) -> Declaration:
    """Return the declaration that the ApiSchema `tree` describes.

    Raises DocumentError with every problem and its path.
    """
    return _ApiSchemaReader().read_declaration(tree)


class _ApiSchemaReader:
    """Reads one ApiSchema and collects its problems, so that one error reports all of them."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def read_declaration(self, tree: object) -> Declaration:
        root = self._read_object(tree, (), ("apiVersion", "kind", "metadata", "spec"))
        if root.get("kind") != KIND:
            self._add_problem(("kind",), f"must be {KIND}")
        if root.get("apiVersion") != API_VERSION:
            self._add_problem(("apiVersion",), f"must be {API_VERSION}")
        metadata = self._read_object(root.get("metadata"), ("metadata",), _METADATA_KEYS)
        spec = self._read_object(root.get("spec"), ("spec",), ("request", "response"))
        request_path = ("spec", "request")
        request = self._read_object(spec.get("request"), request_path, ("parameters", "payload"))
        response = self._read_object(
            spec.get("response"), ("spec", "response"), ("payload",), optional=True
        )
        parameters_path = (
            *request_path,
            self._find_spelling(tree, request_path, "parameters"),
        )
        payload_path = (*request_path, self._find_spelling(tree, request_path, "payload"))
        api = Declaration(
            id=self._read_string(metadata, "serviceName", required=True),
            version=self._read_string(metadata, "version") or "v1",
            sub=self._read_string(metadata, "sub") or "ase",
            description=self._read_string(metadata, "description"),
            deadline=self._read_seconds(metadata),
            idempotent=self._read_bool(metadata, "idempotent"),
            streaming=self._read_bool(metadata, "streams"),
            params=tuple(self._read_params(request, parameters_path)),
            inputs=tuple(self._read_streams(request, payload_path)),
            outputs=tuple(self._read_outputs(response, tree)),
            annotations={
                name: metadata[name] for name in _ANNOTATION_KEYS if metadata.get(name) is not None
            },
        )
        for name in sorted({p.name for p in api.params} & {s.name for s in api.outputs}):
            message = f"{name!r} is a parameter and an output: on the wire they are one name"
            self._add_problem((*parameters_path, "properties", name), message)
        if api.id and not SERVICE_ID.fullmatch(api.id):
            self._add_problem(("metadata", "serviceName"), SERVICE_ID_RULE)
        if api.id in _RESERVED_SERVICE_IDS:
            self._add_problem(
                ("metadata", "serviceName"), f"{api.id!r} is a word of the document itself"
            )
        if self._problems:
            raise DocumentError(self._problems)
        return api

    def _read_outputs(self, response: Mapping[str, Any], tree: object) -> Iterator[PayloadStream]:
        path = ("spec", "response")
        streams = self._read_streams(response, (*path, self._find_spelling(tree, path, "payload")))
        for stream in streams:
            yield PayloadStream(
                stream.name,
                stream.data_type,
                stream.encodings,
                stream.format,
                formats=stream.formats,
                compress=stream.compress,
                description=stream.description,
            )

    def _add_problem(self, path: _Path, message: str, hint: str = "") -> None:
        self._problems.append(Problem(path, message, hint))

    def _read_object(
        self, value: object, path: _Path, allowed_keys: tuple[str, ...], *, optional: bool = False
    ) -> dict[str, Any]:
        """Return the object `value` with its aliases replaced by canonical keys.

        Keys that are not in `allowed_keys` are problems; an empty `allowed_keys` permits any key.
        """
        if value is None and optional:
            return {}
        if not isinstance(value, Mapping):
            self._add_problem(path, "must be an object" if value is not None else "is missing")
            return {}
        canonical_by_alias = {
            alias: canonical
            for canonical, alternatives in _ALIASES.items()
            for alias in alternatives
        }
        applicable_aliases = {
            alias: canonical
            for alias, canonical in canonical_by_alias.items()
            if canonical in allowed_keys
        }
        result: dict[str, Any] = {}
        for key, member_value in value.items():
            name = applicable_aliases.get(str(key), str(key))
            if allowed_keys and name not in allowed_keys:
                hint = did_you_mean(str(key), allowed_keys, or_list_all=True)
                self._add_problem((*path, str(key)), f"unknown key {key!r}", hint)
            elif name in result:
                self._add_problem((*path, str(key)), f"{name!r} occurs twice")
            else:
                result[name] = member_value
        return result

    def _find_spelling(self, tree: object, path: tuple[str, ...], canonical: str) -> str:
        """Return the spelling of the key `canonical` in the object at `path`, for problem paths."""
        for name in path:
            tree = tree.get(name) if isinstance(tree, Mapping) else None
        spellings = [
            spelling
            for spelling in (canonical, *_ALIASES[canonical])
            if isinstance(tree, Mapping) and spelling in tree
        ]
        return spellings[0] if spellings else canonical

    def _read_string(self, metadata: Mapping[str, Any], key: str, *, required: bool = False) -> str:
        value: object = metadata.get(key)
        if value is None or value == "":
            if required:
                self._add_problem(("metadata", key), "is missing")
            return ""
        if not isinstance(value, str):
            self._add_problem(("metadata", key), "must be a text", 'write it in quotes: "1.0"')
            return ""
        return value

    def _read_bool(self, metadata: Mapping[str, Any], key: str) -> bool:
        value = metadata.get(key, False)
        if not isinstance(value, bool):
            self._add_problem(("metadata", key), "must be true or false")
        return value is True

    def _read_seconds(self, metadata: Mapping[str, Any]) -> float | None:
        value: object = metadata.get("deadline")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86400:
            message = "must be a number of seconds, more than 0 and less than a day"
            self._add_problem(("metadata", "deadline"), message)
            return None
        return float(value)

    def _read_properties(
        self, parent: Mapping[str, Any], path: _Path
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the `properties` and the `required` names of a section of `parent`.

        The last name in `path` selects the section: payload or parameters.
        """
        section_name = "payload" if path[-1] in ("payload", *_ALIASES["payload"]) else "parameters"
        section = self._read_object(
            parent.get(section_name), path, ("properties", "required"), optional=True
        )
        properties = self._read_object(
            section.get("properties"), (*path, "properties"), (), optional=True
        )
        required = section.get("required") or []
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            self._add_problem((*path, "required"), "must be a list of names")
            return properties, ()
        for index, name in enumerate(required):
            if name not in properties:
                message = f"{name!r} is not in properties"
                hint = did_you_mean(name, properties)
                self._add_problem((*path, "required", index), message, hint)
        return properties, tuple(required)

    def _read_params(self, request: Mapping[str, Any], path: _Path) -> Iterator[Param]:
        properties, required = self._read_properties(request, path)
        for name, rules in properties.items():
            property_path = (*path, "properties", name)
            if not isinstance(rules, Mapping):
                self._add_problem(property_path, "must be an object (the rules of a parameter)")
                continue
            try:
                RequestValidator({"properties": {name: rules}}, property_path[:-2])
            except DocumentError as error:
                self._problems += error.problems
            param_rules = (
                _json_string_rules(rules) if rules.get("type") == "object" else dict(rules)
            )
            yield Param(name, param_rules, name in required)

    def _read_streams(self, parent: Mapping[str, Any], path: _Path) -> Iterator[PayloadStream]:
        properties, required = self._read_properties(parent, path)
        for name, value in properties.items():
            property_path = (*path, "properties", name)
            rules = self._read_object(value, property_path, _STREAM_KEYS)
            format_name = str(rules.get("format") or "")
            data_type = from_document.data_type_of(str(rules.get("type", "")), format_name)
            if data_type is None:
                message = "must be text, audio, image, video, other or base64"
                hint = did_you_mean(
                    str(rules.get("type", "")), (data_type.key for data_type in DataType)
                )
                self._add_problem((*property_path, "type"), message, hint)
                continue
            yield PayloadStream(
                name,
                data_type,
                _as_string_tuple(rules.get("encoding")),
                format=str(rules.get("contentFormat") or ""),
                max_bytes=self._read_max_bytes(rules, property_path),
                required=name in required,
                formats=_as_string_tuple(rules.get("format")),
                compress=_as_string_tuple(rules.get("compress")),
                description=str(rules.get("description") or ""),
            )

    def _read_max_bytes(self, rules: Mapping[str, Any], path: _Path) -> int:
        max_bytes = rules.get("maxBytes", MAX_BYTES)
        if isinstance(max_bytes, int) and not isinstance(max_bytes, bool) and max_bytes > 0:
            return max_bytes
        self._add_problem((*path, "maxBytes"), "must be a number of bytes, more than 0")
        return MAX_BYTES


def _json_string_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of a string that contains JSON, with its own rules kept as a comment."""
    string_rules = {"type": "string", "comment": {_JSON_COMMENT_KEY: dict(rules)}}
    if "description" in rules:
        string_rules["description"] = rules["description"]
    return string_rules


def _as_string_tuple(value: object) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def declaration_to_api_schema(api: Declaration) -> dict[str, Any]:
    """Return the ApiSchema of `api`, with canonical keys.

    `declaration_from_api_schema` converts the result back to an equal declaration.
    """
    annotations = dict(api.annotations)
    metadata = {
        "name": annotations.pop("name", api.id),
        "serviceName": api.id,
        "version": api.version,
    }
    metadata |= {"sub": api.sub} if api.sub != "ase" else {}
    metadata |= {"description": api.description} if api.description else {}
    metadata |= {"deadline": api.deadline} if api.deadline is not None else {}
    metadata |= {"idempotent": True} if api.idempotent else {}
    metadata |= {"streams": True} if api.streaming else {}
    request = {
        "parameters": _properties_section(
            [(p.name, _api_schema_param(p.rules), p.required) for p in api.params]
        ),
        "payload": _properties_section(
            [(s.name, _api_schema_stream(s), s.required) for s in api.inputs]
        ),
    }
    response = {
        "payload": _properties_section(
            [(s.name, _api_schema_stream(s), False) for s in api.outputs]
        )
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {**metadata, **annotations},
        "spec": {"request": request, "response": response},
    }


def _properties_section(members: list[tuple[str, dict[str, Any], bool]]) -> dict[str, Any]:
    required = [name for name, _, is_required in members if is_required]
    section: dict[str, Any] = {"properties": {name: rules for name, rules, _ in members}}
    return section | ({"required": required} if required else {})


def _api_schema_param(rules: Mapping[str, Any]) -> dict[str, Any]:
    comment = rules.get("comment")
    if isinstance(comment, Mapping) and isinstance(comment.get(_JSON_COMMENT_KEY), Mapping):
        return dict(comment[_JSON_COMMENT_KEY])
    return dict(rules)


def _api_schema_stream(stream: PayloadStream) -> dict[str, Any]:
    attributes = {
        "encoding": stream.encodings,
        "compress": stream.compress,
        "format": stream.formats,
    }
    rules: dict[str, Any] = {"type": stream.data_type.key}
    rules |= {k: v[0] if len(v) == 1 else list(v) for k, v in attributes.items() if v}
    rules |= {"contentFormat": stream.format} if stream.format else {}
    rules |= {"maxBytes": stream.max_bytes} if stream.max_bytes != MAX_BYTES else {}
    return rules | ({"description": stream.description} if stream.description else {})
