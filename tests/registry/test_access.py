import pytest

from registry.access import Actor, OpenAuthorizer, Role, parse_grant
from registry.errors import Refusal, RegistryError


@pytest.mark.parametrize(
    ("grants", "role", "project", "is_allowed"),
    [
        ([], Role.READER, "shop", False),
        (["reader"], Role.READER, "shop", True),
        (["reader"], Role.EDITOR, "shop", False),
        (["editor@shop"], Role.READER, "shop", True),
        (["editor@shop"], Role.EDITOR, "shop", True),
        (["editor@shop"], Role.EDITOR, "bank", False),
        (["editor@shop", "reader"], Role.READER, "bank", True),
        (["editor@shop", "reader@shop"], Role.EDITOR, "shop", True),
        (["publisher"], Role.EDITOR, "shop", True),
        (["publisher"], Role.ADMIN, "shop", False),
        (["admin@shop"], Role.ADMIN, "*", False),
        (["admin"], Role.ADMIN, "*", True),
    ],
)
def test_a_role_includes_those_before_it(
    grants: list[str], role: Role, project: str, is_allowed: bool
) -> None:
    actor = Actor.from_grants("ann", grants)
    if is_allowed:
        actor.require(role, project)
        return
    with pytest.raises(RegistryError) as raised:
        actor.require(role, project)
    assert raised.value.kind is Refusal.FORBIDDEN
    assert f"--role {role.name.lower()}" in raised.value.cure


def test_who_has_no_role_in_a_project_cannot_see_it() -> None:
    assert Actor.from_grants("ann", ["reader@shop"]).may_read("shop")
    assert not Actor.from_grants("ann", ["reader@shop"]).may_read("bank")
    assert Actor.from_grants("ann", ["reader"]).may_read("bank")


@pytest.mark.parametrize("grant", ["", "owner", "Reader", "@shop"])
def test_other_roles_are_refused(grant: str) -> None:
    with pytest.raises(RegistryError, match="there are reader, editor, publisher, admin"):
        parse_grant(grant)


def test_on_loopback_anyone_may_do_everything_by_the_name_they_say() -> None:
    authorizer = OpenAuthorizer()
    authorizer.identify("", "ann").require(Role.ADMIN, "*")
    assert authorizer.identify("", "ann").name == "ann"
    assert authorizer.identify("Bearer x", "").name == "anonymous"
