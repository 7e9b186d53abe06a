"""What there is of projects, applications, models and positions. Pure.

A project has applications, an application has models and positions; a position is a model in
service, and has a deployment of its name. Times are Unix seconds.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, Self

from deploy.workloads.members import InvalidMemberError, check_number, read_object
from deploy.workloads.spec import DeploymentSpec, read_spec

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAME_RULE: Final = "must be lower-case letters, digits and '-'"
_MAX_TEXT: Final = 4096
# What a model says of the deployments that run it, and what a position adds to that.
MODEL_MEMBERS: Final = (
    "wrapper", "image", "modelFile", "modelUrl", "modelDigest", "modelName", "contextLength", "env",
    "config", "pipeline",
)  # fmt: skip
POSITION_MEMBERS: Final = (
    "resourceRequirements", "replicaCount", "autoscale", "canary", "shimlet", "probes",
    "startTimeout",
)  # fmt: skip
# What may change with the model of a position.
SWITCHED_MEMBERS: Final = ("canary", "resourceRequirements", "replicaCount", "autoscale")


@dataclass(frozen=True, slots=True)
class Project:
    """A project: what somebody is responsible for."""

    kind: ClassVar[str] = "project"

    name: str
    description: str = ""
    created_at: float = 0.0

    @classmethod
    def read(cls, tree: object, now: float) -> Self:
        """Return the project of a body. Raises InvalidMemberError."""
        members = read_object(tree, dict.fromkeys(("name", "description")), "{name: drones}")
        return cls(_read_name(members, "name"), _read_text(members, "description"), now)

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Application:
    """What models of a project are for; the best of them is chosen within it.

    `origin` is the URL of the deployer that it was taken over from, "" for one of this deployer.
    """

    kind: ClassVar[str] = "application"

    name: str
    project: str
    description: str = ""
    created_at: float = 0.0
    origin: str = ""

    @classmethod
    def read(cls, tree: object, now: float) -> Self:
        """Return the application of a body. Raises InvalidMemberError."""
        names = dict.fromkeys(("name", "project", "description"))
        members = read_object(tree, names, "{name: battery, project: drones}")
        return cls(
            _read_name(members, "name"),
            _read_name(members, "project"),
            _read_text(members, "description"),
            now,
        )

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model. `id` is NAME:VERSION.

    The file at its `modelUrl` is asked for with the `access_token`. `origin` is the URL of the
    deployer that it was taken over from, "" for one of this deployer.

    `accuracy` is what its author declares, None if nothing. `source` is the id of the model that it
    was trained from, "" if there is none. `members` are those of the specification of a deployment
    that say what runs.
    """

    kind: ClassVar[str] = "model"

    name: str
    version: str
    application: str
    description: str = ""
    accuracy: float | None = None
    source: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    access_token: str = ""
    origin: str = ""

    @classmethod
    def read(cls, tree: object, now: float) -> Self:
        """Return the model of a body. Raises InvalidMemberError, InvalidSpecError."""
        own = ("name", "version", "application", "description", "accuracy", "source", "accessToken")
        names = dict.fromkeys((*own, *MODEL_MEMBERS))
        members = read_object(tree, names, "{name: lstm, version: 1.2, wrapper: lstm.py}")
        version = str(members.get("version", ""))
        if not _VERSION.fullmatch(version):
            raise InvalidMemberError("version", "must be letters, digits, '.', '_' and '-'")
        accuracy = members.get("accuracy")
        if accuracy is not None:
            check_number("accuracy", accuracy, (0.0, 1.0, False))
        model = cls(
            _read_name(members, "name"),
            version,
            _read_name(members, "application"),
            _read_text(members, "description"),
            float(accuracy) if accuracy is not None else None,
            _read_text(members, "source"),
            {name: members[name] for name in MODEL_MEMBERS if name in members},
            now,
            _read_text(members, "accessToken"),
        )
        if model.access_token and "modelUrl" not in model.members:
            raise InvalidMemberError("accessToken", "needs modelUrl, whose token it is")
        spec = read_spec(dict(model.members), "any")
        if not spec.wrapper and not spec.image:
            raise InvalidMemberError("wrapper", "is missing, and image too: one says what runs")
        return model

    @property
    def id(self) -> str:
        """NAME:VERSION."""
        return f"{self.name}:{self.version}"

    @property
    def key(self) -> str:
        """The key of its record."""
        return model_key(self.application, self.id)


@dataclass(frozen=True, slots=True)
class Position:
    """A model in service. `model` is its id, `members` are those of its deployment's specification.

    Its name is that of its deployment, and of the service that clients call.
    """

    kind: ClassVar[str] = "position"

    name: str
    application: str
    model: str
    description: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0

    @classmethod
    def read(cls, tree: object, now: float) -> Self:
        """Return the position of a body. Raises InvalidMemberError."""
        own = ("name", "application", "model", "description")
        names = dict.fromkeys((*own, *POSITION_MEMBERS))
        members = read_object(tree, names, "{name: north, application: battery, model: best}")
        return cls(
            _read_name(members, "name"),
            _read_name(members, "application"),
            _read_text(members, "model"),
            _read_text(members, "description"),
            {name: members[name] for name in POSITION_MEMBERS if name in members},
            now,
            now,
        )

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.kind}/{self.name}"

    def specification(self, model: Model) -> DeploymentSpec:
        """Return what its deployment has to run. Raises InvalidSpecError.

        The wrapper finds what it is part of in its environment, by the names that the inference
        template of MITLab uses.
        """
        tree = {
            "modelName": model.name,
            **model.members,
            **self.members,
            "serviceId": self.name,
            "service": self.name,
        }
        identity = {
            "POSITION_UID": self.name,
            "APPLICATION_UID": self.application,
            "MODEL_UID": model.id,
        }
        own = {row["key"] for row in model.members.get("env", [])}
        tree["env"] = [
            *model.members.get("env", []),
            *({"key": key, "value": text} for key, text in identity.items() if key not in own),
        ]
        return read_spec(tree)


Record = Project | Application | Model | Position
RECORDS: Final[tuple[type[Record], ...]] = (Project, Application, Model, Position)


def model_key(application: str, model_id: str) -> str:
    """Return the key of a model's record."""
    return f"{Model.kind}/{application}/{model_id}"


def encode_record(record: Record) -> bytes:
    """Return a record as JSON."""
    return json.dumps(asdict(record), ensure_ascii=False, sort_keys=True).encode()


def decode_record(key: str, value: bytes) -> Record:
    """Return the record of a key."""
    kind = key.partition("/")[0]
    record_class = next(each for each in RECORDS if each.kind == kind)
    return record_class(**json.loads(value))


def choose_best(models: list[Model]) -> Model | None:
    """Return the model with the highest declared accuracy, of equal ones the newest.

    None if no model declares any.
    """
    rated = [model for model in models if model.accuracy is not None]
    return max(rated, key=lambda model: (model.accuracy or 0.0, model.created_at), default=None)


def _read_name(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidMemberError(name, "is missing" if value is None else _NAME_RULE)
    return value


def _read_text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise InvalidMemberError(name, f"must be a text, {_MAX_TEXT} characters at most")
    return value
