"""The transport of a cluster: the calls of Ray carry the bytes, and Ray finds the process.

A location is `cluster/name`: where the cluster is reached, and the name of the Ray actor in which
the object lives. So Ray's authentication, encryption and networks hold, and no port is opened.
Whoever calls proves by the key that it may, as everywhere.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from .auth import CALLS, Key
from .queue_listener import QueueListener, prove
from .queue_stream import QueueStream, queue_pair
from .ray_cluster import NAMESPACE, cluster, cluster_at
from .ray_line import KEY_SIZE, RayLine
from .transport import CONNECT_SECONDS, Address

__all__ = ["RayTransport", "name_at", "served_here"]

served_here: dict[str, QueueListener] = {}
"""By the name of a Ray actor that is this process: its door."""


def name_at(address: Address) -> str:
    """The name of the Ray actor at an address."""
    return address.location.rpartition("/")[2]


class RayTransport:
    """Streams between the processes of a cluster."""

    name = "ray"

    def new_address(self) -> Address:
        where = cluster().get_runtime_context().gcs_address
        return Address(self.name, f"{where}/{os.urandom(8).hex()}", Key.new())

    def connect(
        self, address: Address, purpose: int = CALLS, seconds: float | None = CONNECT_SECONDS
    ) -> QueueStream:
        where, _, name = address.location.rpartition("/")
        door = served_here.get(name)
        if door is not None:  # the object calls itself
            ours, theirs = queue_pair()
            door.bring(theirs)
            return prove(ours, address.key, purpose, seconds)
        return prove(self._dial(where, name), address.key, purpose, seconds)

    def _dial(self, where: str, name: str) -> QueueStream:
        ray = cluster_at(where)
        try:
            host: Any = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as exc:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"no actor {name} is in the cluster at {where}"
            ) from exc
        line = RayLine(os.urandom(KEY_SIZE), host.exchange.remote)
        line.begin()
        return line.stream

    def listen(self, address: Address, *, fresh: bool = False) -> QueueListener:
        """Listen in the Ray actor of this name, which this process is; see `RayHost`."""
        listener = QueueListener(address.key)
        served_here[name_at(address)] = listener
        return listener

    def listen_event(self, address: Address) -> None:
        return None

    def remove(self, address: Address) -> None:
        served_here.pop(name_at(address), None)
