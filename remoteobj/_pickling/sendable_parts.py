"""The parts of an exception that can be pickled, with a stand-in for each one that can't."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, TypeAlias

from .._os.thread_unwind import ThreadUnwind
from ..errors import describe
from .exception_parts import About, State, about, bare, members_of, restore, state_of
from .stand_ins import StandIn

__all__ = ["Attempt", "is_sendable", "sendable_state", "values_of"]

Attempt: TypeAlias = "Callable[[Any], bool]"
"""Raises if a value can't be pickled; else whether there are exceptions in it, which are left out
of the trial."""


def is_sendable(reduction: Any, attempt: Attempt) -> bool:
    """Whether the reduction of an exception can be pickled, and leads to no other exception."""
    try:
        return not attempt(reduction)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:
        return False


def sendable_state(exc: BaseException, attempt: Attempt) -> tuple[About, State]:
    """What is told of an exception, and its state; notes say what of it is a stand-in."""
    said, state = about(exc), _state_of(exc)
    trial = _Trial(attempt)
    try:
        attempt(state)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:
        state = trial.replace(state)
    notes = said.notes + [f"{path} is a stand-in: {why}" for path, why in trial.failed.items()]
    if trial.failed and (words := _words_lost(exc, state)):
        notes.append(f"it said: {words}")
    return said._replace(notes=notes), state


def values_of(state: State) -> Iterable[Any]:
    """The arguments, attributes and fields."""
    attributes = state.attributes.values() if type(state.attributes) is dict else ()
    return chain(state.args, attributes, state.fields.values())


def _state_of(exc: BaseException) -> State:
    try:
        return state_of(exc)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:  # of its own __getstate__
        return state_of(exc, as_class_says=False)


def _words_lost(exc: BaseException, state: State) -> str:
    """What the exception says, if with this state it says something else."""
    words = describe(exc)
    copy = bare(type(exc), *members_of(exc))
    restore(copy, state)
    return "" if describe(copy) == words else words


class _Trial:
    """Tries part by part; `failed` says of each that can't be pickled why."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.failed: dict[str, str] = {}

    def replace(self, state: State) -> State:
        args = tuple(self._part(f"args[{i}]", value) for i, value in enumerate(state.args))
        return State(args, self._attributes(state.attributes), self._named(state.fields))

    def _attributes(self, attributes: Any) -> Any:
        if type(attributes) is dict:
            return self._named(attributes)
        if type(attributes) is tuple:  # attributes and slots, as a __getstate__ may give them
            return tuple(map(self._attributes, attributes))
        return self._part("its state", attributes)

    def _named(self, values: dict[Any, Any]) -> dict[Any, Any]:
        return {name: self._part(str(name), value) for name, value in values.items()}

    def _part(self, path: str, value: Any) -> Any:
        try:
            self._attempt(value)
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException as error:
            why = f"it can't be pickled: {describe(error.__cause__ or error)}"
            self.failed[path] = why
            return StandIn.of(path, value, why)
        return value
