"""`kind: ApiSchema`, the YAML form of an API: read into a declaration, and written. Pure.

Source: the design document of asectl (seed 001), whose `paramters`, `palyload`, `vedio` and
`configFilname` are read too; what is written has the right words. A parameter of type object is a
text that holds JSON: an object under `parameter` means an expected output on the wire.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from schemas import recall
from schemas.declare import MAX_BYTES, Declaration, Param, Stream
from schemas.document import DocumentError, Problem
from schemas.judge import Judge
from schemas.service import DataType

VERSION, KIND = "iflytek.com/v1alpha1", "ApiSchema"

_Path = tuple[str | int, ...]

# The right words, each with those that are read as it.
_ALIASES = {
    "parameters": ("paramters",),
    "payload": ("palyload",),
    "configFilename": ("configFilname",),
}
# What metadata says of itself, and is kept as it stands.
_ABOUT = ("name", "group", "region", "projectName", "configFilename", "creationTimestamp")
_METADATA = (
    *_ABOUT, "serviceName", "version", "sub", "description", "deadline", "idempotent",
    "streams",
)  # fmt: skip
_STREAM = (
    "type", "encoding", "compress", "format", "raw", "description", "maxBytes", "contentFormat",
)  # fmt: skip
_JSON_TEXT = "JSON"
# Members of a document's meta that a nick must not stand on.
_RESERVED = frozenset({
    "serviceId", "version", "service", "route", "sub", "description", "session_timeout",
    "idempotent", "about", "hosts", "call", "codeMap", "subRoute", "routeKey", "type",
})  # fmt: skip


def read(tree: object) -> Declaration:
    """Return the declaration of an ApiSchema. Raises DocumentError with every fault, by path."""
    return _Reader().api(tree)


class _Reader:
    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def api(self, tree: object) -> Declaration:
        root = self._object(tree, (), ("apiVersion", "kind", "metadata", "spec"))
        if root.get("kind") != KIND:
            self._tell(("kind",), f"must be {KIND}")
        if root.get("apiVersion") != VERSION:
            self._tell(("apiVersion",), f"must be {VERSION}")
        about = self._object(root.get("metadata"), ("metadata",), _METADATA)
        spec = self._object(root.get("spec"), ("spec",), ("request", "response"))
        at = ("spec", "request")
        request = self._object(spec.get("request"), at, ("parameters", "payload"))
        response = self._object(
            spec.get("response"), ("spec", "response"), ("payload",), missing=True
        )
        api = Declaration(
            id=self._text(about, "serviceName", required=True),
            version=self._text(about, "version") or "v1",
            sub=self._text(about, "sub") or "ase",
            description=self._text(about, "description"),
            deadline=self._seconds(about),
            idempotent=self._truth(about, "idempotent"),
            streams=self._truth(about, "streams"),
            params=tuple(self._params(request, (*at, self._spelt(tree, at, "parameters")))),
            inputs=tuple(self._streams(request, (*at, self._spelt(tree, at, "payload")))),
            outputs=tuple(self._outputs(response, tree)),
            about={name: about[name] for name in _ABOUT if about.get(name) is not None},
        )
        for name in sorted({p.name for p in api.params} & {s.name for s in api.outputs}):
            words = f"{name!r} is a parameter and an output: on the wire they are one name"
            self._tell((*at, self._spelt(tree, at, "parameters"), "properties", name), words)
        if api.id in _RESERVED:
            self._tell(("metadata", "serviceName"), f"{api.id!r} is a word of the document itself")
        if self._problems:
            raise DocumentError(self._problems)
        return api

    def _outputs(self, response: Mapping[str, Any], tree: object) -> Iterator[Stream]:
        at = ("spec", "response")
        streams = self._streams(response, (*at, self._spelt(tree, at, "payload")))
        for told in streams:
            yield Stream(
                told.name,
                told.kind,
                told.encodings,
                told.format,
                formats=told.formats,
                compress=told.compress,
                description=told.description,
            )

    def _tell(self, path: _Path, message: str, hint: str = "") -> None:
        self._problems.append(Problem(path, message, hint))

    def _object(
        self, value: object, at: _Path, known: tuple[str, ...], *, missing: bool = False
    ) -> dict[str, Any]:
        """Return an object by its right words; `known` empty: any."""
        if value is None and missing:
            return {}
        if not isinstance(value, Mapping):
            self._tell(at, "must be an object" if value is not None else "is missing")
            return {}
        aliases = {wrong: word for word, others in _ALIASES.items() for wrong in others}
        right = {wrong: word for wrong, word in aliases.items() if word in known}
        found: dict[str, Any] = {}
        for key, told in value.items():
            name = right.get(str(key), str(key))
            if known and name not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                self._tell((*at, str(key)), f"unknown key {key!r}", hint)
            elif name in found:
                self._tell((*at, str(key)), f"{name!r} stands here twice")
            else:
                found[name] = told
        return found

    def _spelt(self, tree: object, at: tuple[str, ...], word: str) -> str:
        """Return how a file spells a word: that is where its faults stand."""
        for name in at:
            tree = tree.get(name) if isinstance(tree, Mapping) else None
        spellings = [w for w in (word, *_ALIASES[word]) if isinstance(tree, Mapping) and w in tree]
        return spellings[0] if spellings else word

    def _text(self, about: Mapping[str, Any], key: str, *, required: bool = False) -> str:
        value: object = about.get(key)
        if value is None or value == "":
            if required:
                self._tell(("metadata", key), "is missing")
            return ""
        if not isinstance(value, str):
            self._tell(("metadata", key), "must be a text", 'write it in quotes: "1.0"')
            return ""
        return value

    def _truth(self, about: Mapping[str, Any], key: str) -> bool:
        value = about.get(key, False)
        if not isinstance(value, bool):
            self._tell(("metadata", key), "must be true or false")
        return value is True

    def _seconds(self, about: Mapping[str, Any]) -> float | None:
        value: object = about.get("deadline")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86400:
            words = "must be a number of seconds, more than 0 and less than a day"
            self._tell(("metadata", "deadline"), words)
            return None
        return float(value)

    def _members(
        self, told: Mapping[str, Any], at: _Path
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the properties and the required names of `{properties, required}`."""
        word = "payload" if at[-1] in ("payload", *_ALIASES["payload"]) else "parameters"
        section = self._object(told.get(word), at, ("properties", "required"), missing=True)
        properties = self._object(section.get("properties"), (*at, "properties"), (), missing=True)
        required = section.get("required") or []
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            self._tell((*at, "required"), "must be a list of names")
            return properties, ()
        for index, name in enumerate(required):
            if name not in properties:
                near = difflib.get_close_matches(name, properties, n=1)
                hint = f"did you mean {near[0]!r}?" if near else ""
                self._tell((*at, "required", index), f"{name!r} is not in properties", hint)
        return properties, tuple(required)

    def _params(self, request: Mapping[str, Any], at: _Path) -> Iterator[Param]:
        properties, required = self._members(request, at)
        for name, rules in properties.items():
            where = (*at, "properties", name)
            if not isinstance(rules, Mapping):
                self._tell(where, "must be an object (the rules of a parameter)")
                continue
            try:
                Judge({"properties": {name: rules}}, where[:-2])
            except DocumentError as error:
                self._problems += error.problems
            told = _json_text(rules) if rules.get("type") == "object" else dict(rules)
            yield Param(name, told, name in required)

    def _streams(self, told: Mapping[str, Any], at: _Path) -> Iterator[Stream]:
        properties, required = self._members(told, at)
        for name, value in properties.items():
            where = (*at, "properties", name)
            rules = self._object(value, where, _STREAM)
            shape = str(rules.get("format") or "")
            kind = recall.kind_of(str(rules.get("type", "")), shape)
            if kind is None:
                words = "must be text, audio, image, video, other or base64"
                near = difflib.get_close_matches(
                    str(rules.get("type", "")), [k.key for k in DataType], n=1
                )
                hint = f"did you mean {near[0]!r}?" if near else ""
                self._tell((*where, "type"), words, hint)
                continue
            yield Stream(
                name,
                kind,
                _words(rules.get("encoding")),
                format=str(rules.get("contentFormat") or ""),
                max_bytes=self._bytes(rules, where),
                required=name in required,
                formats=_words(rules.get("format")),
                compress=_words(rules.get("compress")),
                description=str(rules.get("description") or ""),
            )

    def _bytes(self, rules: Mapping[str, Any], where: _Path) -> int:
        most = rules.get("maxBytes", MAX_BYTES)
        if isinstance(most, int) and not isinstance(most, bool) and most > 0:
            return most
        self._tell((*where, "maxBytes"), "must be a number of bytes, more than 0")
        return MAX_BYTES


def _json_text(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of a text that holds JSON; what the JSON is like is kept as a comment."""
    told = {"type": "string", "comment": {_JSON_TEXT: dict(rules)}}
    if "description" in rules:
        told["description"] = rules["description"]
    return told


def _words(value: object) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def write(api: Declaration) -> dict[str, Any]:
    """Return the ApiSchema of a declaration, by the right words; `read` gives the same back."""
    about = dict(api.about)
    metadata = {"name": about.pop("name", api.id), "serviceName": api.id, "version": api.version}
    metadata |= {"sub": api.sub} if api.sub != "ase" else {}
    metadata |= {"description": api.description} if api.description else {}
    metadata |= {"deadline": api.deadline} if api.deadline is not None else {}
    metadata |= {"idempotent": True} if api.idempotent else {}
    metadata |= {"streams": True} if api.streams else {}
    request = {
        "parameters": _section([(p.name, _param(p.rules), p.required) for p in api.params]),
        "payload": _section([(s.name, _stream(s), s.required) for s in api.inputs]),
    }
    response = {"payload": _section([(s.name, _stream(s), False) for s in api.outputs])}
    return {
        "apiVersion": VERSION,
        "kind": KIND,
        "metadata": {**metadata, **about},
        "spec": {"request": request, "response": response},
    }


def _section(members: list[tuple[str, dict[str, Any], bool]]) -> dict[str, Any]:
    required = [name for name, _, needed in members if needed]
    told: dict[str, Any] = {"properties": {name: rules for name, rules, _ in members}}
    return told | ({"required": required} if required else {})


def _param(rules: Mapping[str, Any]) -> dict[str, Any]:
    comment = rules.get("comment")
    if isinstance(comment, Mapping) and isinstance(comment.get(_JSON_TEXT), Mapping):
        return dict(comment[_JSON_TEXT])
    return dict(rules)


def _stream(told: Stream) -> dict[str, Any]:
    words = {"encoding": told.encodings, "compress": told.compress, "format": told.formats}
    rules: dict[str, Any] = {"type": told.kind.key}
    rules |= {k: v[0] if len(v) == 1 else list(v) for k, v in words.items() if v}
    rules |= {"contentFormat": told.format} if told.format else {}
    rules |= {"maxBytes": told.max_bytes} if told.max_bytes != MAX_BYTES else {}
    return rules | ({"description": told.description} if told.description else {})
