"""The same program in processes of this machine, or on a cluster of Ray, by one flag.

Shows: `engine="ray"` is an option like any other. Classes, calls, handles that are passed on, pools
and streams are the same. Run it with `--engine process`, or with `--engine ray`: without a cluster
to connect to (`RAY_ADDRESS`), Ray starts one on this machine.

Watch for: two workers improve one model at the same time, each with the newest weights of both.
Their results come as they are ready, and the model's own record of them is a stream.
"""

import argparse
import os
from collections.abc import Iterator

from remoteobj import get, options

Weights = tuple[float, float]
SHARDS, ROUNDS, RATE = 8, 60, 0.1


class Model:
    """A line, y = a x + b, that is to be learned; real models have more weights."""

    def __init__(self) -> None:
        self.weights: Weights = (0.0, 0.0)
        self.losses: list[float] = []

    def improve(self, loss: float, slopes: Weights) -> None:
        a, b = self.weights
        self.weights = a - RATE * slopes[0], b - RATE * slopes[1]
        self.losses.append(loss)

    def record(self) -> Iterator[float]:
        yield from self.losses[::SHARDS]


class Worker:
    """Reads its share of the data, and tells the model which way is better."""

    def __init__(self, model: Model) -> None:
        self.model = model  # a handle of it, wherever it lives

    def learn(self, shard: int) -> tuple[int, int]:
        points = [(x / 10, 3 * x / 10 + 1) for x in range(shard, 20, SHARDS)]
        a, b = get(self.model.weights)
        errors = [(x, a * x + b - y) for x, y in points]
        by_a, by_b = sum(e * x for x, e in errors), sum(e for _, e in errors)
        loss = sum(e * e for _, e in errors)
        self.model.improve(loss, (by_a / len(errors), by_b / len(errors)))
        return shard, os.getpid()


def main(engine: str) -> None:
    on = options(engine=engine)
    with on.spawn(Model) as model, on.pool(2, Worker, model) as pool:
        shards = [shard for _ in range(ROUNDS) for shard in range(SHARDS)]
        done = list(pool.map_unordered(Worker.learn, shards))
        print(f"{len(done)} results, of {len({pid for _, pid in done})} workers")
        losses = list(model.record())
        print(f"the loss fell to less than a thousandth: {losses[-1] < losses[0] / 1000}")
        a, b = model.weights
        print(f"learned: y = {a:.1f} x + {b:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learn a line.")
    parser.add_argument("--engine", choices=["process", "ray"], default="process")
    main(parser.parse_args().engine)
