import pytest

from schemas.model.suggestion import did_you_mean


@pytest.mark.parametrize(
    ("name", "list_all", "hint"),
    [
        ("prot", False, "did you mean 'port'?"),
        ("prot", True, "did you mean 'port'?"),
        ("zzz", False, ""),
        ("zzz", True, "known: host, port"),
        ("", False, ""),
    ],
)
def test_hint(name: str, list_all: bool, hint: str) -> None:
    assert did_you_mean(name, ["host", "port"], or_list_all=list_all) == hint


def test_alias_suggests_the_name_that_it_stands_for() -> None:
    aliases = {"--port": "--gateway-port"}
    names = ["--gateway-port", "--gateway-host"]
    assert did_you_mean("--prot", names, aliases=aliases) == "did you mean '--gateway-port'?"
    assert did_you_mean("x", ["port"], aliases=aliases, or_list_all=True) == "known: port"
