"""Killed workers, killed nodes, and owners that end: what callers are told, and what is left."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.leaks import list_files
from tests.on_ray.actors import Counter, Keeper
from tests.ray_cluster import RayCluster
from tests.tools import Scripts, until


def test_a_killed_worker_fails_every_pending_call_within_a_second(
    launch: Launch, gate: Gate
) -> None:
    counter = Counter.options(**launch).spawn()
    running = counter.future_.wait_at(gate)
    gate.wait_for_arrival()
    waiting = counter.future_.add(1)
    killed = time.monotonic()
    os.kill(counter.pid_, signal.SIGKILL)
    for future in (running, waiting):
        with pytest.raises(ActorDiedError) as caught:
            future.result(20)
        assert caught.value.maybe_executed or future is waiting
    assert time.monotonic() - killed < 1.0
    with pytest.raises(ActorDiedError):
        counter.add(1)
    assert not counter.alive_
    assert counter.exited_.result(20).reason == "died"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda actor: actor.stop_(), "stopped"),
        (lambda actor: actor.terminate_(), "stopped"),
        (lambda actor: actor.kill_(), "killed"),
        (lambda actor: os.kill(actor.pid_, signal.SIGKILL), "died"),
        (lambda actor: actor.cast_.passto(lambda _: os._exit(3)), "died"),
    ],
    ids=["stop", "terminate", "kill", "SIGKILL", "exit"],
)
def test_an_actor_says_why_it_ended_as_far_as_ray_tells(
    launch: Launch, end: Callable[[Any], object], reason: str
) -> None:
    counter = Counter.options(**launch).spawn()
    end(counter)
    report = counter.exited_.result(10)
    assert (report.reason, report.pid) == (reason, counter.pid_)
    assert not counter.alive_


def test_a_killed_node_fails_every_call_to_its_actors(
    cluster: RayCluster, launch: Launch, gate: Gate
) -> None:
    with cluster.spare("doomed"):
        options = Counter.options(**launch, engine_options={"resources": {"doomed": 1}})
        counter = options.spawn()
        running = counter.future_.wait_at(gate)
        gate.wait_for_arrival()
        cluster.kill("doomed")
        with pytest.raises(ActorDiedError):
            running.result(20)
        with pytest.raises(ActorDiedError):
            counter.add(1)
        assert counter.exited_.result(20).reason == "died"


def test_an_actor_of_a_killed_node_is_restarted_on_another_with_its_state(
    cluster: RayCluster, launch: Launch
) -> None:
    options = Keeper.options(
        **launch,
        engine_options={"resources": {"refuge": 1}},
        restart="on-failure",
        checkpoint_every=0.0,
        backoff=0.01,
    )
    with cluster.spare("first", "refuge"), options.spawn() as counter:
        assert counter.add(5) == 5
        assert counter.node() == cluster.node_id("first")
        with cluster.spare("second", "refuge"):
            cluster.kill("first")
            until(lambda: counter.restarts_ == 1)
            assert counter.add(1) == 6
            assert counter.node() == cluster.node_id("second")
            counter.stop_()


OWNER = """
import os, signal, sys
from tests.on_ray.actors import Counter
counters = [Counter.options(engine="ray").spawn() for _ in range(2)]
print("two:", *[one.pid_ for one in counters], flush=True)
{end}
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", ["", "raise ValueError", "os._exit(3)", "os.kill(0, 9)"])
def test_the_end_of_their_owner_ends_its_actors(
    cluster: RayCluster, script: Scripts, end: str
) -> None:
    program = script(OWNER.format(end=end))
    while not program.line().startswith("two: "):
        pass  # what Ray has to say, where the machine is busy
    program.finish()
    until(lambda: not list(cluster.actors()), 10.0)


def test_an_actor_that_stops_in_order_leaves_nothing_on_its_node(
    launch: Launch, places: list[Path]
) -> None:
    before = set(list_files(places[0]))
    with Counter.options(**launch).spawn() as counter:
        assert counter.add(1) == 1
    assert set(list_files(places[0])) <= before


def test_a_handle_that_nobody_has_any_more_ends_its_actor(
    cluster: RayCluster, launch: Launch
) -> None:
    counter: Any = Counter.options(**launch).spawn()
    assert counter.add(1) == 1
    del counter
    until(lambda: not list(cluster.actors()))
