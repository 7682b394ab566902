"""Pools, supervisors, names and arrays, as they are on the cluster."""

import os
import signal
from typing import Any

import numpy as np
import pytest

import remoteobj
from remoteobj import ActorDiedError, Except, Pool, Supervisor, connect, each, options
from tests.conftest import Launch
from tests.on_ray.actors import Counter
from tests.ray_cluster import LEFT, RIGHT, RayCluster
from tests.tools import until


def test_a_pool_maps_and_replaces_a_worker_that_dies(cluster: RayCluster, launch: Launch) -> None:
    with options(**launch).pool(2, Counter, 1) as pool:
        assert list(pool.map(Counter.add, [1] * 20)) != []
        pids = set(pool.each(Counter.pid))
        assert len(pids) == 2
        assert os.getpid() not in pids
        doomed = pool.submit(lambda counter: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(ActorDiedError):
            doomed.result(20)
        assert pool.submit(Counter.add, 0).result(20) >= 1
        assert sorted(pool.map_unordered(lambda _, n: n * n, range(20))) == [
            n * n for n in range(20)
        ]


def test_a_pool_without_objects_runs_functions_on_the_cluster(launch: Launch) -> None:
    with options(**launch).pool(1) as pool:
        assert pool.submit(pow, 2, 10).result(20) == 1024
        assert list(pool.map(lambda n: n + 1, range(100))) == list(range(1, 101))
        assert pool.submit(os.getpid).result(20) != os.getpid()


def test_rounds_go_to_all_nodes(cluster: RayCluster, launch: Launch) -> None:
    spawners = [
        Counter.options(**launch, engine_options={"resources": {name: 1}}, wait=False)
        for name in (LEFT, RIGHT)
    ]
    with spawners[0].spawn() as left, spawners[1].spawn(10) as right:
        assert each([left, right]).add(1) == [1, 11]
        assert each([left, right]).node() == [cluster.node_id(LEFT), cluster.node_id(RIGHT)]


def test_a_supervisor_restarts_a_child_and_those_after_it(launch: Launch) -> None:
    with Supervisor("rest-for-one", **launch) as supervisor:
        first = supervisor.spawn(Counter, 1)
        second = supervisor.spawn(Counter, 2)
        pids = [first.pid_, second.pid_]
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: (first.restarts_, second.restarts_) == (1, 1))
        assert [first.add(1), second.add(1)] == [2, 3]
        assert {first.pid_, second.pid_}.isdisjoint(pids)


def test_a_public_name_is_found_by_another_program(launch: Launch) -> None:
    with Counter.options(**launch, name="on-ray", public=True).spawn(3) as counter:
        assert connect("on-ray") == counter
        assert connect("on-ray").add(1) == 4
        assert "on-ray" in [actor.name for actor in remoteobj.actors()]


@pytest.mark.parametrize("megabytes", [0.01, 8, 100])
def test_arrays_go_there_and_come_back(launch: Launch, megabytes: float) -> None:
    count = int(megabytes * 2**20 / 8)
    with Counter.options(**launch).spawn() as counter:
        there = np.arange(count, dtype=float)
        for _ in range(3):  # whatever memory they travel in is used again, or given back
            assert counter.total(there) == there.sum()
            assert counter.ones(count).sum() == count
        assert counter.ones(count).flags.writeable


def test_a_lifecycle_error_reaches_the_excepts_group(launch: Launch) -> None:
    exc = Except()

    class Failing:
        def __init__(self) -> None:
            raise KeyError("on purpose")

    with pytest.raises(KeyError, match="on purpose"):
        options(**launch, exc=exc).spawn(Failing)
    with pytest.raises(KeyError, match="on purpose"):
        exc.raise_any("init")


def test_a_pool_is_typed_and_counted_as_any_other(launch: Launch) -> None:
    pool: Any = options(**launch).pool(1)
    with pool:
        assert isinstance(pool, Pool)
        assert len(pool) == 1
