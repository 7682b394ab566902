"""The transports that this process knows: each is one file, behind the contract of `transport`."""

from __future__ import annotations

from .._os.lazy_import import import_lock
from .transport import Address, Transport
from .unix import UnixTransport

__all__ = ["DEFAULT_TRANSPORT", "TRANSPORTS", "new_address", "transport_named", "transport_of"]

TRANSPORTS: dict[str, Transport] = {one.name: one for one in (UnixTransport(),)}
DEFAULT_TRANSPORT = "unix"
"""What new addresses belong to."""


def transport_of(address: Address) -> Transport:
    """The transport that an address belongs to.

    Raises:
        ValueError: this process does not know it.
    """
    return transport_named(address.transport)


def transport_named(name: str) -> Transport:
    """The transport of this name.

    Raises:
        ValueError: this process does not know it.
    """
    if name == "ray" and name not in TRANSPORTS:
        with import_lock:
            from .ray_transport import RayTransport  # for a faster start-up: few use it

        TRANSPORTS[name] = RayTransport()
    try:
        return TRANSPORTS[name]
    except KeyError:
        raise ValueError(
            f"no transport {name!r}: this process has {', '.join(TRANSPORTS)}"
        ) from None


def new_address(transport: str | None = None) -> Address:
    """An address for an object that is being made. Nothing listens there yet."""
    return transport_named(transport or DEFAULT_TRANSPORT).new_address()
