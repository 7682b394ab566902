"""All peers: ``python -m benchmarks.peers``.

``--write`` keeps the table and a picture of it, for the documentation.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
from pathlib import Path

from benchmarks import picture
from benchmarks.harness import FIGURES, judge, machine, table
from benchmarks.peers._turns import Turns, ask, measure

DOCS = Path(__file__).parents[2] / "docs"
PEER_SECONDS = 60
ALL_SECONDS = 230

PEERS = {
    "ray": "Ray {}",
    "xoscar": "Xoscar {}",
    "pykka": "Pykka {} (threads)",
    "rpyc": "RPyC {}",
    "Pyro5": "Pyro5 {}",
    "distributed": "Dask distributed {}",
    "loky": "loky {} (a pool)",
    "pebble": "Pebble {} (a pool)",
    "multiprocessing": "multiprocessing.Pool",
}
WORKS = {
    "call": ("one call", "µs"),
    "futures": ("1,000 futures, each", "µs"),
    "awaits": ("1,000 awaits, each", "µs"),
    "stream": ("an item of a stream", "µs"),
    "array": ("an array of 100 MB", "ms"),
    "tasks": ("1,000 tasks of a pool of 2, each", "µs"),
    "map": ("10,000 calls of its map, each", "µs"),
}
SCALES = {"µs": 1e6, "ms": 1e3}
OURS = f"remoteobj {importlib.metadata.version('remoteobj')}"

Found = dict[str, Turns]
"""By the name and version of the peer."""

NOTE = """\
Each figure is the best of its rounds. In brackets is the time of remoteobj, measured in turns with
that library, divided by the library's time. The first row is the best of all turns. A call of
Xoscar is an `await`. `-`: the library does not have this, or cannot send it.
"""


def scale(work: str) -> float:
    return SCALES[WORKS[work][1]]


def row(label: str, cells: dict[str, str]) -> str:
    return f"| {label} | {' | '.join(cells.get(work, '-') for work in WORKS)} |"


def of_peer(turns: Turns) -> dict[str, str]:
    return {
        work: f"{theirs.best * scale(work):.1f} ({ours.best / theirs.best:.2f})"
        for work, (ours, theirs) in turns.items()
    }


def of_ours(found: Found) -> dict[str, float]:
    """In seconds: the best of all turns."""
    bests = {
        work: [turns[work][0].best for turns in found.values() if work in turns] for work in WORKS
    }
    return {work: min(seconds) for work, seconds in bests.items() if seconds}


def comparison(found: Found) -> str:
    titles = {work: f"{title}, {unit}" for work, (title, unit) in WORKS.items()}
    ours = {work: f"{best * scale(work):.1f}" for work, best in of_ours(found).items()}
    return "\n".join(
        [
            row("", titles),
            "|---|" + "---|" * len(WORKS),
            row(OURS, ours),
            *(row(label, of_peer(turns)) for label, turns in found.items()),
        ]
    )


def panels(found: Found) -> list[picture.Panel]:
    """For each work: all who can do it."""
    made = []
    for work, best in of_ours(found).items():
        title, unit = WORKS[work]
        seconds = {OURS: best} | {
            label: turns[work][1].best for label, turns in found.items() if work in turns
        }
        times = {label: one * scale(work) for label, one in seconds.items()}
        made.append(picture.Panel(title, unit, times))
    return made


def ask_all() -> Found:
    end = time.monotonic() + ALL_SECONDS
    found: Found = {}
    for name, label in PEERS.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name}: skipped, it is not installed", flush=True)
            continue
        if "{}" in label:
            label = label.format(importlib.metadata.version(name))
        print(f"{label} ...", flush=True)
        turns = ask(name, label, min(PEER_SECONDS, end - time.monotonic()))
        if turns:
            found[label] = turns
        if name == "xoscar" and "awaits" in turns:
            judge("1,000 awaits gathered", turns["awaits"], reach=0.25)
    return found


def main() -> None:
    found = ask_all()
    text = f"{comparison(found)}\n\n{NOTE}"
    if FIGURES:
        text += f"\n{table(FIGURES)}\n"
    print(f"\n{text}\n{machine()}")
    if "--write" in sys.argv and found:
        text += f"\nBy `make bench-peers`, on {machine()}.\n"
        (DOCS / "_peers.md").write_text(text, encoding="utf-8")
        chart = picture.bars(panels(found), OURS)
        (DOCS / "_static" / "peers.svg").write_text(chart, encoding="utf-8")


if __name__ == "__main__":
    names = [name for name in PEERS if name in sys.argv]
    if names:
        measure(names[0])
    else:
        main()
