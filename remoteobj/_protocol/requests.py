"""What a request carries beside its payload: an optional part of its frame, of named fields.

A field that is added here travels with every request that has it, and is ignored by a receiver
that does not know it. Nothing is packed where nothing is to be said, as for most calls.
"""

from __future__ import annotations

import pickle
from functools import lru_cache
from typing import NamedTuple

from .chains import CallChain, Link
from .frames import MAX_METADATA
from .identity import ActorId

__all__ = ["Metadata", "pack_metadata", "read_metadata"]


class Metadata(NamedTuple):
    """The fields."""

    chain: CallChain = ()
    """The calls that wait for the request; empty: no actor does."""


NO_METADATA = Metadata()


def pack_metadata(metadata: Metadata) -> bytes:
    """The fields as bytes; empty where there is nothing to say.

    >>> pack_metadata(Metadata())
    b''
    """
    chain = metadata.chain
    while chain:
        packed = pickle.dumps({"chain": [(*one.actor, one.call) for one in chain]}, 5)
        if len(packed) <= MAX_METADATA:
            return packed
        chain = chain[len(chain) // 2 :]  # hundreds of calls deep: the innermost matter most
    return b""


@lru_cache(maxsize=64)
def read_metadata(packed: bytes) -> Metadata:
    """The fields again; what is malformed counts as not there.

    >>> chain = (Link(ActorId("/a", "A"), 7),)
    >>> read_metadata(pack_metadata(Metadata(chain))) == Metadata(chain)
    True
    >>> read_metadata(b"garbage")
    Metadata(chain=())
    """
    if not packed:
        return NO_METADATA
    try:
        fields = pickle.loads(packed)
        chain = [
            Link(ActorId(str(path), str(name)), int(call)) for path, name, call in fields["chain"]
        ]
    except Exception:
        return NO_METADATA
    return Metadata(tuple(chain))
