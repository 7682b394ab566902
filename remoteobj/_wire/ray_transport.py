"""The transport of a cluster: the calls of Ray carry the bytes, and Ray finds the process.

A location is `cluster/name`: where the cluster is reached, and the name of the Ray actor in which
the object lives. So Ray's authentication, encryption and networks hold, and no port is opened.
Whoever calls proves by the key that it may, as everywhere.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import Any, Final

from .._os.lazy_import import import_lock
from .auth import ANSWER, CALLS, DIGEST, GREETING, Key, answer_to, check_proof
from .ray_line import RayStream, ray_stream
from .transport import CONNECT_SECONDS, Address, Listener
from .unix import UnixTransport, receive_exactly

__all__ = ["NAMESPACE", "RayTransport", "cluster", "name_at", "served_here"]

NAMESPACE: Final = "remoteobj"
"""That of Ray in which our actors have their names."""

_connected_in: list[int] = []
"""The process that is connected to a cluster: a forked copy of it is not."""

served_here: dict[str, Address] = {}
"""By the name of a Ray actor that is this process: where its program listens."""


def cluster() -> Any:
    """Ray, connected to a cluster: the program's, or that of `RAY_ADDRESS`, or a new one here.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        RuntimeError: this is a forked copy of a process that was connected.
    """
    with import_lock:
        try:
            import ray  # for a faster start-up: it takes seconds
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(
                'engine="ray" needs Ray, which is not installed: pip install "remoteobj[ray]"',
                name="ray",
            ) from exc
    if _connected_in and _connected_in[0] != os.getpid():
        raise RuntimeError(
            "Ray can't be used in a forked copy of a process that was connected to it: start this "
            'process by start_method="spawn" or "forkserver"'
        )
    if not ray.is_initialized():
        ray.init(namespace=NAMESPACE, log_to_driver=True)
    _connected_in[:] = [os.getpid()]
    return ray


def _cluster_at(address: str) -> Any:
    """Ray, connected to this cluster."""
    with import_lock:
        import ray  # at start-up it would take seconds; it is asked for now

    if not (_connected_in or ray.is_initialized()):
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
        _connected_in[:] = [os.getpid()]
    return cluster()


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
    ) -> RayStream:
        local = served_here.get(name_at(address))
        if local is not None:  # the object calls itself, or its child does
            return UnixTransport().connect(local, purpose, seconds)  # type: ignore[return-value]
        where, _, name = address.location.rpartition("/")
        ray = _cluster_at(where)
        try:
            host = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as exc:
            raise ConnectionRefusedError(f"no actor {name} is in the cluster at {where}") from exc
        return _let_in(host, address.key, purpose, seconds)

    def listen(self, address: Address, *, fresh: bool = False) -> Listener:
        """Listen in the Ray actor of this name, which this process is; see `RayHost`."""
        unix = UnixTransport()
        local = unix.new_address()._replace(key=address.key)
        listener = unix.listen(local, fresh=True)
        served_here[name_at(address)] = local
        return listener

    def listen_event(self, address: Address) -> None:
        return None

    def remove(self, address: Address) -> None:
        """Ray forgets the name of an actor that has ended."""


def _let_in(host: Any, key: Key, purpose: int, seconds: float | None) -> RayStream:
    """A stream to the program of a Ray actor, after both sides have proved themselves."""
    stream, sock = ray_stream(partial(host.exchange.remote, os.urandom(8)))
    try:
        sock.settimeout(seconds)
        answer, expected = answer_to(receive_after(stream, sock, GREETING), key, purpose=purpose)
        assert len(answer) == ANSWER
        stream.write(answer)
        check_proof(receive_exactly(sock, DIGEST), expected)
        sock.setblocking(False)
    except BaseException:
        stream.close()
        raise
    return stream


def receive_after(stream: RayStream, sock: Any, size: int) -> bytes:
    """The first bytes of the other end, which is begun by the first exchange."""
    with contextlib.suppress(BrokenPipeError):
        stream.write(b"")
    return receive_exactly(sock, size)
