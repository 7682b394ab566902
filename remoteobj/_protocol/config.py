"""What both ends of a connection agree on before the first message."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["DEFAULT_WIRE_OPTIONS", "WireOptions"]


class WireOptions(NamedTuple):
    """How both ends of every connection to one object wait, and receive."""

    spin: float | None = None
    """Seconds to poll before sleeping, 0 for never; None: some tens of µs."""
    writable: bool = True
    """Whether arrays that arrive can be written to."""


DEFAULT_WIRE_OPTIONS: Final = WireOptions()
