"""A view of many remote objects at once: what is done to it is done to each of them.

The calls of one such operation are a round (`_caller.rounds`): all are sent before the first
outcome is waited for, so that the actors work side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ._caller.call_options import AWAITED, CASTS, FUTURES, MISSING, CallMode, CallOptions
from ._caller.outcomes import outcome_of, results
from ._loops import take_checkpoint
from ._names import OF_METHODS, is_for_tool, names_of, refuse_own_name, told_by_class
from ._os.lazy_import import import_lock
from ._parts import VIEW_OF
from ._protocol.operations import OPERATIONS, Operation, Steps, drop
from ._protocol.own_names import OF_HANDLES
from ._syntax import ASK, text_of
from ._views import View

__all__ = ["Each", "each"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


def each(proxies: Iterable[Any]) -> Each:
    """Return a view of many remote objects. Every operation on it is done on all of them at once.

    Calls return a list of the results, in the order of `proxies`, when all have ended.

    Args:
        proxies: handles, proxies or parts. One that is in there twice is called twice.

    Raises:
        TypeError: something in it is no proxy, or it is a single one.

    >>> from remoteobj import each, spawn
    >>> with spawn(list, "ab") as first, spawn(list, "xyz") as second:
    ...     both = each([first, second])
    ...     both.index.map(["b", "x"])
    ...     both[0].upper()
    ...     both.append("c")
    ...     both.passto(len)
    [1, 0]
    ['A', 'X']
    [None, None]
    [3, 4]
    """
    if type(proxies) in VIEW_OF:
        raise TypeError("each() takes several proxies, in a list, say, and got a single one")
    views = []
    for index, proxy in enumerate(proxies):
        if type(proxy) not in VIEW_OF:
            raise TypeError(f"each() takes proxies, and number {index} is {proxy!r:.80}")
        views.append(VIEW_OF[type(proxy)](proxy))
    return _each_of(tuple(views), (), CallMode.NOW)


class Each:
    """What `each` returns. An attribute or an item of it stands for that of each object, and
    nothing is sent. Calls, assignments and deletions are done on all objects at once.

    All calls of an operation are sent before any is waited for. When it returns or raises, all have
    ended. If one failed, its error is raised, with a note that names the actor; if several failed,
    an `ExceptionGroup`. A generator method returns a list of streams. Operations that need a single
    value are refused: operators, `len`, `bool`, `in`, `for` ... Write `passto(len)`, for example.

    Its own names are those below. All others are the objects'; `attrs_` reaches every name.
    """

    __slots__ = ("_mode", "_steps", "_views")

    _views: tuple[View, ...]
    _steps: Steps
    """The operations that lead from there to what this stands for."""
    _mode: CallMode

    if TYPE_CHECKING:
        __: Any
        """The values over there, as `get_()` gives them."""

        def __getitem__(self, key: Any) -> Each: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __delitem__(self, key: Any) -> None: ...

    # --- recording -----------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_":
            if name == "__":
                return self.get_()
            if name in OF_METHODS and self._steps:
                for view in _views_of_parts(self)[:1]:
                    if (found := told_by_class(view, name)) is not MISSING:
                        return found
            raise AttributeError(
                f"{name!r} begins with an underscore, and such names are never remote; "
                f"attrs_({name!r}) reaches it"
            )
        if is_for_tool(name):
            raise AttributeError(f"{name!r} of these would be a call to all of them")
        if name in OF_HANDLES:
            raise AttributeError(f"{name!r} is of one handle: [h.{name} ... for h in handles]")
        return _each_of(self._views, (*self._steps, ("attr", name)), self._mode)

    @property
    def super(self) -> Each:
        """The base classes' view of the objects, as `super()` in their methods."""
        return _each_of(self._views, (*self._steps, ("super",)), self._mode)

    def attrs_(self, *paths: str) -> Each:
        """The attribute at the end of dotted paths; it reaches every name."""
        names = ".".join(paths).split(".")
        if "" in names:
            raise ValueError(f"attrs_{paths} has an empty name in it")
        steps = (*self._steps, *(("attr", name) for name in names))
        return _each_of(self._views, steps, self._mode)

    # --- views: the same objects, called otherwise -----------------------------------------

    @property
    def future_(self) -> Any:
        """A view whose operations return one `concurrent.futures.Future` of the list of results.
        Its `cancel` cancels all calls."""
        return _each_of(self._views, self._steps, FUTURES.mode)

    @property
    def async_(self) -> Any:
        """A view whose operations are awaited, and return the list of results. The calls are made
        when the await begins. Cancelling it cancels all calls."""
        return _each_of(self._views, self._steps, AWAITED.mode)

    @property
    def cast_(self) -> Any:
        """A view whose calls are one-way: they have no result, and nothing waits for them."""
        return _each_of(self._views, self._steps, CASTS.mode)

    def with_(
        self,
        *,
        timeout: float | None = None,
        default: Any = MISSING,
        window: int | None = None,
        interrupt: bool | None = None,
    ) -> Any:
        """A view with options for the calls made through it.

        Args:
            timeout: time limit in seconds for each answer, from the time when all calls have been
                sent. If it is over for one, the other calls are still waited for.
            default: the result of each that does not listen; if it is callable, it is called.
            window, interrupt: as for `Proxy.with_`.
        """

        def changed(options: CallOptions) -> CallOptions:
            return options.changed(
                timeout=timeout, default=default, proxy=None, window=window, interrupt=interrupt
            )

        views = tuple(view._replace(options=changed(view.options)) for view in self._views)
        return _each_of(views, self._steps, self._mode)

    # --- evaluating ----------------------------------------------------------------------

    def get_(self, default: Any = MISSING) -> Any:
        """Fetch the values. `default` replaces that of each that does not listen."""
        chosen = self if default is MISSING else self.with_(default=default)
        return _do(chosen)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call each with these arguments, and return the list of results."""
        return _do(self, "call", args, kwargs)

    def map(self, /, *iterables: Iterable[Any]) -> Any:
        """Call each with its own arguments, like the builtin `map`: the first with the first item
        of each iterable, and so on. Return the list of results.

        An attribute of the objects with this name is `attrs_("map")`.

        Raises:
            ValueError: an iterable has more or fewer items than there are actors.
        """
        count = len(self._views)
        columns = [list(islice(items, count + 1)) for items in iterables]
        for column in columns:
            if len(column) != count:
                got = f"more than {count}" if len(column) > count else len(column)
                raise ValueError(
                    f"map needs one argument for each of the {count} actors, and got {got}"
                )
        if not columns:
            raise TypeError("map needs at least one iterable of arguments; without, call it")
        return _evaluated(
            self, [(*self._steps, ("call", args, {})) for args in zip(*columns, strict=True)]
        )

    def passto(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `func(obj, *args, **kwargs)` in each actor, where `obj` is its object."""
        return _do(self, "passto", func, args, kwargs)

    def checkpoint_(self) -> Any:
        """Keep the state of each actor now: see `Proxy.checkpoint_`."""
        return _do(self, "passto", take_checkpoint, (), {})

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_own_name(Each, name)
        _do_statement(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        refuse_own_name(Each, name)
        _do_statement(self, "delattr", name)

    # --- as an object of this process ------------------------------------------------------

    def __reduce__(self) -> Any:
        raise TypeError("a view by each() can't be pickled: send the proxies, and use each() there")

    def __copy__(self) -> Each:
        return self  # like a tuple: no operation changes it

    def __deepcopy__(self, _: Any) -> Each:
        return self

    def __repr__(self) -> str:
        return f"<Each of {len(self._views)} : ({text_of(self._steps)})>"

    def __dir__(self) -> Iterable[str]:
        return names_of(self, _views_of_parts(self))


_put_views, _put_steps, _put_mode = (
    vars(Each)[slot].__set__ for slot in ("_views", "_steps", "_mode")
)
_new = object.__new__


def _each_of(views: tuple[View, ...], steps: Steps, mode: CallMode) -> Each:
    made = _new(Each)
    _put_views(made, views)
    _put_steps(made, steps)
    _put_mode(made, mode)
    return made


def _views_of_parts(many: Each) -> tuple[View, ...]:
    """The views of what it stands for in each of the objects."""
    return tuple(view._replace(steps=(*view.steps, *many._steps)) for view in many._views)


# --- operators -----------------------------------------------------------------------------


def _operator(name: str, operation: Operation) -> Callable[..., Any]:
    """The method by which Python's syntax asks for an operation of the table."""

    def lead_on(self: Each, *operands: Any) -> Each:
        return _each_of(self._views, (*self._steps, (name, *operands)), self._mode)

    def do(self: Each, *operands: Any) -> None:
        _do_statement(self, name, *operands)

    without_trip = _WITHOUT_TRIP.get(operation.dunder or "")

    def refuse(self: Each, *operands: Any) -> Any:
        if without_trip is not None and (found := without_trip(self, *operands)) is not ASK:
            return found
        raise TypeError(
            f"each() has no single value for {operation.form.format_map(_NAMES)}: there are "
            f"{len(self._views)} actors; passto() gives that of each"
        )

    if not operation.ends:
        return lead_on
    return do if operation.returns is drop else refuse


def _is_same(many: Each, _: object) -> Any:
    return ASK if many._steps else NotImplemented  # so that Python goes by identity


def _printed(many: Each, spec: str) -> Any:
    return ASK if spec else str(many)


_WITHOUT_TRIP: Final = {"__eq__": _is_same, "__ne__": _is_same, "__format__": _printed}
"""What such a view is asked as an object of this process."""


class _Names(dict[str, str]):
    def __missing__(self, operand: str) -> str:
        return operand


_NAMES = _Names()

for _name, _operation in OPERATIONS.items():
    if _operation.dunder is not None and _operation.dunder not in vars(Each):
        setattr(Each, _operation.dunder, _operator(_name, _operation))


# --- evaluating ----------------------------------------------------------------------------


def _do(many: Each, *step: Any) -> Any:
    """Evaluate this, and one more step if there is one, on all."""
    steps = (*many._steps, step) if step else many._steps
    return _evaluated(many, [steps] * len(many._views))


def _do_statement(many: Each, name: str, *operands: Any) -> None:
    mode = many._mode
    if mode not in (CallMode.NOW, CallMode.CAST):
        raise TypeError(
            f"through {mode.value} this would give nothing that could be waited for; "
            f"use {mode.value}.passto(operator.{name}, ...)"
        )
    _do(many, name, *operands)


def _evaluated(many: Each, chains: Sequence[Steps]) -> Any:
    """Have each chain evaluated on the object of its view, as the mode says."""
    mode = many._mode
    pairs = [
        (view, (*view.steps, *steps) if view.steps else steps)
        for view, steps in zip(many._views, chains, strict=True)
    ]
    names = [view.ref.name for view in many._views]
    if mode is CallMode.NOW:
        return _round()(pairs, names)
    acts = [partial(view.in_mode_of(_PLAIN[mode]).evaluate, steps) for view, steps in pairs]
    if mode is CallMode.CAST:
        results([outcome_of(act) for act in acts], names)
        return None
    return _late(mode)(acts, names)


_PLAIN: Final = {CallMode.FUTURE: FUTURES, CallMode.AWAIT: AWAITED, CallMode.CAST: CASTS}


@cache
def _round() -> Callable[[Sequence[tuple[View, Steps]], Sequence[str]], list[Any]]:
    """What makes calls, of which the calling thread waits for the results."""
    with import_lock:
        from ._each_round import results_of_round  # for a faster start-up: it needs connections

    return results_of_round


@cache
def _late(mode: CallMode) -> Callable[[Sequence[Callable[[], Any]], Sequence[str]], Any]:
    """What makes one future of many, or one awaitable."""
    with import_lock:
        if mode is CallMode.FUTURE:
            # For a faster start-up: it needs concurrent.futures.
            from ._caller.round_futures import future_of_round

            return future_of_round
        # For a faster start-up: it needs asyncio.
        from ._caller.round_awaits import await_of_round

        return await_of_round
