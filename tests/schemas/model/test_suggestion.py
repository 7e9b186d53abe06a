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
