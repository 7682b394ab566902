"""The picture of a timeline in the documentation, drawn from a trace: `make picture`.

What is traced is a pipeline in which one thing follows from another, so that the order of all that
is drawn is the same whenever it runs. How long each thing takes is not: so each moment is drawn one
step after the one before it, as by a clock that ticks whenever something happens.
"""

from __future__ import annotations

import json
import tempfile
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import remoteobj
from remoteobj.testing import Gate
from tests.traced_actors import Baker

__all__ = ["PICTURE", "picture"]

PICTURE = Path(__file__).parents[1] / "docs" / "_static" / "timeline.svg"

Event = dict[str, Any]

STEP, LEFT, LANE, GAP = 46, 70, 24, 16
COLOURS = {"call": "#7aa6da", "request": "#8fbf7f", "queue": "#e6c27a"}
STYLE = (
    "text{font:11px sans-serif;fill:#333}.row{font-weight:bold}.arrow{stroke:#b04a5a;fill:none;"
    "stroke-width:1.4;marker-end:url(#tip)}.band{fill:#f4f4f2}"
)


class Bar(NamedTuple):
    """A slice, or a time of waiting, as it is drawn."""

    name: str
    cat: str
    pid: int
    begin: float
    end: float


def recorded() -> list[Event]:
    """The events of a pipeline."""
    with tempfile.TemporaryDirectory() as directory, Gate() as gate:
        with Baker.options(name="baker").spawn() as baker:
            mill = baker.mill_proxy()
            with remoteobj.trace(f"{directory}/out.json"):
                baker.bake(1)
                parked = mill.future_.wait(gate)
                gate.wait_for_arrival()
                queued = mill.future_.grind(2)
                gate.open()
                parked.result()
                queued.result()
        events: list[Event] = json.loads(Path(directory, "out.json").read_text("utf-8"))[
            "traceEvents"
        ]
    return events


def bars(events: list[Event]) -> list[Bar]:
    """What is drawn of them, at the moments at which it was."""
    found = [
        Bar(one["name"], one["cat"], one["pid"], one["ts"], one["ts"] + one["dur"])
        for one in events
        if one["ph"] == "X"
    ]
    begun = {
        one["id"]: one["ts"] for one in events if (one["ph"], one.get("cat")) == ("b", "queue")
    }
    found += [
        Bar("waits", "queue", one["pid"], begun[one["id"]], one["ts"])
        for one in events
        if (one["ph"], one.get("cat")) == ("e", "queue")
    ]
    return sorted(found, key=lambda bar: (bar.begin, -bar.end))


def picture() -> str:
    """A trace, as SVG."""
    events = recorded()
    found = bars(events)
    moments = sorted({at for bar in found for at in (bar.begin, bar.end)})
    x = {at: LEFT + STEP * (1 + number) for number, at in enumerate(moments)}
    names = {one["pid"]: one["args"]["name"] for one in events if one["name"] == "process_name"}
    order = sorted(names, key=lambda pid: (names[pid] in ("baker", "mill"), names[pid]))
    top = {pid: GAP + row * (3 * LANE + GAP) for row, pid in enumerate(order)}
    width, height = LEFT + STEP * (len(moments) + 3), GAP + len(order) * (3 * LANE + GAP)
    drawn = [
        _band(names[pid] if row else "program", top[pid], width) for row, pid in enumerate(order)
    ]
    drawn += [_bar(bar, found, x, top) for bar in found]
    drawn += _arrows(events, x, top, found)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#b04a5a"/></marker></defs>'
    )
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", tip, ground, *drawn, "</svg>", ""])


def _band(name: str, y: int, width: int) -> str:
    return (
        f'<rect class="band" x="0" y="{y}" width="{width}" height="{3 * LANE}"/>'
        f'<text class="row" x="8" y="{y + 16}">{escape(name)}</text>'
    )


def _lane(bar: Bar, found: list[Bar]) -> int:
    """Waiting is above; what is within something else is below it."""
    if bar.cat == "queue":
        return 0
    outer = [
        one
        for one in found
        if one is not bar and one.pid == bar.pid and one.cat == "request" != bar.cat
        if one.begin <= bar.begin and bar.end <= one.end
    ]
    return 1 + len(outer)


def _bar(bar: Bar, found: list[Bar], x: dict[float, int], top: dict[int, int]) -> str:
    y = top[bar.pid] + LANE * _lane(bar, found) + 2
    width = max(4, x[bar.end] - x[bar.begin])
    return (
        f'<rect x="{x[bar.begin]}" y="{y}" width="{width}" height="{LANE - 4}" rx="2" '
        f'fill="{COLOURS[bar.cat]}"/><text x="{x[bar.begin] + 5}" y="{y + 14}">'
        f"{escape(bar.name)}</text>"
    )


def _arrows(
    events: list[Event], x: dict[float, int], top: dict[int, int], found: list[Bar]
) -> list[str]:
    """From each call to its request."""
    arrows = []
    starts = {one["id"]: one for one in events if one["ph"] == "s"}
    for end in (one for one in events if one["ph"] == "f"):
        points = []
        for one, cat in ((starts[end["id"]], "call"), (end, "request")):
            [bar] = [
                bar
                for bar in found
                if (bar.cat, bar.pid, bar.begin) == (cat, one["pid"], one["ts"])
            ]
            lane = top[bar.pid] + LANE * _lane(bar, found)
            points.append((x[one["ts"]], lane + (LANE - 2 if cat == "call" else 2)))
        (x1, y1), (x2, y2) = points
        arrows.append((x1, f'<path class="arrow" d="M{x1 + 2} {y1}L{x2} {y2}"/>'))
    return [path for _, path in sorted(arrows)]


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
