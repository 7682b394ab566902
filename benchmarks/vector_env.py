"""Steps of 4 and of 8 `CartPole-v1`, against gymnasium's own vectors of environments.

Ours is the vector of `examples/vector_env.py`, once as it is, by `each`, and once by futures. That
both do what `SyncVectorEnv` does, seed by seed, is checked before anything is measured.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from benchmarks.harness import Contender, Measure, compare, compile_package, judge, repeated, report
from examples.vector_env import ActorVectorEnv

NAME = "CartPole-v1"
SIZES = 4, 8
CHECKED, STEPS = 300, 200
ROUNDS = 11

Vector = VectorEnv[Any, Any, Any]


class ByFutures(ActorVectorEnv):
    """The same round, by a future for each."""

    def step(self, actions: Any) -> tuple[Any, ...]:
        pairs = zip(self.envs, self.one_each(actions), strict=True)
        futures = [env.future_.step(action) for env, action in pairs]
        return self.together([future.result() for future in futures])


def check(ours: Vector, theirs: Vector) -> None:
    """An `AssertionError` unless both do the same, over episodes that end."""
    ours.action_space.seed(1)
    np.testing.assert_array_equal(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    ended = 0
    for _ in range(CHECKED):
        actions = ours.action_space.sample()
        mine, its = ours.step(actions), theirs.step(actions)
        for one, other in zip(mine[:4], its[:4], strict=True):
            np.testing.assert_array_equal(one, other)
        assert mine[4] == its[4]
        ended += int(np.sum(mine[2]))
    assert ended > 0


def stepping(vector: Vector) -> Measure:
    """A step of all: actions chosen before, and episodes that end and begin."""
    vector.action_space.seed(1)
    vector.reset(seed=1)
    actions = vector.action_space.sample()
    return repeated(lambda: vector.step(actions), STEPS)


def measure(size: int) -> list[Contender]:
    make = [partial(gymnasium.make, NAME)] * size
    with ExitStack() as stack:
        vectors: dict[str, Vector] = {
            "remoteobj, by futures": ByFutures(NAME, size),
            "remoteobj, by each": ActorVectorEnv(NAME, size),
            "AsyncVectorEnv": AsyncVectorEnv(make),
            "SyncVectorEnv": SyncVectorEnv(make),
        }
        for vector in vectors.values():
            stack.enter_context(closing(vector))
        *ours, _, plain = vectors.values()
        for vector in ours:
            check(vector, plain)
        return compare({name: stepping(vector) for name, vector in vectors.items()}, ROUNDS)


def main() -> None:
    compile_package()
    for size in SIZES:
        found = measure(size)
        report(f"A step of {size} x {NAME}", found)
        rates = (f"{rival.name} {size / rival.median:,.0f}" for rival in found)
        print(f"  steps/s at the median: {'; '.join(rates)}")
        futures, together, theirs, _ = found
        # 1.2 times as many steps per second.
        judge(f"a step of {size} {NAME} by futures", [futures, theirs], reach=0.83)
        judge(f"a step of {size} {NAME} by each", [together, theirs], reach=0.83)


if __name__ == "__main__":
    main()
