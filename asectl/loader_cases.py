"""The cases of `asectl loader test`: requests of a wrapper, and what it must answer. Pure.

cases:
- name: two words
parameters: {top: 1}
inputs: {text: the cat the cat, image: {file: cat.jpg}}
outputs: {counts: {json: {the: 2}}}
- name: no text
inputs: {text: ""}
error: 10107
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from config.source import ConfigError, ConfigPath, Diagnostic, SourceFile

_CASE_KEYS: Final = ("name", "parameters", "inputs", "outputs", "error")
_EXPECTATIONS: Final = ("text", "json", "file", "contains")
_MAX_SHOWN: Final = 200

ReadFile = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an output must be: `kind` is text, json, file or contains."""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class WrapperCase:
    """One request, and its outputs or the code of its error (0: none).

    An input is a text, or the name of a file (`files`).
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Expectation] = field(default_factory=dict)
    error: int = 0


def read_cases(source: SourceFile) -> list[WrapperCase]:
    """Return the cases of a file. Raises ConfigError with every problem and its place."""
    reader = _CaseReader(source)
    cases = reader.read()
    if reader.diagnostics:
        raise ConfigError(source.name, source.lines, reader.diagnostics)
    return cases


def compare(case: WrapperCase, outputs: Mapping[str, bytes], read_file: ReadFile) -> list[str]:
    """Return what differs between outputs and those that a case expects.

    `read_file` returns the content of an expected file; OSError counts as a difference.
    """
    if case.error:
        return [f"error {case.error} was expected, and outputs came: {', '.join(outputs)}"]
    differences = [f"{name}: is missing" for name in case.outputs if name not in outputs]
    for name, expectation in case.outputs.items():
        if name in outputs:
            difference = _compare_output(outputs[name], expectation, read_file)
            differences += [f"{name}: {difference}"] if difference else []
    return differences


def compare_error(case: WrapperCase, code: int, message: str) -> list[str]:
    """Return what differs between an error and what a case expects."""
    if code == case.error:
        return []
    expected = f"error {case.error}" if case.error else "outputs"
    return [f"{expected} expected, and error {code} came: {message}"]


def _compare_output(output: bytes, expectation: Expectation, read_file: ReadFile) -> str:
    value = expectation.value
    if expectation.kind == "file":
        try:
            expected = read_file(value)
        except OSError as error:
            return f"{value}: {error.strerror}; --update writes it"
        if output == expected:
            return ""
        return f"differs from {value} ({len(output)} bytes and {len(expected)})"
    text = output.decode("utf-8", "replace")
    if expectation.kind == "contains":
        return "" if value in text else f"{_shown(text)} does not contain {value!r}"
    if expectation.kind == "text":
        return "" if text == value else f"{_shown(text)} is not {value!r}"
    try:
        tree = json.loads(output)
    except ValueError:
        return f"{_shown(text)} is not JSON"
    return "" if tree == value else f"{_shown(text)} is not {json.dumps(value)}"


def _shown(text: str) -> str:
    return repr(text[:_MAX_SHOWN]) + ("..." if len(text) > _MAX_SHOWN else "")


class _CaseReader:
    """Reads the cases of one file, and collects its problems in `diagnostics`."""

    def __init__(self, source: SourceFile) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._source = source

    def read(self) -> list[WrapperCase]:
        tree = self._source.tree
        items = tree.get("cases") if isinstance(tree, dict) else None
        if not isinstance(items, list) or not items:
            self._add((), "the file must have a list `cases`")
            return []
        cases = [self._read_case(item, ("cases", index)) for index, item in enumerate(items)]
        names = [case.name for case in cases]
        for index, name in enumerate(names):
            if name in names[:index]:
                self._add(("cases", index, "name"), f"{name!r} occurs twice")
        return cases

    def _read_case(self, item: Any, path: ConfigPath) -> WrapperCase:
        members = self._mapping(item, path)
        for key in members:
            if key not in _CASE_KEYS:
                self._add((*path, key, ""), f"unknown key {key!r}; there are {_CASE_KEYS}")
        name = str(members.get("name") or "")
        if not name:
            self._add(path, "a case needs a name")
        if ("outputs" in members) == ("error" in members):
            self._add(path, "a case has `outputs` or `error`")
        error = members.get("error", 0)
        if isinstance(error, bool) or not isinstance(error, int):
            self._add((*path, "error"), "must be a code, as 10107")
            error = 0
        texts, files = self._read_inputs(members.get("inputs"), (*path, "inputs"))
        outputs = self._read_outputs(members.get("outputs"), (*path, "outputs"))
        parameters = self._mapping(members.get("parameters"), (*path, "parameters"))
        return WrapperCase(name, parameters, texts, files, outputs, error)

    def _read_inputs(self, tree: Any, path: ConfigPath) -> tuple[dict[str, str], dict[str, str]]:
        texts, files = {}, {}
        for name, value in self._mapping(tree, path).items():
            if isinstance(value, dict) and [*value] == ["file"]:
                files[name] = str(value["file"])
            elif isinstance(value, dict | list):
                self._add((*path, name), "must be a text, or {file: NAME}")
            else:
                texts[name] = self._source.texts.get((*path, name), str(value or ""))
        return texts, files

    def _read_outputs(self, tree: Any, path: ConfigPath) -> dict[str, Expectation]:
        outputs = {}
        for name, value in self._mapping(tree, path).items():
            if not isinstance(value, dict):
                outputs[name] = Expectation("text", self._source.texts.get((*path, name), value))
                continue
            [kind] = [*value] if len(value) == 1 else [""]
            if kind not in _EXPECTATIONS:
                self._add((*path, name), f"must be a text, or one of {', '.join(_EXPECTATIONS)}")
                continue
            outputs[name] = Expectation(kind, value[kind])
        return outputs

    def _mapping(self, tree: Any, path: ConfigPath) -> dict[str, Any]:
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            self._add(path, "must be a mapping")
            return {}
        return tree

    def _add(self, path: ConfigPath, message: str) -> None:
        locations = self._source.locations
        location = locations.get(path) or locations.get(path[:-1])
        self.diagnostics.append(Diagnostic(message, location))
