"""The round by which a view of many remote objects makes its calls, and waits for all of them.

Imported when the first is made, since it needs what calls others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ._actor.served_here import local_server, local_servers
from ._caller.call_options import MISSING, PLAIN
from ._caller.outcomes import Outcome, outcome_of, results
from ._caller.rounds import RoundCall, run_round
from ._protocol.operations import Steps
from ._views import View, value_of

__all__ = ["results_of_round"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


def results_of_round(pairs: Sequence[tuple[View, Steps]], names: Sequence[str]) -> list[Any]:
    """Make these calls; their results, in order.

    Args:
        pairs: an object, and the operations on it.
        names: of the actors, for errors.

    Raises:
        Exception: one call failed: its error.
        ExceptionGroup: several failed.
    """
    if not local_servers:
        return results(_elsewhere(pairs), names)
    here: list[tuple[int, Callable[[], Any]]] = []
    there: list[tuple[View, Steps]] = []
    for index, (view, steps) in enumerate(pairs):
        if local_server(view.ref.actor_id) is not None:
            here.append((index, partial(view.in_mode_of(PLAIN).evaluate, steps)))
        else:
            there.append((view, steps))
    # No name is given to what comes of them: errors among it lead here by their tracebacks.
    return results(
        _in_order(_elsewhere(there), [(index, outcome_of(act)) for index, act in here]), names
    )


def _in_order(there: list[Outcome], here: list[tuple[int, Outcome]]) -> list[Outcome]:
    for index, outcome in here:
        there.insert(index, outcome)
    return there


def _elsewhere(pairs: Sequence[tuple[View, Steps]]) -> list[Outcome]:
    def for_sending(index: int) -> Steps:
        view, steps = pairs[index]
        return view.for_sending(steps, value_of)

    return run_round([_call(*pair) for pair in pairs], for_sending)


def _call(view: View, steps: Steps) -> RoundCall:
    ref, _, options, whole = view
    default = options.default
    otherwise = None if default is MISSING else ref.fallback(steps, default, False)
    return ref.endpoint, steps, whole, otherwise, options
