"""Which node an actor is placed on, and what is said where none has what it needs."""

import os

import pytest

from remoteobj import SpawnTimeoutError
from tests.conftest import Launch
from tests.on_ray.actors import Counter
from tests.ray_cluster import LEFT, RIGHT, RayCluster
from tests.tools import until


@pytest.mark.parametrize("name", [LEFT, RIGHT])
def test_an_actor_is_where_its_resource_is(cluster: RayCluster, launch: Launch, name: str) -> None:
    with Counter.options(**launch, engine_options={"resources": {name: 1}}).spawn() as counter:
        assert counter.node() == cluster.node_id(name)
        assert counter.pid() == counter.pid_ != os.getpid()


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [({"resources": {"elsewhere": 1}}, "elsewhere"), ({"num_gpus": 0.5}, "GPU")],
)
def test_an_actor_that_no_node_can_take_says_what_is_missing(
    cluster: RayCluster, launch: Launch, wanted: Launch, missing: str
) -> None:
    spawner = Counter.options(**launch, engine_options=wanted, spawn_timeout=1.0)
    with pytest.raises(SpawnTimeoutError, match=missing) as caught:
        spawner.spawn()
    assert LEFT not in str(caught.value)
    until(lambda: not list(cluster.actors()))


def test_an_actor_waits_until_a_node_has_what_it_needs(cluster: RayCluster, launch: Launch) -> None:
    spawner = Counter.options(**launch, engine_options={"resources": {"later": 1}}, wait=False)
    counter = spawner.spawn()
    with cluster.spare("later"), counter:
        assert counter.add(1) == 1
        assert counter.node() == cluster.node_id("later")


def test_an_engine_option_that_ray_does_not_know_is_refused(launch: Launch) -> None:
    with pytest.raises((TypeError, ValueError), match="num_cpu"):
        Counter.options(**launch, engine_options={"num_cpu": 1}).spawn()
