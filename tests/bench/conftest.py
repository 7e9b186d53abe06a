import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def unmeasured() -> Iterator[None]:
    """Do not measure coverage here: these tests run the product for long, and test the bench."""
    measurement = sys.modules["coverage"].Coverage.current() if "coverage" in sys.modules else None
    if measurement is None:
        yield
        return
    measurement.stop()
    yield
    measurement.start()
