"""What every test may ask for."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# `bench` is not installed. Last, so that a compiled product on the path stays before the sources.
sys.path.append(str(Path(__file__).parent.parent))

from tests.harness import Gateway, Loader


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files marked `sources_only` when the compiled product is under test.

    Some of them cannot even be imported there: their classes derive from compiled ones.
    """
    if os.environ.get("ASE_COMPILED") != "1" or collection_path.suffix != ".py":
        return None
    is_sources_only = "pytestmark = pytest.mark.sources_only" in collection_path.read_text(
        encoding="utf-8"
    )
    return True if is_sources_only else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        name = mark.args[0]
        if shutil.which(name) is None:
            assert "ASE_NO_SKIPS" not in os.environ, f"{name} is missing, and nothing may skip"
            pytest.skip(f"needs {name}, which is not installed here")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        yield running


@pytest.fixture(scope="module")
def loader(gateway: Gateway) -> Iterator[Loader]:
    with Loader(gateway.lb) as running:
        gateway.wait_until_up(running)
        yield running
