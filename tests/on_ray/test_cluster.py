"""The cluster of the tests itself: two worker nodes, on the loopback alone, that surely end."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.leaks import Snapshot, left_since
from tests.on_ray.bare import Idle, bare_actor
from tests.ray_cluster import LEFT, RIGHT, RayCluster
from tests.tools import Scripts, until_gone

LOOPBACK = ("0100007F:", "0000000000000000FFFF00000100007F:")
"""As the kernel writes 127.0.0.1, also where a socket of IPv6 has it."""


def test_each_worker_node_has_a_resource_of_its_own(ray: Any, cluster: RayCluster) -> None:
    alive = [node for node in ray.nodes() if node["Alive"]]
    assert len(alive) == 3
    assert sorted(node["Resources"].get("CPU", 0) > 0 for node in alive) == [False, True, True]
    for name in (LEFT, RIGHT):
        with bare_actor(ray, Idle, resources={name: 1}) as actor:
            assert ray.get(actor.where.remote()) == cluster.node_id(name)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what the kernel lists")
def test_it_listens_on_the_loopback_alone(cluster: RayCluster) -> None:
    inodes = {target for pid in cluster.pids() for target in opened(pid)}
    ports = [line for name in ("tcp", "tcp6") for line in listening(name, inodes)]
    assert len(ports) > 5
    assert [port for port in ports if not port.startswith(LOOPBACK)] == []


def opened(pid: int) -> Iterator[str]:
    """What a process has open, unless it ends meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield os.readlink(path)


def listening(table: str, inodes: set[str]) -> Iterator[str]:
    """The local addresses at which one of these sockets listens."""
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            yield fields[1]


def test_an_actor_that_is_left_is_found(ray: Any) -> None:
    before = Snapshot.take()
    with bare_actor(ray, Idle) as actor:
        ray.get(actor.where.remote())
        (entry,) = Snapshot.take().beyond(before).describe()
        assert entry.startswith("actor Idle")
    assert left_since(before).describe() == []


PROGRAM = """
import os, sys, time
from pathlib import Path
from tests.on_ray.bare import Idle, bare_actor
from tests.ray_cluster import running_cluster
with running_cluster(Path(sys.argv[1])) as cluster:
    print(*cluster.pids(), os.environ["RAY_TMPDIR"], flush=True)
    if sys.argv[2] == "fails":
        raise ValueError
    time.sleep(60)
"""


@pytest.mark.timeout(90)
@pytest.mark.parametrize("killed", [False, True], ids=["fails", "is-killed"])
def test_it_ends_with_its_program_however_that_ends(
    cluster: RayCluster, script: Scripts, places: list[Path], killed: bool
) -> None:
    with tempfile.TemporaryDirectory(prefix="r", dir=places[0].parent) as parent:
        program = script(PROGRAM, parent, "waits" if killed else "fails")
        *pids, directory = program.line().split()
        assert len(pids) > 6
        if killed:
            program.process.kill()
        assert program.finish().code == (-signal.SIGKILL if killed else 1)
        assert all(until_gone(int(pid), 10.0) for pid in pids)
        assert Path(directory).exists() == killed
