from collections.abc import Iterator

import pytest

from tests.inprocess import InProcessGateway


@pytest.fixture
def gateway() -> Iterator[InProcessGateway]:
    with InProcessGateway() as running:
        yield running
