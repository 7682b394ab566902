"""Fixtures for catching: a catcher of each kind, and one that processes share."""

from collections.abc import Iterator

import pytest

from remoteobj import Except, LocalExcept
from tests.catching.catchers import Catcher


@pytest.fixture(params=[Except, LocalExcept])
def exc(request: pytest.FixtureRequest) -> Iterator[Catcher]:
    exc: Catcher = request.param()
    yield exc
    exc.close()


@pytest.fixture
def shared() -> Iterator[Except]:
    exc = Except()
    yield exc
    exc.close()
