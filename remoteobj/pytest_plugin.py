"""Fixtures for pytest: `pytest_plugins = ["remoteobj.pytest_plugin"]` in your `conftest.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import testing

__all__ = ["gate", "no_leaks"]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """The test leaves no process, thread or descriptor behind: see `remoteobj.testing.no_leaks`."""
    with testing.no_leaks():
        yield


@pytest.fixture
def gate() -> Iterator[testing.Gate]:
    """A place where an actor waits until the test lets it go on."""
    with testing.Gate() as made:
        yield made
