"""Fixtures of the operations: objects in every kind of home, and a spy on what is sent to them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import skip_as_marked
from tests.internals import spy_on_calls
from tests.operations.homes import HOMES, ON_REQUEST, SLOW_HOMES, Home
from tests.operations.things import Thing


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once per home that the test asks for, or in the engine that an option chooses."""
    if "home" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("homes")
        names = list(mark.args) if mark else list(HOMES)
        if (chosen := metafunc.config.getoption("--engine")) in ON_REQUEST:
            names = [chosen] if "fork" in names else []
        metafunc.parametrize("home", names, indirect=True)


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Where the object lives: in a process that the user started, or behind a handle."""
    skip_as_marked(request.node, {request.param})
    home = Home({**HOMES, **SLOW_HOMES, **ON_REQUEST}[request.param])
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
