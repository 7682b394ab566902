"""Fixtures for the faults: a clock that has a deadline, and programs that may die."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

import pytest

from tests.faults._table import MILLISECONDS
from tests.tools import Scripts

Within: TypeAlias = Callable[..., AbstractContextManager[None]]

PRELUDE = """\
import contextlib, ctypes, errno, gc, os, resource, signal, subprocess, sys, threading, time
from remoteobj import ActorDiedError, current, remote

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole lines, from any process

"""


# Python 3.12+ warns of any fork beside threads. That users do so is one of the cases tested here.
QUIET = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}


@pytest.fixture
def within(request: pytest.FixtureRequest) -> Within:
    """``with within(1.0):`` from the fault to its outcome. It is measured, and must be in time.

    ``at_least=0.2`` is for limits, which must not fire early either.
    """

    @contextlib.contextmanager
    def measure(seconds: float, at_least: float = 0.0) -> Iterator[None]:
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        request.node.user_properties.append((MILLISECONDS, took * 1000))
        assert took < seconds, f"it took {took:.2f} s, and may take {seconds} s"
        assert took >= at_least, f"it took {took:.2f} s, and must take {at_least} s"

    return measure


@pytest.fixture
def script(script: Scripts) -> Scripts:
    """Programs begin with the prelude."""
    return partial(script, prelude=PRELUDE, **QUIET)
