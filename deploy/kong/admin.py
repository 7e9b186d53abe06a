"""Kong's Admin API: read the entities of ours, and change them, with a database or without.

With a database each change is one request. Without, the whole configuration is replaced by one
request; entities that are not ours are part of it and stay as they are. Source: Kong's
documentation of the Admin API (3.9), and of DB-less mode.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import yaml

from config.yaml_core import CoreLoader
from deploy.kong.entities import (
    KINDS,
    PARENT_KINDS,
    PLUGIN_SCOPES,
    Change,
    Entity,
    EntityName,
    apply_changes,
    entity_key,
    nest,
)

_PAGE_SIZE = 1000


class KongApiError(Exception):
    """Kong cannot be reached, or has refused a request; `str()` says what and why."""


@dataclass(slots=True)
class KongState:
    """What a Kong has: the entities that are `ours` by their tag, and the names of all `others`."""

    ours: dict[EntityName, Entity] = field(default_factory=dict)
    others: set[EntityName] = field(default_factory=set)

    def add(self, entity: Entity, tag: str) -> bool:
        """Add an entity, and return whether it is ours.

        It is if it has the tag, and belongs to one of ours if it belongs to any. Plugins of routes
        and consumers are never ours: our files have none.
        """
        parent_kind = PARENT_KINDS.get(entity.kind)
        is_ours = (
            entity.has_tag(tag)
            and (parent_kind is None or (parent_kind, entity.parent) in self.ours)
            and entity.name not in self.ours
            and not any(entity.body.get(scope) for scope in PLUGIN_SCOPES)
        )
        if is_ours:
            self.ours[entity.name] = entity
        else:
            self.others.add(entity.name)
        return is_ours


class Kong(Protocol):
    """A Kong with a database, or without; every method may raise KongApiError."""

    def read(self, tag: str) -> KongState:
        """Return what Kong has; entities with the tag are ours."""

    def apply(self, changes: Sequence[Change]) -> Iterator[Change]:
        """Make changes to what was read last, and yield each that is in effect."""


def connect(client: httpx.Client) -> Kong:
    """Return the Kong whose Admin API `client` calls. Raises KongApiError."""
    root = _request(client, "GET", "/")
    configuration = root.get("configuration")
    if not isinstance(configuration, dict) or "database" not in configuration:
        raise KongApiError(f"{client.base_url}: this is not Kong's Admin API")
    if configuration["database"] == "off":
        return _DeclarativeKong(client)
    return _DatabaseKong(client)


class _DatabaseKong:
    """A Kong with a database."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def read(self, tag: str) -> KongState:
        state = KongState()
        names: dict[str, str] = {}  # of upstreams and services, by id
        for kind in ("upstreams", "services"):
            for members in self._list(f"/{kind}"):
                names[members["id"]] = members["name"] or members["id"]
                state.add(_read_entity(kind, members, ""), tag)
        for kind, upstream in [*state.ours]:
            if kind == "upstreams":
                for members in self._list(f"/upstreams/{_quote(upstream)}/targets/all"):
                    state.add(_read_entity("targets", members, upstream), tag)
        for kind in ("routes", "plugins"):
            for members in self._list(f"/{kind}"):
                parent = names.get((members.get("service") or {}).get("id", ""), "")
                state.add(_read_entity(kind, members, parent), tag)
        return state

    def _list(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the entities of a collection, page by page."""
        query: dict[str, Any] = {"size": _PAGE_SIZE}
        while True:
            page = _request(self._client, "GET", path, params=query)
            yield from page["data"]
            if not page.get("offset"):
                return
            query["offset"] = page["offset"]

    def apply(self, changes: Sequence[Change]) -> Iterator[Change]:
        for change in changes:
            entity = change.entity
            if change.action == "delete":
                _request(self._client, "DELETE", _entity_path(entity))
            elif change.action == "update":
                _request(self._client, "PATCH", _entity_path(entity), json={**entity.body})
            else:
                _request(self._client, "POST", _collection_path(entity), json={**entity.body})
            yield change


def _collection_path(entity: Entity) -> str:
    parent = PARENT_KINDS.get(entity.kind)
    return f"/{parent}/{_quote(entity.parent)}/{entity.kind}" if parent else f"/{entity.kind}"


def _entity_path(entity: Entity) -> str:
    """Return the path of an entity that Kong has."""
    key = _quote(entity.entity_id or entity.key)
    return (
        f"{_collection_path(entity)}/{key}" if entity.kind == "targets" else f"/{entity.kind}/{key}"
    )


class _DeclarativeKong:
    """A Kong without a database, whose configuration is one document.

    `_text` is that document as it was read last, `_ours` are the entities of ours in it, and
    `_others` is the rest.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._text = ""
        self._ours: dict[EntityName, Entity] = {}
        self._others: dict[str, Any] = {}

    def read(self, tag: str) -> KongState:
        self._text = self._read_text()
        document = _parse(self._text)
        state = KongState()
        names: dict[str, str] = {}  # of upstreams and services, by id
        self._others = {"_format_version": "3.0", **document}
        for kind in KINDS:
            others = []
            for members in document.get(kind) or ():
                names[members.get("id", "")] = members.get("name", "")
                parent = members.get("upstream" if kind == "targets" else "service") or ""
                entity = _read_entity(kind, members, names.get(parent, parent))
                if not state.add(entity, tag):
                    others.append(members)
            self._others[kind] = others
        self._ours = state.ours
        return state

    def _read_text(self) -> str:
        return str(_request(self._client, "GET", "/config").get("config") or "")

    def apply(self, changes: Sequence[Change]) -> Iterator[Change]:
        if self._read_text() != self._text:
            raise KongApiError(
                "somebody else has changed Kong's configuration at this moment; nothing is changed "
                "here, run the command again"
            )
        ours = nest(apply_changes(self._ours, changes))
        document = {**self._others}
        for kind, entities in ours.items():
            document[kind] = [*self._others[kind], *entities]
        _request(
            self._client,
            "POST",
            "/config",
            params={"check_hash": 1, "flatten_errors": 1},
            json={name: value for name, value in document.items() if value != []},
        )
        yield from changes


def _parse(text: str) -> dict[str, Any]:
    """Return the document of a text, in YAML 1.2: Kong writes a text such as 2024-01-15 plainly.

    Raises KongApiError.
    """
    try:
        document = yaml.load(text, Loader=CoreLoader) or {}  # noqa: S506 (it is a safe loader)
    except yaml.YAMLError as error:
        raise KongApiError(f"Kong's configuration cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise KongApiError("Kong's configuration is no object")
    return document


def _read_entity(kind: str, members: Mapping[str, Any], parent: str) -> Entity:
    key = entity_key(kind, members, parent)
    return Entity(kind, key, parent, members, str(members.get("id", "")))


def _quote(text: str) -> str:
    return quote(text, safe="")


def _request(client: httpx.Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    """Return the JSON of a response, {} for one without content. Raises KongApiError."""
    try:
        response = client.request(method, path, **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise KongApiError(f"{method} {client.base_url}{path}: {reason}") from None
    try:
        content = response.json() if response.content else {}
    except ValueError:
        content = None
    if not isinstance(content, dict):
        reason = f"status {response.status_code}, and no JSON object"
        raise KongApiError(f"{method} {path}: this is not Kong's Admin API: {reason}")
    if response.is_success or response.status_code == 304:
        return content
    raise KongApiError(
        "\n  ".join([f"{method} {path}: Kong answers {response.status_code}", *_reasons(content)])
    )


def _reasons(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield why Kong has refused a request: of each entity, if it says so (`flatten_errors`)."""
    for entity in content.get("flattened_errors") or ():
        name = entity.get("entity_name") or entity.get("entity_id", "")
        for error in entity.get("errors", ()):
            place = f"{error['field']}: " if error.get("field") else ""
            yield f"{entity.get('entity_type', 'entity')} {name}: {place}{error.get('message', '')}"
    if not content.get("flattened_errors") and content.get("message"):
        yield str(content["message"])
