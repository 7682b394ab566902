"""Bytes that the cluster of Ray keeps, whichever of its nodes is lost: with its head, by name."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence

from .._protocol.messages import Bytes
from .ray_cluster import forget, keep, kept

__all__ = ["ClusterMemory"]


class ClusterMemory:
    """A record that is replaced whole, and which any process of the cluster can read.

    It has one writer at a time, and lasts until its owner closes it, or the cluster ends.
    """

    def __init__(self, name: str) -> None:
        self._key = f"state:{name}"
        self._owner_pid = os.getpid()

    def open(self) -> None:
        """It needs no preparation."""

    def read(self) -> list[bytearray] | None:
        """The parts that were written last; None: none were."""
        found = kept(self._key)
        return None if found is None else [bytearray(part) for part in pickle.loads(found)]

    def write(self, parts: Sequence[Bytes]) -> None:
        """Put these in place of what was written before.

        Raises:
            OSError: the cluster can't keep it.
        """
        try:
            keep(self._key, pickle.dumps([bytes(part) for part in parts], 5))
        except Exception as exc:  # Ray's own, which say what is wrong there
            raise OSError(f"Ray can't keep the state: {exc}") from exc

    def leave(self) -> None:
        """Nothing is to be given up with it."""

    def close(self) -> None:
        """Have the cluster forget it. Harmless when done twice; in a forked child nothing is."""
        if self._owner_pid == os.getpid():
            forget(self._key)

    def __str__(self) -> str:
        return "the cluster"
