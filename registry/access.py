"""Who may do what in the registry: roles by project. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol, Self

from registry.errors import Refusal, RegistryError
from registry.names import ANY


class Role(IntEnum):
    """What somebody may do; each role includes those before it."""

    READER = 1  # read, subscribe, register as a provider
    EDITOR = 2  # change drafts
    PUBLISHER = 3  # publish, promote, withdraw, roll back, approve, take providers out
    ADMIN = 4  # settings of a project, backups


ROLE_NAMES: Final = {role.name.lower(): role for role in Role}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, and the highest role by project; `*` is every project.

    `name` is for people to read: a part of it is what the client says. `identity` is proved.
    """

    name: str
    roles: Mapping[str, Role] = field(default_factory=dict)
    identity: str = ""

    @classmethod
    def from_grants(cls, name: str, grants: Iterable[str], identity: str = "") -> Self:
        """Return the actor with grants such as `editor` or `publisher@shop`.

        Raises RegistryError INVALID.
        """
        roles: dict[str, Role] = {}
        for grant in grants:
            role, project = parse_grant(grant)
            roles[project] = max(role, roles.get(project, role))
        return cls(name, roles, identity)

    def require(self, role: Role, project: str) -> None:
        """Raise RegistryError FORBIDDEN unless the actor has a role in a project."""
        highest = max(self.roles.get(project, 0), self.roles.get(ANY, 0))
        if highest < role:
            raise RegistryError(
                Refusal.FORBIDDEN,
                f"{self.name} is no {role.name.lower()} of project {project}",
                f"create a key with --role {role.name.lower()}@{project}",
            )

    def may_read(self, project: str) -> bool:
        """Return whether the actor may see a project."""
        return bool(self.roles.get(project) or self.roles.get(ANY))


def parse_grant(grant: str) -> tuple[Role, str]:
    """Return the role and the project (`*`: all) of `role` or `role@project`.

    Raises RegistryError INVALID.
    """
    role_name, _, project = grant.partition("@")
    role = ROLE_NAMES.get(role_name)
    if role is None:
        names = ", ".join(ROLE_NAMES)
        raise RegistryError(Refusal.INVALID, f"{role_name!r} is no role; there are {names}")
    return role, project or ANY


class Authorizer(Protocol):
    """Tells who asks, by what the request says of it."""

    def identify(self, authorization: str, author: str) -> Actor:
        """Return the actor of an Authorization header.

        `author` is the name that the client claims; it counts only where no key is asked for.
        Raises RegistryError UNAUTHENTICATED.
        """


class OpenAuthorizer:
    """Whoever reaches the port may do everything: for a loopback address."""

    def identify(self, authorization: str, author: str) -> Actor:  # noqa: ARG002 (none is needed)
        """Return an actor of all roles with the claimed name."""
        name = author or "anonymous"
        return Actor(name, {ANY: Role.ADMIN}, name)
