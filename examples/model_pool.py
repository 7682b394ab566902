"""A pool of models: each worker loads one, and all texts are embedded by whichever is free.

Shows: a pool whose workers have an object, a map with progress, a crash that costs one task.
Watch for: the models are loaded once each, side by side; the results come in order, with a bar if
this is a terminal; and one of the workers is killed on the way, which costs a single text.
"""

import math
import os
import signal
import sys
import time

from remoteobj import ActorDiedError, Pool

WORKERS = 2
TEXTS = [f"text number {n}" for n in range(400)]
TEXTS[250] = "a text that the model can't stand"


class Model:
    """Stands for one that is loaded from a large file."""

    def __init__(self, seconds: float) -> None:
        time.sleep(seconds)
        self.weights = [math.sin(n) for n in range(256)]

    def embed(self, text: str) -> float:
        """Turn a text into a number; a real model would give a vector."""
        if "can't stand" in text:
            os.kill(os.getpid(), signal.SIGKILL)  # as a crash in C code would
        codes = text.encode() * 10
        return sum(self.weights[code] * n for n, code in enumerate(codes))


def main() -> None:
    with Pool(WORKERS, Model, 0.3) as pool:
        pids = pool.each(lambda model: os.getpid())
        print(f"{len(set(pids))} models are loaded")

        in_a_terminal = sys.stderr.isatty()  # the bar needs tqdm
        results = pool.map(Model.embed, TEXTS, progress=in_a_terminal)
        embedded: list[float | None] = []
        while len(embedded) < len(TEXTS):
            try:
                embedded.append(next(results))
            except ActorDiedError as error:
                how = error.signal.name if error.signal else error.exitcode
                print(f"text {len(embedded)}: {how}, in {error.running}")
                embedded.append(None)

        here = Model(0)
        same = [here.embed(text) for text in TEXTS[:250]] == embedded[:250]
        print(f"{len(embedded) - embedded.count(None)} texts are embedded; as here: {same}")
        pids = pool.each(lambda model: os.getpid())
        print(f"{len(set(pids))} models are there again")


if __name__ == "__main__":
    main()
