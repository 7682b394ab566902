"""A cluster of Ray on this machine, for tests: a head without processors, and two worker nodes.

It listens on the loopback alone, has no dashboard, reports nothing to anybody, and keeps its files
in a directory of its own. It costs some 9 s and 600 MB, so a test process starts it once, at its
first test that needs it. Its processes end with that process, also if that is killed.

Ray is imported where the cluster is started. A process that has imported it has threads of Ray's,
which a fork does not survive, so nothing else is tested there.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.leaks import family_of, kill, process_table

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

__all__ = ["LEFT", "RIGHT", "RayCluster", "running_cluster"]

LEFT, RIGHT = "left", "right"
"""The resource that only this worker node has, of which it has `AMOUNT`."""
AMOUNT = 100
PROCESSORS = 100
"""Of each worker node. More than there are, so that no test waits for those of another."""
STORE_BYTES = 300 * 2**20
"""Of the object store of each node: enough for one array of 100 MB and its copy."""
THREADS = ("ray_", "PythonGCThread")
"""What the names of Ray's threads begin with."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Nodes of one machine see each other at its loopback address, on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # It kills workers when this machine's memory is full, which is then not their doing.
    "RAY_memory_monitor_refresh_ms": "0",
    # It would run them below all else on this machine: an actor then takes seconds to start.
    "RAY_worker_niceness": "0",
}

# How soon the head sees that a node is dead: after five questions that could not be asked. One that
# is merely slow to answer has much longer.
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 200,
    "health_check_timeout_ms": 5000,
}


class RayCluster:
    """Two worker nodes, each with a resource of its own, and this process as their driver."""

    def __init__(self, cluster: Cluster, watchdog: IO[str]) -> None:
        self._cluster = cluster
        self._watchdog = watchdog
        self._nodes: dict[str, Any] = {}

    def add(self, name: str, **options: Any) -> Any:
        """Start a node; its processes end with this one."""
        self._nodes[name] = node = self._cluster.add_node(
            wait=False, include_dashboard=False, object_store_memory=STORE_BYTES, **options
        )
        print(*self.pids(), file=self._watchdog, flush=True)
        return node

    def add_worker(self, name: str, *resources: str) -> Any:
        """A node with a resource of its name, and with others."""
        amounts = dict.fromkeys([name, *resources], AMOUNT)
        return self.add(name, num_cpus=PROCESSORS, resources=amounts)

    @property
    def address(self) -> str:
        """Where another program connects to it."""
        return str(self._cluster.address)

    def node_id(self, name: str) -> str:
        """The number that Ray gave to a node."""
        number: str = self._nodes[name].node_id
        return number

    @contextlib.contextmanager
    def spare(self, name: str, *resources: str) -> Iterator[None]:
        """One more worker node, until the end of the `with` at the latest."""
        self.add_worker(name, *resources)
        self._cluster.wait_for_nodes()
        try:
            yield
        finally:
            self.kill(name)

    def kill(self, name: str) -> None:
        """Kill a node with all that runs there, if it is still there."""
        if node := self._nodes.pop(name, None):
            family = family_of(pids_of(node), process_table())
            self._cluster.remove_node(node, allow_graceful=False)
            kill(family)  # its agents would wait for minutes for what they ask of it

    # -------------------------------------------------------------- for the leak check

    def pids(self) -> set[int]:
        """All its processes."""
        return family_of(self.roots(), process_table())

    def roots(self) -> set[int]:
        """The processes that have been started for it here, whose children are its own."""
        return {pid for node in self._cluster.list_all_nodes() for pid in pids_of(node)}

    def owns_thread(self, thread: threading.Thread) -> bool:
        # Ray calls back in threads that Python did not start.
        return thread.name.startswith(THREADS) or isinstance(thread, threading._DummyThread)

    def owns_descriptor(self, fd: int) -> bool:
        """TCP: that there are more of them tells of nothing, and the package itself uses none."""
        try:
            sock = socket.socket(fileno=fd)
        except OSError:  # it is no socket, or is closed by now
            return False
        try:
            return sock.family in (socket.AF_INET, socket.AF_INET6)
        finally:
            sock.detach()

    def owns_mapping(self, path: str) -> bool:
        return "/plasma" in path

    def actors(self) -> Iterator[tuple[str, str]]:
        """Each that lives, and what it is."""
        from ray._private import state  # start-up: nobody else needs it

        for number, actor in state.actors().items():
            if actor["State"] != "DEAD":
                what = f"{actor['ActorClassName']} {actor['Name']!r}"
                yield number, f"{what} ({actor['State']}, pid {actor['Pid']})"


def pids_of(node: Any) -> set[int]:
    """The processes that were started for a node here."""
    return {info.process.pid for infos in node.all_processes.values() for info in infos}


@contextlib.contextmanager
def running_cluster(parent: Path) -> Iterator[RayCluster]:
    """A cluster, to which this process is connected, as is any program of Ray's that it starts.

    Args:
        parent: where the directory of its files is made. Its path must be short, since the address
            of a Unix socket ends after some hundred bytes.
    """
    directory = tempfile.mkdtemp(prefix="ray-", dir=parent)
    with contextlib.ExitStack() as stack:
        # Ray's processes write in it until they end, which some do a little later than their node.
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**ENVIRONMENT, "RAY_TMPDIR": directory}.items():
            patch.setenv(name, value)
        import ray  # start-up, and its environment comes first
        from ray.cluster_utils import Cluster  # start-up

        cluster = RayCluster(ray_cluster := Cluster(), stack.enter_context(watchdog()))
        stack.callback(ray_cluster.shutdown)
        stack.callback(ray.shutdown)  # before the nodes end
        cluster.add(
            "head", num_cpus=0, no_monitor=True, include_log_monitor=False, _system_config=HEALTH
        )
        cluster.add_worker(LEFT)
        cluster.add_worker(RIGHT)
        ray_cluster.wait_for_nodes()
        patch.setenv("RAY_ADDRESS", cluster.address)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        yield cluster


WATCHDOG = """
import os, signal, subprocess, sys
pids = {pid for line in sys.stdin for pid in line.split()}
for pid in pids:
    shown = subprocess.run(["ps", "-o", "args=", "-p", pid], capture_output=True, text=True)
    if "ray" in shown.stdout:  # else the number has been given to another process
        os.kill(int(pid), signal.SIGKILL)
"""


@contextlib.contextmanager
def watchdog() -> Iterator[IO[str]]:
    """What is written to it is a list of processes, which it kills when this one has ended.

    Ray sees to that of most of its processes, but an agent waits for minutes for its head.
    """
    command = [sys.executable, "-I", "-S", "-c", WATCHDOG]
    # In a session of its own, so that whoever kills the group of this process leaves it alone.
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdin is not None
        yield process.stdin
