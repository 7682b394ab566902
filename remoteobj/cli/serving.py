"""`remoteobj serve`: an actor in the foreground, until a signal ends it in order.

::

    main thread     events: ready | error | a signal | a death | the end
    ready thread    waits for the actor's `__init__`, and says so, once
"""

from __future__ import annotations

import argparse
import importlib
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NamedTuple

from .. import Handle, options
from ..errors import ExitReport, RemoteObjError
from .arguments import value_of
from .text import shown
from .tracebacks import print_theirs

__all__ = ["serve"]

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end it in order."""


class TargetError(RemoteObjError):
    """What was to be served can't be found, or can't be served so."""


class _Ready:
    """The event that its `__init__` has finished."""


class _Died(NamedTuple):
    """The event that one of its processes has ended, which another one may follow."""

    report: ExitReport


Event = _Ready | _Died | BaseException | signal.Signals | ExitReport


def serve(asked: argparse.Namespace) -> int:
    """Serve it until it ends."""
    try:
        factory = _found(asked.target)
    except TargetError:
        raise
    except Exception as exc:  # of the module's own code
        print_theirs(exc)
        return 1
    args, kwargs = _arguments(asked.arguments)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with _told_to_end(events.put):
        handle = _spawned(asked, factory, args, kwargs)
        waits = threading.Thread(
            target=_wait_until_ready,
            args=(handle, events.put),
            name="remoteobj-serve-ready",
            daemon=True,
        )
        waits.start()
        try:
            if _restarts(asked):
                handle.on_exit_(lambda report: events.put(_Died(report)))
            handle.exited_.add_done_callback(lambda future: events.put(future.result()))
            return _attend(handle, events)
        except KeyboardInterrupt:
            handle.kill_()
            raise
        finally:
            handle.stop_()
            waits.join()  # it waits no longer, since the actor has ended


def _attend(handle: Handle[Any], events: queue.SimpleQueue[Event]) -> int:
    """Do what each event asks for, until it has ended; the exit code."""
    name, told = shown(handle.name_), None
    while True:
        event = events.get()
        if isinstance(event, _Ready):
            print(f"{name} is ready (pid {handle.pid_}); Ctrl-C stops it", flush=True)
        elif isinstance(event, signal.Signals):
            print(f"{name} is told to stop, by {event.name}; Ctrl-C kills it", flush=True)
            handle.stop_()
            return _outcome(handle)
        elif isinstance(event, _Died):
            told = event.report.pid
            _tell(event.report)
        elif isinstance(event, ExitReport):
            code = _outcome(handle)
            if event.reason == "stopped":
                return code
            if code == 0 and event.pid != told:
                _tell(event)
            return 1
        else:
            print_theirs(event)
            return 1


def _tell(report: ExitReport) -> None:
    if report.reason != "stopped":
        print(f"remoteobj: {shown(str(report))}", file=sys.stderr, flush=True)


def _outcome(handle: Handle[Any]) -> int:
    """The exit code of one that has ended; what went wrong beside its calls is shown."""
    try:
        handle.stop_()
        handle.exc_.raise_any()
    except Exception as exc:
        print_theirs(exc)
        return 1
    return 0


def _wait_until_ready(handle: Handle[Any], tell: Callable[[Event], object]) -> None:
    try:
        handle.ready_()
    except BaseException as exc:
        tell(exc)
    else:
        tell(_Ready())


@contextmanager
def _told_to_end(tell: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Be told of the signals that end a program, which then do not end this one."""

    told: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        if told and number == signal.SIGINT:
            raise KeyboardInterrupt  # whoever presses it again has waited long enough
        told.append(number)
        tell(signal.Signals(number))

    # Under `nohup` it is not for us that a terminal is closed.
    lasting = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    former = {
        one: signal.signal(one, handler) for one in ENDING if not (lasting and one == signal.SIGHUP)
    }
    try:
        yield
    finally:
        for one, what in former.items():
            signal.signal(one, what)


# ------------------------------------------------------------------ what is served


def _found(target: str) -> Callable[..., Any]:
    """What `module:Class` stands for.

    Raises:
        TargetError: there is no such thing.
    """
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise TargetError(f"{target!r} is not of the form MODULE:CLASS")
    sys.path.insert(0, "")  # `python -m` has it there, and a script has not
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise  # it is one that the module imports
        raise TargetError(f"there is no module {exc.name!r} here or among those installed") from exc
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as exc:
            raise TargetError(f"{module} has no {path!r}") from exc
    if not callable(found):
        raise TargetError(f"{target} can't be called, so it makes no object: {found!r}")
    return found  # type: ignore[no-any-return]


def _spawned(
    asked: argparse.Namespace,
    factory: Callable[..., Any],
    args: list[Any],
    kwargs: dict[str, Any],
) -> Handle[Any]:
    """The actor, as soon as it is started.

    Raises:
        TargetError: it can't be, with these options.
    """
    name = asked.name or str(getattr(factory, "__name__", asked.target))
    chosen: dict[str, Any] = {"name": name, "public": True, "wait": False, **dict(asked.options)}
    for option in ("restart", "start_method"):
        if (value := getattr(asked, option)) is not None:
            chosen[option] = value
    try:
        return options(**chosen).spawn(factory, *args, **kwargs)
    except (TypeError, ValueError) as exc:
        raise TargetError(str(exc)) from exc


def _restarts(asked: argparse.Namespace) -> bool:
    return str(asked.restart or dict(asked.options).get("restart", "never")) != "never"


def _arguments(typed: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """What was typed as arguments of a call.

    >>> _arguments(["1", "b.txt", "fps=30"])
    ([1, 'b.txt'], {'fps': 30})
    """
    args, kwargs = [], {}
    for one in typed:
        name, equals, value = one.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = value_of(value)
        else:
            args.append(value_of(one))
    return args, kwargs
