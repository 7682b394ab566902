"""The transport of a cluster: the calls of Ray carry the bytes, and Ray finds the process.

A location is `cluster/name`: where the cluster is reached, and the name of the Ray actor in which
the object lives. So Ray's authentication, encryption and networks hold, and no port is opened.
Whoever calls proves by the key that it may, as everywhere.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Final

from .auth import CALLS, Key
from .queue_listener import QueueListener, prove
from .queue_stream import QueueStream, queue_pair
from .ray_cluster import NAMESPACE, cluster, cluster_at, tell_when_left
from .ray_door import RayDoor, is_open
from .ray_line import KEY_SIZE, RayLine
from .transport import CONNECT_SECONDS, Address

__all__ = ["RayTransport", "name_at", "served_here"]

RETRY_SECONDS: Final = 0.05
"""Between two attempts to reach one that is being restarted."""

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
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                return prove(self._dial(where, name), address.key, purpose, left)
            except ConnectionRefusedError:
                if not is_open(name):
                    raise
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the actor {name} was not started again in time")
            time.sleep(RETRY_SECONDS)

    def _dial(self, where: str, name: str) -> QueueStream:
        ray = cluster_at(where)
        try:
            host: Any = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as exc:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"no actor {name} is in the cluster at {where}"
            ) from exc
        line = RayLine(os.urandom(KEY_SIZE), host.exchange.remote, ray.get)
        tell_when_left(line)
        line.begin()
        return line.stream

    def listen(self, address: Address, *, fresh: bool = False) -> RayDoor:
        """Keep the door of an actor that is restarted; see `RayHost` for where it listens."""
        return RayDoor(name_at(address))

    def listen_event(self, address: Address) -> None:
        return None

    def remove(self, address: Address) -> None:
        """Ray forgets the name of an actor that has ended."""
