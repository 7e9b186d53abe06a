"""The specification of a deployment: read from the members of the API, and written again. Pure.

The members are those of Astron xmod-shim (serviceId, modelName, resourceRequirements, ...), and
ours: `wrapper` or `image`, `config`, `modelUrl`, `modelDigest`, `probes`, `startTimeout`, `canary`,
`autoscale`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from deploy.workloads.autoscale import AutoscaleRule, read_autoscale
from deploy.workloads.canary import Canary, read_canary
from deploy.workloads.members import MAX_REPLICAS, InvalidMemberError
from deploy.workloads.quantities import cpu_text, memory_text, parse_cpu, parse_memory
from schemas.model.service import SERVICE_ID, SERVICE_ID_RULE
from schemas.model.suggestion import did_you_mean

_Part = TypeVar("_Part")

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_MAX_TEXT: Final = 4096
_MAX_ENTRIES: Final = 256


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """What is wrong with a member; `path` leads to it, `hint` is the cure or ""."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return the problem in a line."""
        where = ".".join(map(str, self.path))
        return f"{where}: {self.message}{f'; {self.hint}' if self.hint else ''}".lstrip(": ")


class InvalidSpecError(Exception):
    """A specification with problems; `str()` has a line for each."""

    def __init__(self, problems: list[SpecProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a replica may use; 0 and "" where nothing is said. `memory` is in bytes."""

    cpu: float = 0.0
    memory: int = 0
    accelerator_type: str = ""
    accelerator_count: int = 0


# Replicas are the same whatever these are.
_NOT_OF_REPLICAS: Final = (
    "replicaCount", "probes", "startTimeout", "canary", "autoscale", "pipeline",
    "shimlet",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What is to run.

    `id` is the name of the deployment. `wrapper` is FILE:Class, for runtimes that start processes;
    `image` is for those that start containers. `service` is the id by which clients call it, "" for
    the one that the wrapper declares. `config` is the argument of the wrapper's `init`.
    `model_file` is a file or a folder, or else `model_url` is where a file is pulled from; its
    SHA-256 is `model_digest`, if it is not "". A replica
    serves once it has reported its load and answered `probes` probes; it has `start_timeout`
    seconds for that. A new revision has to stand the `canary`, if there is one. `autoscale` says
    when there are more or fewer replicas. `shimlet` and `pipeline` are "" for those of the
    deployer.
    """

    id: str
    model_name: str = ""
    wrapper: str = ""
    image: str = ""
    service: str = ""
    model_file: str = ""
    model_url: str = ""
    model_digest: str = ""
    replicas: int = 1
    resources: Resources = field(default_factory=Resources)
    context_length: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    probes: int = 3
    start_timeout: float = 120.0
    canary: Canary | None = None
    autoscale: AutoscaleRule | None = None
    shimlet: str = ""
    pipeline: str = ""

    @property
    def revision(self) -> str:
        """The name of what a replica is: equal only for specifications whose replicas are equal."""
        tree = self.to_json()
        for name in _NOT_OF_REPLICAS:
            tree.pop(name, None)
        text = json.dumps(tree, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        """Return the members that `read_spec` reads; those with their default are left out."""
        resources = self.resources
        requirements = {
            "acceleratorType": resources.accelerator_type,
            "acceleratorCount": resources.accelerator_count,
            "cpu": cpu_text(resources.cpu) if resources.cpu else "",
            "memory": memory_text(resources.memory) if resources.memory else "",
        }
        tree = {
            "serviceId": self.id,
            "modelName": self.model_name,
            "wrapper": self.wrapper,
            "image": self.image,
            "service": self.service,
            "modelFile": self.model_file,
            "modelUrl": self.model_url,
            "modelDigest": self.model_digest,
            "replicaCount": self.replicas,
            "resourceRequirements": {name: value for name, value in requirements.items() if value},
            "contextLength": self.context_length,
            "env": [{"key": key, "value": value} for key, value in self.env.items()],
            "config": dict(self.config),
            "probes": self.probes,
            "startTimeout": self.start_timeout,
            "canary": self.canary.to_json() if self.canary is not None else None,
            "autoscale": self.autoscale.to_json() if self.autoscale is not None else None,
            "shimlet": self.shimlet,
            "pipeline": self.pipeline,
        }
        kept = ("serviceId", "replicaCount", "probes", "startTimeout")
        return {name: value for name, value in tree.items() if value or name in kept}


def read_spec(tree: object, default_id: str = "") -> DeploymentSpec:
    """Return the specification of a JSON value. Raises InvalidSpecError with all its problems.

    `default_id` is the name of one that has no serviceId.
    """
    if not isinstance(tree, Mapping):
        raise InvalidSpecError([SpecProblem((), "must be an object")])
    reader = _SpecReader(tree)
    spec = reader.read(default_id)
    if reader.problems:
        raise InvalidSpecError(reader.problems)
    return spec


# Names of the seed's later versions, and ours.
_ALIASES: Final = {
    "modelFileDir": "modelFile", "shimletName": "shimlet", "goalSetName": "pipeline",
}  # fmt: skip
_MEMBERS: Final = frozenset(
    {
        "serviceId", "modelName", "wrapper", "image", "service", "modelFile", "modelUrl",
        "modelDigest", "replicaCount",
        "resourceRequirements", "contextLength", "env", "config", "probes", "startTimeout",
        "canary", "autoscale", "shimlet", "pipeline",
    }
)  # fmt: skip
_RESOURCE_MEMBERS: Final = frozenset({"acceleratorType", "acceleratorCount", "cpu", "memory"})


class _SpecReader:
    """Reads members, and collects what is wrong with them."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.problems: list[SpecProblem] = []
        self._tree: dict[str, Any] = {}
        # Where each member stands, whatever its name there is.
        self._written: dict[str, str] = {}
        for name, value in tree.items():
            member = _ALIASES.get(str(name), str(name))
            if member not in _MEMBERS:
                hint = did_you_mean(member, [*_MEMBERS, *_ALIASES])
                self._add((str(name),), "unknown member", hint)
            elif member in self._tree:
                self._add((str(name),), f"is {member}, which is there already")
            else:
                self._tree[member], self._written[member] = value, str(name)

    def read(self, default_id: str) -> DeploymentSpec:
        """Return the specification; it is valid only without problems."""
        digest = self._text("modelDigest")
        match = _DIGEST.fullmatch(digest)
        if digest and match is None:
            self._fault("modelDigest", "must be the SHA-256 of the file, 64 hexadecimal digits")
        spec = DeploymentSpec(
            id=self._text("serviceId", _NAME, "lower-case letters, digits and '-'") or default_id,
            model_name=self._text("modelName"),
            wrapper=self._text("wrapper"),
            image=self._text("image"),
            service=self._text("service", SERVICE_ID, SERVICE_ID_RULE.removeprefix("must be ")),
            model_file=self._text("modelFile"),
            model_url=self._text("modelUrl"),
            model_digest=match[1] if match else "",
            replicas=int(self._number("replicaCount", 1, 0, MAX_REPLICAS)),
            resources=self._resources(),
            context_length=int(self._number("contextLength", 0, 0, 10**9)),
            env=self._env(),
            config=self._config(),
            probes=int(self._number("probes", 3, 0, 1000)),
            start_timeout=self._number("startTimeout", 120.0, 0.1, 86_400, is_whole=False),
            canary=self._object("canary", read_canary),
            autoscale=self._object("autoscale", read_autoscale),
            shimlet=self._text("shimlet"),
            pipeline=self._text("pipeline"),
        )
        if not spec.id:
            self._fault("serviceId", "is missing")
        if spec.model_digest and not spec.model_file and not spec.model_url:
            self._fault("modelDigest", "needs modelFile or modelUrl, whose digest it is")
        if spec.model_url and not spec.model_digest:
            self._fault("modelUrl", "needs modelDigest: what is pulled is verified")
        if spec.model_url and spec.model_file:
            self._fault("modelUrl", "not with modelFile: one says where the model is")
        return spec

    def _add(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        self.problems.append(SpecProblem(path, message, hint))

    def _fault(self, name: str, message: str, *rest: str | int) -> None:
        self._add((self._written.get(name, name), *rest), message)

    def _text(self, name: str, pattern: re.Pattern[str] | None = None, meaning: str = "") -> str:
        value = self._tree.get(name, "")
        if not isinstance(value, str) or len(value) > _MAX_TEXT or "\0" in value:
            self._fault(name, "must be a text")
            return ""
        if value and pattern is not None and not pattern.fullmatch(value):
            self._fault(name, f"must be {meaning}")
        return value

    def _number(
        self, name: str, default: float, least: float, most: float, *, is_whole: bool = True
    ) -> float:
        value = self._tree.get(name, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most or (is_whole and value != int(value)):
            self._fault(
                name, f"must be {'a whole' if is_whole else 'a'} number, {least:g} to {most:g}"
            )
            return default
        return float(value)

    def _resources(self) -> Resources:
        tree = self._tree.get("resourceRequirements") or {}
        if not isinstance(tree, Mapping):
            self._fault("resourceRequirements", "must be an object")
            return Resources()
        for name in tree:
            if name not in _RESOURCE_MEMBERS:
                path = (self._written["resourceRequirements"], str(name))
                self._add(path, "unknown member", did_you_mean(str(name), _RESOURCE_MEMBERS))
        count = tree.get("acceleratorCount", 0)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= 1024:
            self._fault("resourceRequirements", "must be 0 to 1024", "acceleratorCount")
            count = 0
        return Resources(
            self._quantity(tree, "cpu", parse_cpu),
            int(self._quantity(tree, "memory", parse_memory)),
            str(tree.get("acceleratorType", "")),
            count,
        )

    def _quantity(self, tree: Mapping[str, Any], name: str, parse: Callable[[str], float]) -> float:
        value = tree.get(name, "")
        if value == "":
            return 0
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self._fault("resourceRequirements", "must be a text or a number", name)
            return 0
        try:
            return parse(str(value))
        except ValueError as error:
            self._fault("resourceRequirements", str(error), name)
            return 0

    def _object(self, name: str, read: Callable[[object], _Part]) -> _Part | None:
        tree = self._tree.get(name)
        if tree is None:
            return None
        try:
            return read(tree)
        except InvalidMemberError as error:
            self._add((name, error.name) if error.name else (name,), error.message, error.hint)
            return None

    def _env(self) -> dict[str, str]:
        rows = self._tree.get("env", [])
        if not isinstance(rows, list) or len(rows) > _MAX_ENTRIES:
            self._fault("env", f"must be a list of {{key, value}}, {_MAX_ENTRIES} at most")
            return {}
        env: dict[str, str] = {}
        for index, row in enumerate(rows):
            is_pair = isinstance(row, Mapping) and set(row) == {"key", "value"}
            if not is_pair or not all(isinstance(text, str) for text in row.values()):
                self._fault("env", "must be {key, value}, both texts", index)
            elif not _ENV_NAME.fullmatch(row["key"]) or "\0" in row["value"]:
                self._fault("env", "is no name of a variable", index, "key")
            elif row["key"] in env:
                self._fault("env", f"{row['key']} is there already", index, "key")
            else:
                env[row["key"]] = row["value"]
        return env

    def _config(self) -> dict[str, str]:
        tree = self._tree.get("config", {})
        if not isinstance(tree, Mapping) or len(tree) > _MAX_ENTRIES:
            self._fault("config", f"must be an object of texts, {_MAX_ENTRIES} members at most")
            return {}
        for name, value in tree.items():
            if not isinstance(value, str) or "\0" in value or "=" in str(name):
                self._fault("config", "must be a text, and its name without '='", str(name))
        return {str(name): str(value) for name, value in tree.items()}
