"""Fixtures of the operations: objects in every kind of home, and a spy on what is sent to them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.internals import spy_on_calls
from tests.operations.homes import HOMES, SLOW_HOMES, Home
from tests.operations.things import Thing


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Where the object lives: in a process that the user started, or behind a handle."""
    home = Home({**HOMES, **SLOW_HOMES}[request.param])
    try:
        yield home
    finally:
        home.close()
        request.node.funcargs.clear()  # which hold the proxies, and so what these hold


@pytest.fixture
def thing(home: Home) -> Any:
    return home.start(Thing)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every call that leaves this process."""
    sizes: list[int] = []
    spy_on_calls(monkeypatch, sizes.append)
    return sizes
