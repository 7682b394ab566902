"""The view: what a proxy stands for, and how what is done to the proxy is carried out.

An operation that is evaluated gives what the mode of the view says: the value itself, a future of
it, something to be awaited, or nothing.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._actor.served_here import LocalServer, local_server, local_servers
from ._caller.answers import RETURNED_SELF, Fallback, fallback_or_raise
from ._caller.call_options import MISSING, PLAIN, CallMode, CallOptions
from ._fast_typing import NamedTuple
from ._os.lazy_import import import_lock
from ._parts import VIEW_OF, settled
from ._pickling.codec import HoldsPartError
from ._protocol.operations import OPERATIONS, Step, Steps, drop, evaluate
from ._protocol.parts import PARTS
from ._reference import RemoteRef
from .errors import ActorDiedError, NotListeningError

if TYPE_CHECKING:
    from concurrent.futures import Future


__all__ = ["View", "value_of"]

# Bare names: on Python 3.11 to look a member up in its class takes longer than to compare it.
_NOW, _FUTURE, _AWAIT = CallMode.NOW, CallMode.FUTURE, CallMode.AWAIT

_new_tuple = tuple.__new__  # makes a view in a third of the time

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class View(NamedTuple):
    """A part of a remote object, and how calls are made through it."""

    ref: RemoteRef
    """The whole object."""
    steps: Steps
    """The operations that lead from there to the part."""
    options: CallOptions
    whole: Any
    """The proxy of the whole object. Each part holds it alive, and with it the actor that a
    handle owns. It is also the result of a call that returns the object itself. None: this is
    the view of that very proxy, which must not hold itself alive."""

    @classmethod
    def of(cls, ref: RemoteRef) -> View:
        """The view of the whole object, through which calls are made as its owner chose."""
        plain = not ref.eager and ref.default is MISSING
        options = PLAIN if plain else CallOptions(proxy=ref.eager, default=ref.default)
        return cls(ref, (), options, None)

    def reduced(
        self, make_whole: Callable[..., Any], make_part: Callable[..., Any]
    ) -> tuple[Any, ...]:
        """What a pickle has of a proxy with this view, with what makes one of it again."""
        ref, steps, _, whole = self
        if whole is not None:
            return make_part, (whole, steps)
        return make_whole, (ref.reference(),), *ref.local_copy_for_child()

    def then(self, name: str, *operands: Any) -> View:
        """The view with one more step."""
        assert name in OPERATIONS
        ref, steps, options, whole = self
        return View(ref, (*steps, (name, *operands)), options, whole)

    def at(self, *paths: str) -> View:
        """The view of the attribute at the end of dotted paths.

        Raises:
            ValueError: a name in them is empty.
        """
        names = ".".join(paths).split(".")
        if "" in names:
            raise ValueError(f"attrs_{paths} has an empty name in it")
        return self._replace(steps=(*self.steps, *(("attr", name) for name in names)))

    def at_place(self) -> View | None:
        """The view of the place that this part is read from; None: it is no attribute and no item,
        but what a call gives, say."""
        ref, steps, options, whole = self
        if not steps:
            return None
        name, *operands = steps[-1]
        place = OPERATIONS[name].place
        if place is None:
            return None
        return _new_tuple(View, (ref, (*steps[:-1], (place, *operands)), options, whole))

    def as_stored(self) -> StoredView:
        """The view of this part, marked as one whose value has just been stored in its place."""
        return _new_tuple(StoredView, self)

    def in_mode_of(self, plain: CallOptions, proxy: object = None) -> View:
        """The view through which calls are made in the mode of `plain` options; `proxy` is the one
        whose view this is."""
        ref, steps, options, whole = self
        new = plain if options is PLAIN else options._replace(mode=plain.mode)
        return _new_tuple(View, (ref, steps, new, proxy if whole is None else whole))

    def do(self, name: str, *operands: Any) -> Any:
        """Evaluate the view and one more operation."""
        return self.evaluate((*self.steps, (name, *operands)))

    def do_by_syntax(self, name: str, *operands: Any) -> Any:
        """Evaluate the view and one more operation, for which Python's own syntax asks.

        Raises:
            TypeError: the operation gives a future, or something to be awaited, and Python's
                syntax would drop it.
        """
        operation, mode = OPERATIONS[name], self.options.mode
        returns, reads = operation.returns, operation.writes
        if returns is None:
            return self.do(name, *operands)
        if reads is not None and _is_stored(operands[-1], self, (reads, operands[0])):
            return None
        if mode is not _NOW and not (mode is CallMode.CAST and returns is drop):
            func = name if hasattr(builtins, name) else f"operator.{name}"
            raise TypeError(
                f"through {mode.value} this would give nothing that could be waited for; "
                f"use {mode.value}.passto({func}, ...)"
            )
        return returns(self.do(name, *operands))

    def evaluate(self, steps: Steps, default: Any = MISSING, default_local: bool = False) -> Any:
        """Have a chain of operations on the object evaluated, as the options of the view say.

        In a process that serves the object itself, the chain is evaluated at once, right there.

        Args:
            default: the value if nobody listens, in place of the default of the options.
            default_local: whether the value is taken from this process's own copy of the object
                if nobody listens.

        Raises:
            Exception: in the mode `NOW`, what the operations raise, or what `Endpoint.call` does.
        """
        ref, _, options, whole = self
        if local_servers and (home := local_server(ref.actor_id)) is not None:
            return _evaluate_at_home(self, home, settled(steps, ref.actor_id, value_of))
        if default is MISSING:
            default = options.default
        otherwise = None
        if default is not MISSING or default_local:
            otherwise = ref.fallback(steps, default, default_local)
        mode = options.mode
        try:
            if mode is _NOW:
                result = ref.endpoint.call(steps, whole, otherwise, options)
                return whole if result is RETURNED_SELF else result
            if mode is _FUTURE:
                return futures_module().submit(ref.endpoint, steps, whole, otherwise, options)
            if mode is _AWAIT:
                return _asyncio_calls().AwaitableCall(_awaited(self, steps, otherwise))
            return _cast(ref, steps, otherwise)
        except HoldsPartError:
            pass  # nothing was sent
        return self.evaluate(self.for_sending(steps, value_of), default, default_local)

    def for_sending(self, steps: Steps, fetch: Callable[[Any], Any]) -> Steps:
        """The steps with all parts among their operands as they have to travel."""
        new = settled(steps, self.ref.actor_id, fetch)
        return new if new[0] is PARTS else (PARTS, *new)


class StoredView(View):
    """The view of a part whose value an in-place operator, `part += 1`, has just stored over there.

    To assign such a part to its own place is done already.
    """

    __slots__ = ()


def _is_stored(value: object, parent: View, last: Step) -> bool:
    """Whether the value is a part that has been stored where this step leads to."""
    kind = type(value)
    view = VIEW_OF[kind](value) if kind in VIEW_OF else None
    if type(view) is not StoredView or view.ref.actor_id != parent.ref.actor_id:
        return False
    # By identity: `==` is the users' code, and a call if an operand is a part.
    (name, operand), steps = view.steps[-1], view.steps[:-1]
    return (
        len(steps) == len(parent.steps)
        and all(map(operator.is_, steps, parent.steps))
        and name == last[0]
        and _is_same_key(operand, last[1])
    )


def _is_same_key(one: Any, other: Any) -> bool:
    """Whether one statement, `part[key] += 1`, has read and written the item of this key."""
    if type(one) is type(other) is slice:  # Python makes one for each
        bounds = [(key.start, key.stop, key.step) for key in (one, other)]
        return all(map(operator.is_, *bounds))
    return one is other


def value_of(part: Any) -> Any:
    """The value of a part, fetched now, whichever view of it that is."""
    view = VIEW_OF[type(part)](part)
    return view._replace(options=view.options._replace(mode=_NOW)).evaluate(view.steps)


def _cast(ref: RemoteRef, steps: Steps, otherwise: Fallback) -> None:
    try:
        ref.endpoint.cast(steps)
    except (NotListeningError, ActorDiedError) as exc:
        fallback_or_raise(exc, otherwise)


async def _awaited(view: View, steps: Steps, otherwise: Fallback) -> Any:
    ref, _, options, whole = view
    call = _asyncio_calls().call
    try:
        return await call(ref.endpoint, steps, whole, otherwise, options)
    except HoldsPartError:
        pass  # nothing was sent
    parts: list[Any] = []
    view.for_sending(steps, parts.append)
    values = {id(part): await part.async_.get_() for part in parts}
    steps = view.for_sending(steps, lambda part: values[id(part)])
    return await call(ref.endpoint, steps, whole, otherwise, options)


def _evaluate_at_home(view: View, home: LocalServer, steps: Steps) -> Any:
    mode = view.options.mode
    if mode is _FUTURE:
        future = futures_module().completed(lambda: _value_at_home(view, home, steps))
        return future if future.exception() is not None else _begun(home, future)
    if mode is _AWAIT:
        return _asyncio_calls().AwaitableCall(_later_at_home(view, steps))
    if mode is _NOW:
        return _value_at_home(view, home, steps)
    future = futures_module().completed(lambda: _value_at_home(view, home, steps))
    if future.exception() is None:
        future = _begun(home, future)
    future.add_done_callback(partial(_report_failure, home))
    return None


def _begun(home: LocalServer, future: Future[Any]) -> Future[Any]:
    """The future of what is awaited by the event loop of the object, where that is its value."""
    runner, value = home.loop_runner, future.result()
    if runner is None or not _is_awaited(value):
        return future
    return runner.begin(value)


def _report_failure(home: LocalServer, future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        home.report(error)


def _is_awaited(value: object) -> bool:
    with import_lock:
        from ._actor.awaitables import is_awaited  # for a faster start-up: few processes serve

    return is_awaited(type(value))


def _value_at_home(view: View, home: LocalServer, steps: Steps) -> Any:
    root = home.root
    result = evaluate(steps, root)
    return view.whole if result is root else result


async def _later_at_home(view: View, steps: Steps) -> Any:
    # Asked for anew: by the time that this is awaited the object may be served here no more.
    value = view._replace(options=PLAIN).evaluate(steps)
    return await value if _is_awaited(value) else value


@cache
def futures_module() -> ModuleType:
    with import_lock:
        # For a faster start-up: concurrent.futures would take a good part of our own import.
        from ._caller import futures

    return futures


@cache
def _asyncio_calls() -> ModuleType:
    with import_lock:
        # For a faster start-up: asyncio would double the time of our import.
        from ._caller import asyncio_calls

    return asyncio_calls
