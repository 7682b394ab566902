"""The cluster of Ray that this process is connected to."""

from __future__ import annotations

import contextlib
import logging
import os
import weakref
from typing import Any, Final

from .._fast_typing import Protocol
from .._os.fork_safety import leave_to_parent
from .._os.lazy_import import import_lock

__all__ = [
    "NAMESPACE",
    "cluster",
    "cluster_at",
    "connected",
    "forget",
    "keep",
    "kept",
    "runs",
    "still_connected",
    "tell_when_left",
]

NAMESPACE: Final = "remoteobj"
"""That of Ray in which our actors have their names."""

_PLACE: Final = b"remoteobj"
"""That of what is kept by name."""

_connected_in: list[int] = []
"""The process that is connected: a forked copy of it is not."""


def cluster() -> Any:
    """Ray, connected: to what the program is connected to, or else as `ray.init()` does it, to the
    cluster that `RAY_ADDRESS` names, or to a new one on this machine.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        RuntimeError: this is a forked copy of a process that was connected.
    """
    ray = _imported()
    _check_fork()
    if not ray.is_initialized():
        _enter(ray)
    _connected_in[:] = [os.getpid()]
    return ray


def cluster_at(address: str) -> Any:
    """Ray, connected to this cluster if this process is not connected yet.

    Raises:
        ConnectionRefusedError: it is connected to another one, or there is none.
    """
    ray = _imported()
    _check_fork()
    if not ray.is_initialized():
        try:
            _enter(ray, address=address)
        except (ConnectionError, ValueError, RuntimeError) as exc:
            raise ConnectionRefusedError(f"no cluster of Ray is at {address}: {exc}") from exc
    _connected_in[:] = [os.getpid()]
    here = ray.get_runtime_context().gcs_address
    if here != address:
        raise ConnectionRefusedError(
            f"the actor is in the cluster of Ray at {address}, and this process is connected to "
            f"the one at {here}: a process can be connected to one alone"
        )
    return ray


class Connected(Protocol):
    """What ends when this process leaves the cluster."""

    def cut_off(self) -> None:
        """The process has left it."""


_connected: weakref.WeakSet[Connected] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In a forked child, in which what Ray has made crashes when it is let go of."""
    leave_to_parent(list(_connected))


os.register_at_fork(after_in_child=_leave_to_parent)


class _Leaving:
    """Let go of by Ray when this process leaves the cluster; and then it tells so.

    Ray tells nobody, and lets the calls that are open then wait for ever. What it always does is to
    empty the dictionary of how it makes pickles.
    """

    def __del__(self) -> None:
        if _connected_in == [os.getpid()]:
            for one in list(_connected):
                one.cut_off()


def tell_when_left(connected: Connected) -> None:
    """Have it told when this process leaves the cluster, by `ray.shutdown()` say."""
    with import_lock:
        from ray._private.worker import global_worker  # at start-up nobody needs it

    held = global_worker.serialization_context_map
    if "remoteobj" not in held:
        held["remoteobj"] = _Leaving()
    _connected.add(connected)


def connected() -> Any:
    """Ray, if this process is connected; else None."""
    ray = _imported()
    is_here = bool(_connected_in) and _connected_in[0] == os.getpid()
    return ray if is_here and ray.is_initialized() else None


def still_connected() -> Any:
    """Ray, of whose cluster this process is a part: it begins no new one.

    Raises:
        ConnectionRefusedError: this process has left the cluster.
    """
    if (ray := connected()) is None:
        raise ConnectionRefusedError("this process has left the cluster of Ray: ray.shutdown()")
    return ray


# --- what the cluster keeps by name ---------------------------------------------------------------


def keep(key: str, value: bytes) -> None:
    """Have it kept, in place of what was."""
    _memory()._internal_kv_put(key, value, overwrite=True, namespace=_PLACE)


def kept(key: str) -> bytes | None:
    """What is kept; None: nothing is."""
    found: bytes | None = _memory()._internal_kv_get(key, namespace=_PLACE)
    return found


def forget(key: str) -> None:
    """Have it kept no longer. Harmless when nothing is, and when the cluster is gone."""
    with contextlib.suppress(Exception):
        if connected() is not None:
            _memory()._internal_kv_del(key, namespace=_PLACE)


def _memory() -> Any:
    still_connected()
    with import_lock:
        from ray.experimental import internal_kv  # at start-up nobody needs it

    return internal_kv


def runs(job: str) -> bool:
    """Whether the program, Ray's job, of this number runs."""
    still_connected()
    with import_lock:
        from ray._private.state import state  # as above, at start-up

    jobs: Any = state
    return any(one["JobID"] == job and not one["IsDead"] for one in jobs.job_table())


# --- being connected ------------------------------------------------------------------------------


def _imported() -> Any:
    with import_lock:
        try:
            import ray  # for a faster start-up: it takes seconds
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(
                'engine="ray" needs Ray, which is not installed: pip install "remoteobj[ray]"',
                name="ray",
            ) from exc
    return ray


def _enter(ray: Any, **where: str) -> None:
    ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING, **where)


def _check_fork() -> None:
    if _connected_in and _connected_in[0] != os.getpid():
        raise RuntimeError(
            "Ray can't be used in a forked copy of a process that was connected to it: start this "
            'process by start_method="spawn" or "forkserver"'
        )
