"""What whoever makes an object decides for all who call it; it travels with each reference."""

from __future__ import annotations

from typing import Final

from .._fast_typing import NamedTuple

__all__ = ["DEFAULT_WIRE_OPTIONS", "RefOptions", "WireOptions"]


class WireOptions(NamedTuple):
    """How both ends of every connection to one object wait, and receive."""

    spin: float | None = None
    """Seconds to poll before sleeping, 0 for never; None: some tens of µs."""
    writable: bool = True
    """Whether arrays that arrive can be written to."""


DEFAULT_WIRE_OPTIONS: Final = WireOptions()


class RefOptions(NamedTuple):
    """How an object is called, by every process that has a proxy of it."""

    eager: bool = False
    """Whether calls give proxies."""
    fulfil: bool = True
    """Whether requests in hand are carried out when it stops listening."""
    picklable: bool = True
    """Whether others than our own picklers may pickle a proxy of it."""
    wire_options: WireOptions = DEFAULT_WIRE_OPTIONS
    restarts: bool = False
    """Whether its process may be followed by another one at its address, for which calls wait."""
