"""The fixture of the tests that watch an actor."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Launch
from tests.watching.millers import Miller


@pytest.fixture
def miller(launch: Launch) -> Iterator[Any]:
    with Miller.options(**launch).spawn() as handle:
        yield handle
