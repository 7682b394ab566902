"""The time of day: for what people read, never for what is waited for, as this clock jumps."""

from __future__ import annotations

import time

__all__ = ["wall_clock"]


def wall_clock() -> float:
    """Seconds since 1970."""
    return time.time()
