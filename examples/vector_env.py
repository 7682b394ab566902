"""Environments of gymnasium, each in a process of its own, and all stepped at once.

Shows: one thing asked of many actors at the same time. What stands around it makes this a
`VectorEnv` like gymnasium's own, so that its wrappers and training programs take it.

Watch for: the results are those of `SyncVectorEnv`, seed by seed, also where an episode ends and
the step after it begins a new one. An error in one environment arrives here as itself.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from remoteobj import each, remote


@remote
class Environment:
    def __init__(self, name: str) -> None:
        self.env = gymnasium.make(name)
        self.over = False

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.over = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.over:
            first, info = self.reset()
            return first, 0.0, False, False, info
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.over = terminated or truncated
        return obs, reward, terminated, truncated, info

    @remote.cleanup
    def close(self) -> None:
        self.env.close()


class ActorVectorEnv(VectorEnv[Any, Any, Any]):
    def __init__(self, name: str, num_envs: int) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.envs = [Environment.options(wait=False).spawn(name) for _ in range(num_envs)]
        self.single_observation_space = self.envs[0].env.observation_space.get_()
        self.single_action_space = self.envs[0].env.action_space.get_()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        if not isinstance(seed, list):
            seed = [None if seed is None else seed + n for n in range(self.num_envs)]
        return self.together(each(self.envs).reset.map(seed, [options] * self.num_envs))

    def step(self, actions: Any) -> tuple[Any, ...]:
        return self.together(each(self.envs).step.map(self.one_each(actions)))

    def one_each(self, actions: Any) -> Any:
        """The action of each environment. Python's own numbers travel faster than numpy's."""
        plain = isinstance(self.single_action_space, gymnasium.spaces.Discrete)
        return np.asarray(actions).tolist() if plain else iterate(self.action_space, actions)

    def together(self, results: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """One result of all: observations, numbers and infos each in one."""
        obs, *numbers, infos = zip(*results, strict=True)
        room: Any = create_empty_array(self.single_observation_space, self.num_envs)
        batch: Any = concatenate(self.single_observation_space, obs, room)
        merged: dict[str, Any] = {}
        for number, info in enumerate(infos):
            merged = self._add_info(merged, info, number)
        return batch, *map(np.array, numbers, (float, bool, bool)), merged

    def close_extras(self, **_: Any) -> None:
        for env in self.envs:
            env.stop_()


def main() -> None:
    name, count, steps = "CartPole-v1", 4, 300
    ours = ActorVectorEnv(name, count)
    theirs = SyncVectorEnv([lambda: gymnasium.make(name)] * count)
    ours.action_space.seed(1)
    same = np.array_equal(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    episodes = 0
    for _ in range(steps):
        actions = ours.action_space.sample()
        mine, its = ours.step(actions), theirs.step(actions)
        same = same and all(map(np.array_equal, mine[:4], its[:4]))
        episodes += sum(mine[2])
    print(f"{steps} steps of {count} environments, in which {episodes} episodes ended")
    print("the same as in a SyncVectorEnv:", same)
    ours.close()
    theirs.close()


if __name__ == "__main__":
    main()
