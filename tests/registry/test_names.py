import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.names import (
    InvalidNameError,
    ServiceVersion,
    VersionPattern,
    check_file_name,
    precedence,
)


def test_a_name_has_four_parts() -> None:
    name = ServiceVersion.parse("shop/web/image-detect/1.0.0")
    assert (name.project, name.group, name.service, name.version) == (
        "shop", "web", "image-detect", "1.0.0",
    )  # fmt: skip
    assert str(name) == "shop/web/image-detect/1.0.0"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("shop/web/image", "project/group/service/version"),
        ("shop/web/image/1/2", "project/group/service/version"),
        ("shop//image/1", "group ''"),
        ("shop/web/../1", "service '..'"),
        ("shop/web/.hidden/1", "service '.hidden'"),
        ("shop/web/a b/1", "service 'a b'"),
        ("shop/web/image/*", "version '*'"),
        (f"{'x' * 65}/web/image/1", "project"),
        ("shöp/web/image/1", "project 'shöp'"),
    ],
)
def test_other_names_are_refused(text: str, part: str) -> None:
    with pytest.raises(InvalidNameError) as raised:
        ServiceVersion.parse(text)
    assert part in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "is_match"),
    [
        ("shop/web/gateway/1.0.0", True),
        ("shop/web/*/*", True),
        ("*/*/*/*", True),
        ("shop/web/gateway/2.0.0", False),
        ("shop/app/*/*", False),
    ],
)
def test_a_pattern_matches_by_parts(pattern: str, is_match: bool) -> None:
    name = ServiceVersion("shop", "web", "gateway", "1.0.0")
    assert VersionPattern.parse(pattern).matches(name) is is_match
    assert str(VersionPattern.parse(pattern)) == pattern


def test_a_pattern_is_no_prefix() -> None:
    with pytest.raises(InvalidNameError):
        VersionPattern.parse("shop/web/gate*/1.0.0")


@pytest.mark.parametrize("text", ["ase.yaml", "schemas/schema_image.json", "a/b/c.txt"])
def test_a_file_may_be_in_folders(text: str) -> None:
    assert check_file_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".git/config", "a\0b", "a/", "x" * 201]
)
def test_a_file_stays_in_its_folder(text: str) -> None:
    with pytest.raises(InvalidNameError):
        check_file_name(text)


def test_versions_are_ordered_by_number() -> None:
    versions = ["1.9", "1.10", "1.10.1", "2.0-rc1", "2.0-rc1.1", "2.0", "2.0.1", "10", "v1"]
    assert all(precedence(a) < precedence(b) for a, b in itertools.pairwise(versions))


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True))
def test_every_version_can_be_ordered(version: str) -> None:
    assert precedence(version) == precedence(version)
    assert (precedence(version) < precedence("1.0.0")) is not (
        precedence(version) >= precedence("1.0.0")
    )
