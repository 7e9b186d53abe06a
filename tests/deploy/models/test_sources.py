"""Which URLs models may be pulled from."""

import pytest

from deploy.models.sources import find_problem, same_origin

SOURCES = ("https://models.example/shared/", "http://127.0.0.1:9000")


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/shared/a.pt", "https://models.example:443/shared/b/c.pt?x=1",
        "http://127.0.0.1:9000/a.pt", "https://models.example/shared",
    ],
)  # fmt: skip
def test_what_is_below_a_source_may_be_pulled(url: str) -> None:
    assert find_problem(url, SOURCES) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/other/a.pt", "https://models.example/sharedx/a.pt",
        "https://models.example.evil.example/shared/a.pt", "http://models.example/shared/a.pt",
        "https://models.example:444/shared/a.pt", "https://models.example/shared/../other/a.pt",
        "https://models.example/shared/%2e%2e/other/a.pt", "http://127.0.0.1:9001/a.pt",
        "https://models.example@evil.example/shared/a.pt", "https://u:p@models.example/shared/a",
        "file:///etc/passwd", "http://169.254.169.254/latest", "", "https://", "https://h:x/a",
        "https://models.example/shared/a\n.pt", "https://models.example/shared/a%00.pt",
    ],
)  # fmt: skip
def test_everything_else_may_not(url: str) -> None:
    assert find_problem(url, SOURCES) != ""


def test_nothing_may_be_pulled_without_sources() -> None:
    assert "deployer.model_sources (none)" in find_problem("https://models.example/a.pt", ())


def test_tokens_stay_with_their_server() -> None:
    assert same_origin("https://a.example/x", "https://a.example:443/y")
    assert not same_origin("https://a.example/x", "http://a.example/x")
    assert not same_origin("x", "x")
