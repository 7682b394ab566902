"""A timeline of a small pipeline, in a file that Perfetto opens: who calls whom, who waits.

Shows: `remoteobj.trace`, actors that call actors, futures, a stream.
Watch for: the reader and the three workers are at work at once; the last worker is slow, so texts
wait in its queue; the arrows lead from each call to the actor that runs it.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import remoteobj
from remoteobj import remote

TEXTS = 12
WORKERS = 3


@remote
class Reader:
    """Gives texts, one after the other."""

    def texts(self, count: int) -> Iterator[str]:
        for number in range(count):
            time.sleep(0.002)  # as a disk would take
            yield f"text number {number}, of no great length"


@remote
class Store:
    """Keeps what the workers have found."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()

    def add(self, letters: Counter[str]) -> None:
        self.total.update(letters)


@remote
class Worker:
    """Counts letters, and gives the numbers to the store."""

    def __init__(self, store: Any, seconds: float) -> None:
        self.store = store
        self.seconds = seconds

    def count(self, text: str) -> int:
        time.sleep(self.seconds)  # as a model would take
        letters = Counter(text.replace(" ", ""))
        self.store.add(letters)
        return letters.total()


def run() -> int:
    """Count the letters of all texts."""
    with Reader.spawn() as reader, Store.spawn() as store:
        workers = [Worker.spawn(store, 0.003 * (1 + number)) for number in range(WORKERS)]
        counts = [
            workers[number % WORKERS].future_.count(text)
            for number, text in enumerate(reader.texts(TEXTS))
        ]
        total: int = sum(count.result() for count in counts)
        for worker in workers:
            worker.stop_()
    return total


def main(path: Path) -> None:
    with remoteobj.trace(path):
        print(f"{run()} letters in {TEXTS} texts")

    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    names = sorted(one["args"]["name"] for one in events if one["name"] == "process_name")
    print("rows:", ", ".join(names))
    kinds = Counter(one["ph"] for one in events)
    print(f"arrows from calls to actors: {kinds['f']}")
    print(f"open {path.name} at https://ui.perfetto.dev")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(Path(directory, "out.json"))
