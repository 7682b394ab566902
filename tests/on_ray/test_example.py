"""The example runs on the cluster as it does in processes, by one flag."""

import pytest

from tests.ray_cluster import RayCluster
from tests.test_examples import PROMISES, first_missing, run


@pytest.mark.timeout(75)
def test_the_example_shows_the_same_on_the_cluster(cluster: RayCluster) -> None:
    ended = run("cluster", "--engine", "ray")
    assert ended.returncode == 0, ended.stderr
    assert first_missing(PROMISES["cluster"], ended.stdout.splitlines()) is None, ended.stdout
    assert list(cluster.actors()) == []
