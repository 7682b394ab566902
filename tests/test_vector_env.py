"""The environments of the example, beside gymnasium's own vector of the same."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from examples.vector_env import ActorVectorEnv

NAME = "CartPole-v1"
COUNT = 3


@pytest.fixture
def ours() -> Iterator[Any]:
    envs = ActorVectorEnv(NAME, COUNT)
    yield envs
    envs.close()


@pytest.fixture
def theirs() -> Iterator[Any]:
    envs = SyncVectorEnv([lambda: gymnasium.make(NAME)] * COUNT)
    yield envs
    envs.close()


def assert_same(mine: tuple[Any, ...], its: tuple[Any, ...]) -> None:
    for one, other in zip(mine[:-1], its[:-1], strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert mine[-1] == its[-1], "the infos"


@pytest.mark.parametrize("seed", [0, 7, [3, 1, 2]])
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


def test_the_infos_of_all_are_put_together(ours: Any, theirs: Any) -> None:
    alone = [{"lives": 3}, {}, {"lives": 1, "map": {"x": 0.5}}]
    infos: dict[str, Any] = {}
    for number, info in enumerate(alone):
        infos = theirs._add_info(infos, info, number)
    results = [(np.zeros(4, dtype=np.float32), info) for info in alone]
    assert str(ours.together(results)[1]) == str(infos)
    np.testing.assert_array_equal(infos["lives"], [3, 0, 1])


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
