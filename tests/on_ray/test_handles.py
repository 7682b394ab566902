"""Handles of actors on the cluster, in tasks and actors of Ray's own, and in actors of ours."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import CallTimeoutError
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.on_ray.actors import Asker, BareAsker, Counter, add_in_task, use_in_task
from tests.on_ray.bare import bare_actor
from tests.ray_cluster import LEFT, RIGHT, RayCluster


@pytest.fixture
def counter(launch: Launch) -> Iterator[Any]:
    with Counter.options(**launch, engine_options={"resources": {LEFT: 1}}).spawn(10) as handle:
        yield handle


def test_a_handle_goes_into_a_task_of_ray_and_back(ray: Any, counter: Any) -> None:
    task = ray.remote(add_in_task)
    back, answer, pid = ray.get(task.options(resources={RIGHT: 1}).remote(counter, 1))
    assert (answer, back == counter, pid != counter.pid_) == (11, True, True)
    assert back.add(1) == counter.value.__ == 12
    assert ray.get(task.remote(back, 1))[1] == 13


def test_a_task_of_ray_uses_a_handle_in_every_way(ray: Any, counter: Any) -> None:
    task = ray.remote(use_in_task)
    assert ray.get(task.remote(counter)) == (12, [0, 1, 2], 12, 24)


def test_a_handle_goes_through_the_object_store(ray: Any, counter: Any) -> None:
    assert ray.get(ray.put(counter)) == counter
    assert ray.get(ray.put([counter]))[0].add(1) == 11


def test_an_actor_of_ray_keeps_a_handle_and_gives_it_back(ray: Any, counter: Any) -> None:
    with bare_actor(ray, BareAsker, counter, resources={RIGHT: 1}) as asker:
        assert [ray.get(asker.add.remote(n)) for n in (1, 2)] == [11, 13]
        assert ray.get(asker.give.remote()) == counter


def test_an_actor_of_ours_on_another_node_calls_one(
    cluster: RayCluster, launch: Launch, counter: Any
) -> None:
    options = Asker.options(**launch, engine_options={"resources": {RIGHT: 1}})
    with options.spawn(counter) as asker:
        assert asker.node() == cluster.node_id(RIGHT) != counter.node()
        assert asker.add(1) == 11
        assert asker.other == counter
        assert counter.add_to(counter, 1) == 12  # which calls itself


def test_a_process_of_this_machine_calls_one(counter: Any) -> None:
    with Asker.options(start_method="spawn").spawn(counter) as asker:
        assert asker.add(1) == 11


def test_one_calls_an_actor_in_a_process_of_this_machine(counter: Any) -> None:
    with Counter.options(start_method="spawn").spawn() as local:
        assert counter.add_to(local, 1) == 1


def test_handles_know_which_actor_they_are_of(ray: Any, counter: Any, launch: Launch) -> None:
    assert counter.me() == counter
    back, *_ = ray.get(ray.remote(add_in_task).remote(counter, 0))
    assert hash(back) == hash(counter)
    assert back == counter.me()


def test_a_cancel_and_a_time_limit_reach_a_call_that_waits(counter: Any, gate: Gate) -> None:
    running = counter.future_.wait_at(gate)
    gate.wait_for_arrival()
    cancelled = counter.future_.add(100)
    with pytest.raises(CallTimeoutError):
        counter.with_(timeout=0.05).add(1000)
    assert cancelled.cancel()
    time.sleep(0.2)  # nothing tells of its arrival, since the actor reads nothing while it is busy
    gate.open()
    running.result(20)
    assert counter.value.__ == 10
