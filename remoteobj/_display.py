"""How a notebook shows a handle: as a table of what its owner knows. The actor is not asked."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from ._ownership import OwnedActor
from ._protocol.identity import class_name

__all__ = ["as_html"]


def as_html(actor: OwnedActor, object_class: Callable[[], type | str | None]) -> str:
    """A table of the actor's name, class, process and state.

    Args:
        object_class: gives the class, or what it is called, as far as that is known.
    """
    state = _state(actor)  # which may take in of what class it is
    rows = {
        "name": actor.name,
        "class": _called(object_class()),
        "pid": str(actor.instance.pid),
        "state": state,
    }
    cells = "".join(
        f'<tr><th style="text-align:left">{name}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table><caption>remote object</caption><tbody>{cells}</tbody></table>"


def _called(cls: type | str | None) -> str:
    if cls is None:
        return "not known here"
    return (cls if isinstance(cls, str) else class_name(cls)).replace(":", ".")


def _state(actor: OwnedActor) -> str:
    if actor.instance.is_alive():
        return "running" if not actor.ours or actor.birth.seems_over() else "starting"
    if not actor.ours:
        return "ended"
    report = actor.instance.exit_report()
    if report.reason in ("stopped", "killed"):  # as its owner wanted it
        return report.reason
    return f"{report.reason}: {str(report._replace(name='')).strip()}"
