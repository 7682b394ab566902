"""All peers: ``python -m benchmarks.peers``.

``--write`` keeps the table and a picture of it, for the documentation. ``--on-ray`` measures
nothing but remoteobj on Ray against an actor of Ray's own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks import picture
from benchmarks.harness import FIGURES, judge, machine, table
from benchmarks.peers._turns import Turns, ask, measure

DOCS = Path(__file__).parents[2] / "docs"
PEER_SECONDS = 60
ALL_SECONDS = 230
ON_RAY_SECONDS = 120

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
ON_RAY = {**WORKS, "array_back": ("an array of 100 MB back", "ms")}
"""What is compared with an actor of Ray's own, where ours is on Ray too."""
REACH = 1.3
"""How many times as long as Ray's own a call and an array may take."""
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
    return SCALES[ON_RAY[work][1]]


def row(label: str, cells: dict[str, str], works: Iterable[str]) -> str:
    return f"| {label} | {' | '.join(cells.get(work, '-') for work in works)} |"


def of_peer(turns: Turns) -> dict[str, str]:
    return {
        work: f"{theirs.best * scale(work):.1f} ({ours.best / theirs.best:.2f})"
        for work, (ours, theirs) in turns.items()
    }


def of_ours(found: Found) -> dict[str, float]:
    """In seconds: the best of all turns."""
    bests = {
        work: [turns[work][0].best for turns in found.values() if work in turns] for work in ON_RAY
    }
    return {work: min(seconds) for work, seconds in bests.items() if seconds}


def comparison(found: Found, ours: str = OURS) -> str:
    bests = of_ours(found)
    titles = {work: f"{title}, {unit}" for work, (title, unit) in ON_RAY.items()}
    cells = {work: f"{best * scale(work):.1f}" for work, best in bests.items()}
    return "\n".join(
        [
            row("", titles, bests),
            "|---|" + "---|" * len(bests),
            row(ours, cells, bests),
            *(row(label, of_peer(turns), bests) for label, turns in found.items()),
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


def ask_on_ray() -> str:
    """Ours on Ray against Ray's own: the table, or nothing."""
    if importlib.util.find_spec("ray") is None:
        return ""
    label = f"an actor of Ray {importlib.metadata.version('ray')}"
    print(f"{label}, and one of ours on it ...", flush=True)
    turns = ask("ray", label, ON_RAY_SECONDS, ours="on_ray")
    for work in sorted({"call", "array", "array_back"} & turns.keys()):
        title, unit = ON_RAY[work]
        judge(f"on Ray: {title}", turns[work], REACH, unit)
    return f"{comparison({label: turns}, f'{OURS} on Ray')}\n\n" if turns else ""


def main() -> None:
    if "--on-ray" in sys.argv:
        print(f"\n{ask_on_ray()}{table(FIGURES)}\n\n{machine()}")
        return
    found = ask_all()
    text = f"{comparison(found)}\n\n{NOTE}\n{ask_on_ray()}"
    if FIGURES:
        text += f"\n{table(FIGURES)}\n"
    print(f"\n{text}\n{machine()}")
    if "--write" in sys.argv and found:
        text += f"\nBy `make bench-peers`, on {machine()}.\n"
        (DOCS / "_peers.md").write_text(text, encoding="utf-8")
        chart = picture.bars(panels(found), OURS)
        (DOCS / "_static" / "peers.svg").write_text(chart, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in PEERS:
        measure(*sys.argv[1:])
    else:
        main()
