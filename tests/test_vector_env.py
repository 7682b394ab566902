"""The environments of the example, beside gymnasium's own vector of the same."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from examples.vector_env import ActorVectorEnv

COUNT = 3


@pytest.fixture
def name() -> str:
    return "CartPole-v1"


@pytest.fixture
def ours(name: str) -> Iterator[Any]:
    envs = ActorVectorEnv(name, COUNT)
    yield envs
    envs.close()


@pytest.fixture
def theirs(name: str) -> Iterator[Any]:
    envs = SyncVectorEnv([lambda: gymnasium.make(name)] * COUNT)
    yield envs
    envs.close()


def assert_same(mine: tuple[Any, ...], its: tuple[Any, ...]) -> None:
    for one, other in zip(mine[:-1], its[:-1], strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    np.testing.assert_equal(mine[-1], its[-1], "the infos")


# The last has plain numbers as observations, and infos.
@pytest.mark.parametrize(
    ("name", "seed"), [("CartPole-v1", 0), ("CartPole-v1", [3, 1, 2]), ("FrozenLake-v1", 7)]
)
def test_steps_and_episodes_are_those_of_gymnasiums_own_seed_by_seed(
    ours: Any, theirs: Any, seed: Any
) -> None:
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert_same(ours.reset(seed=seed), theirs.reset(seed=seed))
    theirs.action_space.seed(5)
    ended = 0
    for _ in range(250):
        actions = theirs.action_space.sample()
        mine, its = ours.step(actions), theirs.step(actions)
        assert_same(mine, its)
        ended += int(its[2].sum())
    assert ended > COUNT


def test_a_reset_between_forgets_that_episodes_have_ended(ours: Any, theirs: Any) -> None:
    assert_same(ours.reset(seed=1), theirs.reset(seed=1))
    right = np.ones(COUNT, dtype=np.int64)
    while not theirs.step(right)[2].any():
        ours.step(right)
    assert ours.step(right)[2].any()
    assert_same(ours.reset(), theirs.reset())
    assert_same(ours.step(right), theirs.step(right))


def test_an_error_in_one_environment_is_raised_by_the_step(ours: Any) -> None:
    ours.reset(seed=1)
    with pytest.raises(AssertionError, match=r"5.*invalid"):
        ours.step(np.array([0, 5, 1]))


def test_a_wrong_number_of_actions_is_an_error(ours: Any) -> None:
    ours.reset(seed=1)
    with pytest.raises(ValueError, match="map needs one argument for each"):
        ours.step(np.array([0, 1]))


def test_closed_its_processes_have_ended(ours: Any) -> None:
    pids = {env.pid_ for env in ours.envs}
    assert len(pids) == COUNT
    ours.close()
    assert not any(env.alive_ for env in ours.envs)
