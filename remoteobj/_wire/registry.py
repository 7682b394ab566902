"""The transports that this process knows: each is one file, behind the contract of `transport`."""

from __future__ import annotations

from .transport import Address, Transport
from .unix import UnixTransport

__all__ = ["DEFAULT_TRANSPORT", "TRANSPORTS", "new_address", "transport_of"]

TRANSPORTS: dict[str, Transport] = {one.name: one for one in (UnixTransport(),)}
DEFAULT_TRANSPORT = "unix"
"""What new addresses belong to."""


def transport_of(address: Address) -> Transport:
    """The transport that an address belongs to.

    Raises:
        ValueError: this process does not know it.
    """
    try:
        return TRANSPORTS[address.transport]
    except KeyError:
        raise ValueError(
            f"no transport {address.transport!r}: this process has {', '.join(TRANSPORTS)}"
        ) from None


def new_address() -> Address:
    """An address for an object that is being made. Nothing listens there yet."""
    return TRANSPORTS[DEFAULT_TRANSPORT].new_address()
