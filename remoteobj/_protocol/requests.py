"""What a request carries beside its payload: an optional part of its frame, of named fields.

**The seam.** What is to travel with a request (who waits for it, a trace, a deadline) is a field of
`Metadata`, and no kind of message of its own. The contract: a caller packs the fields that have
something to say, and nothing where none has, as for most calls; a receiver ignores the fields that
it does not know, and takes what is malformed for not there. So a new field is one line here, one
where it is set, and one where it is read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .chains import CallChain, Link, serving_thread
from .frames import MAX_METADATA
from .identity import ActorId
from .plain_data import quoted, read_plain

__all__ = ["Metadata", "metadata_of_this_thread", "pack_metadata", "read_metadata"]


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
        links = [f"[{quoted(path)},{quoted(name)},{call}]" for (path, name), call in chain]
        packed = f'{{"chain":[{",".join(links)}]}}'
        if len(packed) <= MAX_METADATA:  # as texts they are quoted, all of it is ASCII
            return packed.encode()
        chain = chain[(len(chain) + 1) // 2 :]  # hundreds of calls deep: the innermost matter most
    return b""


def metadata_of_this_thread(token: int) -> bytes:
    """What a request of the calling thread says of the calls that wait for it, packed: of a call
    with this token, or of a cast, by 0, for which nobody waits."""
    host = serving_thread()
    if host is None:
        return b""
    return pack_metadata(Metadata(host.chain_of_call(token) if token else host.chain_of_cast()))


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
        chain = [Link(ActorId(str(p), str(n)), int(c)) for p, n, c in read_plain(packed)["chain"]]
    except Exception:
        return NO_METADATA
    return Metadata(tuple(chain))
