"""Which objects our picklers reduce in a way of their own. All other pickling is as it was."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["KINDS", "OUR_WAYS"]

KINDS = BaseException, TracebackType
"""What `reducers` takes apart, wherever it stands in a value."""

OUR_WAYS: dict[type, Callable[[Any], Any]] = {}
"""Class → reducer, as in `copyreg.dispatch_table`, for our picklers alone: what they pickle is part
of a message, or of a program that is being started, and goes nowhere else."""
