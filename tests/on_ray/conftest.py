"""Ray itself, where its cluster runs."""

from typing import Any

import pytest

from tests.ray_cluster import RayCluster


@pytest.fixture
def ray(cluster: RayCluster) -> Any:
    import ray  # start-up: it takes a second, and is imported only where it is asked for

    return ray
