"""What every test may ask for."""

import gc
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from coverage import Coverage

# `bench` is not installed. Last, so that a compiled product on the path stays before the sources.
sys.path.append(str(Path(__file__).parent.parent))

from tests.certificates import make_certificate
from tests.harness import Gateway, Loader
from tests.prefork import COVERAGE_CONFIG

# No test depends on how fast the machine is.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the files that are marked for the other kind of product, compiled or not.

    Some of them cannot even be imported there: their classes derive from compiled ones.
    """
    if collection_path.suffix != ".py":
        return None
    other = "sources_only" if os.environ.get("ASE_COMPILED") == "1" else "compiled_only"
    is_for_other = f"pytestmark = pytest.mark.{other}" in collection_path.read_text("utf-8")
    return True if is_for_other else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def pytest_collection_finish() -> None:
    """Leave the ten thousand collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        name = mark.args[0]
        if shutil.which(name) is None:
            assert "ASE_NO_SKIPS" not in os.environ, f"{name} is missing, and nothing may skip"
            pytest.skip(f"needs {name}, which is not installed here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Run a test marked `unmeasured` without coverage, in this process and in those it starts."""
    coverage = Coverage.current()
    if coverage is None or item.get_closest_marker("unmeasured") is None:
        return (yield)
    process_config = os.environ.pop(COVERAGE_CONFIG, None)
    coverage.stop()
    try:
        return (yield)
    finally:
        coverage.start()
        if process_config is not None:
            os.environ[COVERAGE_CONFIG] = process_config


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        yield running


@pytest.fixture(scope="module")
def loader(gateway: Gateway) -> Iterator[Loader]:
    with Loader(gateway.lb) as running:
        gateway.wait_until_up(running)
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the certificates "one" and "two" for localhost, each with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        make_certificate(folder, name)
    return folder
