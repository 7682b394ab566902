"""What a request carries beside its payload: an optional part of its frame, of named fields.

**The seam.** What is to travel with a request (who waits for it, a trace, a deadline) is a field of
`Metadata`, and no kind of message of its own. The contract: a caller packs the fields that have
something to say, and nothing where none has, as for most calls; a receiver ignores the fields that
it does not know, and takes what is malformed for not there. So a new field is one line here, one
where it is set, and one where it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from .._fast_typing import NamedTuple
from .calls import PendingCall
from .chains import CallChain, Link, new_call_token, serving_thread, serving_threads
from .frames import MAX_METADATA
from .identity import ActorId, Peer
from .messages import Bytes, Kind
from .plain_data import quoted, read_plain

__all__ = [
    "Carried",
    "Metadata",
    "Sending",
    "followers",
    "has_chain",
    "metadata_of",
    "observers",
    "pack_metadata",
    "read_metadata",
    "switches",
]

Carried: TypeAlias = "tuple[tuple[str, str], ...]"
"""Texts by names, as a dict has them."""

MAX_CARRIED: Final = 16384
"""Bytes of what observers may send along: there must be room for the chain."""


followers: Final[list[Callable[[bytes], object]]] = []
"""What passes an order to observe on to the actors of this process; none where it has had none."""


switches: Final[list[Callable[[bool], object]]] = []
"""What is told when somebody begins to observe, and when nobody does any more."""


class Metadata(NamedTuple):
    """The fields."""

    chain: CallChain = ()
    """The calls that wait for the request; empty: no actor does."""
    carried: Carried = ()
    """What those who observe calls at one end tell those who do at the other."""


NO_METADATA = Metadata()


class Sending(NamedTuple):
    """A request that is about to be sent, for those who observe calls."""

    call: PendingCall
    kind: int
    payload: Bytes
    peer: Peer | None
    """Whom it is for, if that is an actor."""
    token: int
    """By which all calls are known that a thread waits for together; 0: there are no others."""
    is_waited_for: bool
    """Whether the calling thread waits for the outcome."""
    on_ready: Any
    """What is called with the outcome, if no thread waits; it may know what the call is for."""


observers: Final[list[Callable[[Sending], Carried]]] = []
"""What observes the calls of this process, and says what each carries: at most one, which stands
for all (`observing`), and mostly none, so that to ask is to look whether a list is empty."""


def pack_metadata(metadata: Metadata) -> bytes:
    """The fields as bytes; empty where there is nothing to say.

    >>> pack_metadata(Metadata())
    b''
    """
    chain, carried = metadata
    said = _packed_carried(carried) if carried else ""
    while chain:
        links = [f"[{quoted(path)},{quoted(name)},{call}]" for (path, name), call in chain]
        packed = f'{{"chain":[{",".join(links)}]{"," if said else ""}{said}}}'
        if len(packed) <= MAX_METADATA:  # as texts they are quoted, all of it is ASCII
            return packed.encode()
        chain = chain[(len(chain) + 1) // 2 :]  # hundreds of calls deep: the innermost matter most
    return f"{{{said}}}".encode() if said else b""


def _packed_carried(carried: Carried) -> str:
    pairs = ",".join(f"{quoted(name)}:{quoted(text)}" for name, text in carried)
    return f'"carried":{{{pairs}}}' if len(pairs) <= MAX_CARRIED else ""


def metadata_of(sending: Sending) -> bytes:
    """What a request of the calling thread carries, packed: the calls that wait for it, if an actor
    makes it, and what observers add."""
    call, host = sending.call, serving_thread()
    if serving_threads and sending.kind == Kind.CALL:
        call.token = sending.token or new_call_token()
    chain: CallChain = ()
    if host is not None:
        chain = host.chain_of_call(call.token) if call.token else host.chain_of_cast()
    carried = observers[0](sending) if observers else ()
    return pack_metadata(Metadata(chain, carried))


def has_chain(packed: bytes) -> bool:
    """Whether an actor makes this request, as far as its beginning tells."""
    return packed.startswith(b'{"chain"')


@lru_cache(maxsize=64)
def read_metadata(packed: bytes) -> Metadata:
    """The fields again; what is malformed counts as not there.

    >>> chain = (Link(ActorId("/a", "A"), 7),)
    >>> carried = (("trace", "x"),)
    >>> read_metadata(pack_metadata(Metadata(chain, carried))) == Metadata(chain, carried)
    True
    >>> read_metadata(b"garbage")
    Metadata(chain=(), carried=())
    """
    if not packed:
        return NO_METADATA
    try:
        fields = dict(read_plain(packed))
    except Exception:
        return NO_METADATA
    return Metadata(_read_chain(fields.get("chain")), _read_carried(fields.get("carried")))


def _read_chain(links: Any) -> CallChain:
    try:
        return tuple(Link(ActorId(str(p), str(n)), int(c)) for p, n, c in links)
    except Exception:
        return ()


def _read_carried(texts: Any) -> Carried:
    try:
        return tuple((str(name), str(text)) for name, text in texts.items())
    except Exception:
        return ()
