"""Pictures of the figures, as SVG for a page: written by hand, so that they need no library.

Colours are the page's own variables, so that they fit its light and its dark theme; those after the
comma are for whoever shows the file alone. All axes are logarithmic: equal steps are equal factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.harness import Figure, Ratio

__all__ = ["Panel", "bars", "ratios"]

WIDTH = 760
STYLE = """\
.chart text { font-family: var(--font-stack, system-ui, sans-serif); font-size: 14px; \
fill: var(--color-foreground-primary, #1f2328); }
.chart .small { font-size: 12px; fill: var(--color-foreground-secondary, #57606a); }
.chart .head { font-weight: 600; }
.chart .over { paint-order: stroke; stroke: var(--color-background-primary, #fff); \
stroke-width: 4; }
.chart .end { text-anchor: end; }
.chart .middle { text-anchor: middle; }
.chart .grid { stroke: var(--color-background-border, #d8dee4); stroke-width: 1; }
.chart .even { stroke: var(--color-foreground-muted, #8b949e); stroke-width: 1.5; }
.chart .allowed { fill: var(--color-background-border, #d8dee4); opacity: 0.6; }
.chart .limit { stroke: var(--color-foreground-secondary, #57606a); stroke-width: 2.5; }
.chart .ours { fill: var(--color-brand-primary, #0a58ca); }
.chart .way { stroke: var(--color-brand-primary, #0a58ca); stroke-width: 3; }
.chart .others { fill: var(--color-foreground-muted, #8b949e); }
.chart .best { fill: none; stroke: var(--color-foreground-primary, #1f2328); stroke-width: 1.2; }
.chart .missed { fill: #e8590c; }
.chart .way.missed { stroke: #e8590c; }
"""


def drawing(name: str, title: str, height: float, shapes: Sequence[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-labelledby="{name}-title" class="chart" '
        'style="width:100%;max-width:760px;height:auto;display:block;margin:1.5rem auto;">',
        f'<title id="{name}-title">{escape(title)}</title>',
        f"<style>\n{STYLE}</style>",
        *shapes,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def line(kind: str, x: float, y: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place}/>'


def point(kind: str, x: float, y: float) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'


@dataclass(frozen=True)
class Axis:
    """Where a value lies, between the ticks that enclose all values."""

    left: float
    right: float
    ticks: list[float]

    @classmethod
    def over(cls, left: float, right: float, values: Sequence[float], steps: Sequence[int]) -> Axis:
        """With ticks at these steps of each power of ten."""
        ticks = [step * 10.0**power for power in range(-6, 9) for step in steps]
        first = max(i for i, tick in enumerate(ticks) if tick <= min(values))
        last = min(i for i, tick in enumerate(ticks) if tick >= max(values))
        return cls(left, right, ticks[first : last + 1])

    def __call__(self, value: float) -> float:
        first, last = math.log(self.ticks[0]), math.log(self.ticks[-1])
        part = (math.log(value) - first) / (last - first)
        return self.left + part * (self.right - self.left)

    def grid(self, top: float, bottom: float) -> list[str]:
        return [line("grid", self(tick), top, self(tick), bottom) for tick in self.ticks]

    def scale(self, y: float) -> list[str]:
        return [text(self(tick), y, f"{tick:,g}", "small middle") for tick in self.ticks]


# ------------------------------------------------------------------ ratios, each with its limit

ROW = 38
TOP = 62


def ratios(figures: Sequence[Figure]) -> str:
    """Each median ratio as a point, in the band where it is to lie; that of the bests as a ring.

    Amounts have no place here.
    """
    shown = [figure for figure in figures if isinstance(figure, Ratio)]
    values = [1.0]
    for one in shown:
        values += one.median_ratio, one.ratio_of_bests, one.reach
    axis = Axis.over(320, 620, values, (1, 2, 5))
    bottom = TOP + ROW * len(shown)
    shapes = [*legend(axis), *axis.grid(TOP, bottom)]
    for number, figure in enumerate(shown):
        shapes += ratio_row(axis, TOP + ROW * number, figure)
    shapes += [line("even", axis(1), TOP - 4, axis(1), bottom + 4), *axis.scale(bottom + 18)]
    title = "How long it takes, measured in what the other one takes, and how long it may take"
    return drawing("performance", title, bottom + 28, shapes)


def legend(axis: Axis) -> list[str]:
    return [
        text(0, 18, "Time of ours by time of theirs, median of the rounds", "head"),
        rect("allowed", 0, 32, 26, 14),
        line("limit", 26, 31, 26, 47),
        text(34, 44, "to reach", "small"),
        point("ours", 106, 39),
        text(118, 44, "reached", "small"),
        point("missed", 186, 39),
        text(198, 44, "missed", "small"),
        point("best", 260, 39),
        text(272, 44, "at the best", "small"),
        text(axis(1) - 12, 50, "← faster", "small end"),
        text(axis(1), 50, "1", "small middle"),
        text(axis(1) + 12, 50, "slower →", "small"),
    ]


def ratio_row(axis: Axis, top: float, figure: Ratio) -> list[str]:
    middle, limit, median = top + ROW / 2, axis(figure.reach), axis(figure.median_ratio)
    kind = "ours" if figure.reached else "missed"
    words = f"{figure.median_ratio:.3g} of {figure.reach:.3g}" + (
        "" if figure.reached else ", missed"
    )
    return [
        text(0, middle - 3, figure.what),
        text(0, middle + 12, f"against {figure.against}", "small"),
        rect("allowed", axis.left, middle - 9, limit - axis.left, 18),
        line("limit", limit, middle - 11, limit, middle + 11),
        line("way" if figure.reached else "way missed", axis(1), middle, median, middle),
        point(kind, median, middle),
        point("best", axis(figure.ratio_of_bests), middle),
        text(axis.right + 12, middle + 4, words, "small"),
    ]


# ------------------------------------------------------------------ bars, a panel for each work

BAR = 22


@dataclass(frozen=True)
class Panel:
    """What is compared in one respect: the time of each contender, in `unit`."""

    title: str
    unit: str
    times: dict[str, float]


def bars(panels: Sequence[Panel], ours: str) -> str:
    """One panel under the other; those in the same unit have the same axis."""
    shapes = [text(0, 18, "Shorter is faster. Each grey line is ten times the last.", "head")]
    top = 50.0
    for panel in panels:
        times = [time for one in panels if one.unit == panel.unit for time in one.times.values()]
        # A tenth more room at both ends, so that the shortest bar can be seen.
        axis = Axis.over(190, 660, [min(times) / 1.1, max(times) * 1.1], (1,))
        bottom = top + 10 + BAR * len(panel.times)
        shapes += [text(0, top, panel.title, "head"), *axis.grid(top + 8, bottom)]
        for number, label in enumerate(sorted(panel.times, key=panel.times.__getitem__)):
            kind = "ours" if label == ours else "others"
            shapes += bar(axis, top + 10 + BAR * number, label, panel.times[label], kind)
        shapes += [
            *axis.scale(bottom + 14),
            text(axis.right + 24, bottom + 14, panel.unit, "small"),
        ]
        top = bottom + 50
    return drawing("peers", "How long a call takes through remoteobj and others", top - 28, shapes)


def bar(axis: Axis, top: float, label: str, time: float, kind: str) -> list[str]:
    return [
        text(axis.left - 10, top + 14, label, "small end"),
        rect(kind, axis.left, top + 3, axis(time) - axis.left, BAR - 7),
        text(axis(time) + 6, top + 15, f"{time:,.1f}", "small over"),
    ]
