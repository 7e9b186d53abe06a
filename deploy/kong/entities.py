"""The entities of a Kong, one by one, and the changes that lead from some to others. Pure.

An entity is named by its kind and key: ("targets", "ase-gateways/10.0.0.11:8200").
"""

import ipaddress
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from deploy.kong.file_schema import PERIODS

Action = Literal["create", "update", "delete"]
EntityName = tuple[str, str]

# Tags of a target: a running gateway has registered it, so that no file names it; it is drained,
# whatever weight a file gives it.
REGISTERED_TAG = "ase-registered"
DRAINED_TAG = "ase-drained"
# Members of a plugin of a service that is for some of its requests alone, or not the only one.
PLUGIN_SCOPES = ("route", "consumer", "consumer_group", "instance_name")
# What an entity of a kind belongs to.
PARENT_KINDS = {"targets": "upstreams", "routes": "services", "plugins": "services"}
# What an entity belongs to is made before it and deleted after it.
KINDS = ("upstreams", "targets", "services", "routes", "plugins")
# Members of a plugin's config that our files have only if an option is set.
_CLEARED_CONFIG: dict[str, dict[str, None]] = {
    "rate-limiting": dict.fromkeys(PERIODS),
    "cors": {"headers": None},
}


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity: `key` is its name, with that of what it belongs to for targets and plugins.

    `parent` is the name of the upstream of a target, and of the service of a route or plugin.
    `body` holds its members, without those that it belongs to or that belong to it. `entity_id` is
    Kong's, "" if it is not known.
    """

    kind: str
    key: str
    parent: str
    body: Mapping[str, Any]
    entity_id: str = ""

    @property
    def name(self) -> EntityName:
        """Return kind and key."""
        return self.kind, self.key

    def has_tag(self, tag: str) -> bool:
        """Return whether the entity has a tag."""
        return tag in (self.body.get("tags") or ())

    def __str__(self) -> str:
        return f"{self.kind.removesuffix('s')} {self.key}"


@dataclass(frozen=True, slots=True)
class Change:
    """One step: create `entity`, update what Kong has to it, or delete it.

    `members` are the dotted members that an update changes.
    """

    action: Action
    entity: Entity
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        members = f" ({', '.join(self.members)})" if self.members else ""
        return f"{self.action} {self.entity}{members}"


def flatten(document: Mapping[str, Any]) -> list[Entity]:
    """Return the entities of a Kong file of ours, in the order in which Kong can create them.

    Members that our files leave out if an option is not set are None: Kong clears them.
    """
    return [*_flatten(document)]


def _flatten(document: Mapping[str, Any]) -> Iterator[Entity]:
    for upstream in document.get("upstreams", ()):
        yield _entity("upstreams", upstream, "", "targets")
        for target in upstream.get("targets", ()):
            yield _entity("targets", target, upstream["name"])
    for service in document.get("services", ()):
        yield _entity("services", service, "", "routes", "plugins")
        for route in service.get("routes", ()):
            yield _entity("routes", {"hosts": None, **route}, service["name"])
        for plugin in service.get("plugins", ()):
            config = {**_CLEARED_CONFIG.get(plugin["name"], {}), **plugin["config"]}
            yield _entity("plugins", {**plugin, "config": config}, service["name"])


def _entity(kind: str, members: Mapping[str, Any], parent: str, *inner: str) -> Entity:
    body = {name: value for name, value in members.items() if name not in inner}
    return Entity(kind, entity_key(kind, members, parent), parent, body)


def entity_key(kind: str, members: Mapping[str, Any], parent: str) -> str:
    """Return the key of an entity with these members; `parent` is the name of what it belongs to.

    Targets and plugins have no name of their own in a Kong. A plugin can be that of a route or of a
    consumer, and a service can have several of one name.
    """
    if kind == "targets":
        return f"{parent}/{expand_target(str(members['target']))}"
    name = str(members.get("name") or members.get("id", ""))
    if kind != "plugins":
        return name
    scopes = [f"{scope}={members[scope]}" for scope in PLUGIN_SCOPES if members.get(scope)]
    return " ".join([f"{parent}/{name}", *scopes])


def expand_target(text: str) -> str:
    """Return the host:port of a target with an IPv6 address in full, as Kong stores it."""
    host, bracket, port = text.partition("]")
    if not bracket:
        return text
    try:
        return f"[{ipaddress.IPv6Address(host[1:]).exploded}]{port}"
    except ValueError:
        return text


def nest(entities: Iterable[Entity]) -> dict[str, list[dict[str, Any]]]:
    """Return the upstreams and services of a Kong file, with what belongs to them inside."""
    document: dict[str, list[dict[str, Any]]] = {"upstreams": [], "services": []}
    parents: dict[EntityName, dict[str, Any]] = {}
    for entity in sorted(entities, key=lambda entity: KINDS.index(entity.kind)):
        members = _declared_members(entity)
        if entity.kind in document:
            document[entity.kind].append(members)
            parents[entity.name] = members
        else:
            parent = parents[PARENT_KINDS[entity.kind], entity.parent]
            parent.setdefault(entity.kind, []).append(members)
    return {kind: members for kind, members in document.items() if members}


def _declared_members(entity: Entity) -> dict[str, Any]:
    """Return the members of an entity in a file: with its id, so that others may refer to it."""
    set_by_kong = ("id", "created_at", "updated_at", "upstream", "service")
    members: dict[str, Any] = {"id": entity.entity_id} if entity.entity_id else {}
    members |= {
        name: value
        for name, value in entity.body.items()
        if name not in set_by_kong and value is not None
    }
    if entity.kind == "plugins" and "config" in members:
        config = {name: value for name, value in members["config"].items() if value is not None}
        members["config"] = config
    return members


def compare(desired: Iterable[Entity], current: Mapping[EntityName, Entity]) -> list[Change]:
    """Return the changes that make `current` to `desired`, in the order in which Kong takes them.

    Members that Kong has and `desired` does not say, such as defaults, are left as they are. So are
    targets that a gateway has registered, and the weight of those that are drained.
    """
    desired = list(desired)
    changes = [*_creations_and_updates(desired, current)]
    names = {entity.name for entity in desired}
    unwanted = [
        entity
        for entity in current.values()
        if entity.name not in names and not entity.has_tag(REGISTERED_TAG)
    ]
    unwanted.sort(key=lambda entity: KINDS.index(entity.kind), reverse=True)
    return changes + [Change("delete", entity) for entity in unwanted]


def _creations_and_updates(
    desired: Iterable[Entity], current: Mapping[EntityName, Entity]
) -> Iterator[Change]:
    for entity in desired:
        present = current.get(entity.name)
        if present is None:
            yield Change("create", entity)
        elif present.has_tag(DRAINED_TAG):
            continue
        elif members := [*_different_members(entity.body, present.body)]:
            yield Change("update", replace(entity, entity_id=present.entity_id), tuple(members))


def _different_members(
    desired: Mapping[str, Any], present: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    for name, value in desired.items():
        other = present.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _different_members(value, other, f"{path}{name}.")
        elif _normalized(value) != _normalized(other):
            yield f"{path}{name}"


def _normalized(value: Any) -> Any:
    """Return a value that is equal for equal sets: the lists of Kong's entities have no order."""
    return sorted(map(str, value)) if isinstance(value, list) else value


def find_conflicts(changes: Iterable[Change], others: Container[EntityName]) -> list[Entity]:
    """Return the entities to create whose name Kong has already, for an entity of someone else."""
    return [
        change.entity
        for change in changes
        if change.action == "create" and change.entity.name in others
    ]


def apply_changes(current: Mapping[EntityName, Entity], changes: Iterable[Change]) -> list[Entity]:
    """Return the entities that `current` becomes by `changes`.

    Members of an updated entity that the change does not name stay as they are.
    """
    entities = dict(current)
    for change in changes:
        name, present = change.entity.name, entities.get(change.entity.name)
        if change.action == "delete":
            del entities[name]
        elif present is None:
            entities[name] = change.entity
        else:
            entities[name] = replace(present, body=_merge(present.body, change.entity.body))
    return list(entities.values())


def _merge(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**present}
    for name, value in changes.items():
        other = merged.get(name)
        is_nested = isinstance(value, Mapping) and isinstance(other, Mapping)
        merged[name] = _merge(other, value) if is_nested else value  # type: ignore[arg-type]
    return merged
