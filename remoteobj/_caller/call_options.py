"""What a caller wants of a call beside its outcome: the form it comes in, and its bounds."""

from __future__ import annotations

import enum
import time
from typing import Any, Final

from .._fast_typing import NamedTuple
from .._protocol.messages import WINDOW

__all__ = ["AWAITED", "CASTS", "FUTURES", "MISSING", "PLAIN", "CallMode", "CallOptions"]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()
"""Stands for "not given" where None is a value."""


class CallMode(enum.Enum):
    """What a call gives. The value is the name of the view of a proxy through which it is made."""

    NOW = "now"
    """Its value."""
    FUTURE = "future_"
    """A `concurrent.futures.Future`."""
    AWAIT = "async_"
    """Something to be awaited."""
    CAST = "cast_"
    """Nothing, and nobody waits for it."""


class CallOptions(NamedTuple):
    """How calls are made through a proxy."""

    mode: CallMode = CallMode.NOW
    timeout: float | None = None
    """Seconds until a call must be answered, and each item of its stream; None waits for ever."""
    window: int = WINDOW
    """Items that the iterator behind its stream may run ahead."""
    interrupt: bool = False
    """Whether the call is interrupted in the actor when its time is up."""
    default: Any = MISSING
    """The value where nobody listens, or what makes it. `MISSING`: that is an error."""
    proxy: bool = False
    """Whether calls give proxies, which are evaluated later."""

    def deadline(self) -> float | None:
        """When a call must be answered that is made now, by `time.monotonic()`."""
        return None if self.timeout is None else time.monotonic() + self.timeout

    def changed(
        self,
        *,
        timeout: float | None,
        default: Any,
        proxy: bool | None,
        window: int | None,
        interrupt: bool | None,
    ) -> CallOptions:
        """Options that differ by what is given: what is neither None nor `MISSING`.

        Raises:
            ValueError: the timeout is negative, or the window has no room.
        """
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout must not be negative: {timeout}")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1: {window}")
        return CallOptions(
            self.mode,
            self.timeout if timeout is None else timeout,
            self.window if window is None else window,
            self.interrupt if interrupt is None else interrupt,
            self.default if default is MISSING else default,
            self.proxy if proxy is None else proxy,
        )


PLAIN: Final = CallOptions()
FUTURES: Final = CallOptions(CallMode.FUTURE)
AWAITED: Final = CallOptions(CallMode.AWAIT)
CASTS: Final = CallOptions(CallMode.CAST)
