"""A view of many remote objects at once: what is done to it is done to each of them.

The calls of one such operation are a round (`_caller.rounds`): all are sent before the first
outcome is waited for, so that the actors work side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ._actor.server import local_server, local_servers
from ._caller.call_options import AWAITED, CASTS, FUTURES, MISSING, PLAIN, CallMode, CallOptions
from ._caller.rounds import Outcome, RoundCall, outcome_of, results, run_round
from ._names import is_for_tool, names_of, refuse_own_name
from ._os.lazy_import import import_lock
from ._parts import VIEW_OF
from ._protocol.operations import OPERATIONS, Operation, Steps, drop, format_steps
from ._protocol.own_names import OF_HANDLES
from ._views import View, value_of

__all__ = ["Each", "each"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


def each(proxies: Iterable[Any]) -> Each:
    """A view of many remote objects, on which every operation is done to each of them, at once.

    Calls give the results in a list, in the order of `proxies`, once all have ended.

    Args:
        proxies: handles, proxies or parts of these. One that comes twice is called twice.

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
    """What `each` gives. Attributes and items lead on to these of each object, lazily; calls,
    assignments and deletions are done to all at once.

    Of one operation, all calls are sent before any is waited for, and each has its outcome before
    it returns or raises. One that failed raises its error, with a note that says which actor it
    was; several raise an `ExceptionGroup`. A generator method gives a list of streams. What
    Python's syntax has just one value for is refused: `len`, `bool`, `in`, `for` ...; say
    `passto(len)`.

    Its own names are those below; all others are the objects', and `attrs_` reaches any name.
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
        """The objects as their base classes see them."""
        return _each_of(self._views, (*self._steps, ("super",)), self._mode)

    def attrs_(self, *paths: str) -> Each:
        """The attribute at the end of dotted paths, whatever the names in them are."""
        names = ".".join(paths).split(".")
        if "" in names:
            raise ValueError(f"attrs_{paths} has an empty name in it")
        steps = (*self._steps, *(("attr", name) for name in names))
        return _each_of(self._views, steps, self._mode)

    # --- views: the same objects, called otherwise -----------------------------------------

    @property
    def future_(self) -> Any:
        """The same objects; what is evaluated gives one `concurrent.futures.Future` of the list
        of results. Its `cancel` gives all calls up."""
        return _each_of(self._views, self._steps, FUTURES.mode)

    @property
    def async_(self) -> Any:
        """The same objects; what is evaluated is awaited, and gives the list of results. The calls
        are made when the await begins; to cancel it gives all calls up."""
        return _each_of(self._views, self._steps, AWAITED.mode)

    @property
    def cast_(self) -> Any:
        """The same objects; what is evaluated gives nothing, and nobody waits for it."""
        return _each_of(self._views, self._steps, CASTS.mode)

    def with_(
        self,
        *,
        timeout: float | None = None,
        default: Any = MISSING,
        window: int | None = None,
        interrupt: bool | None = None,
    ) -> Any:
        """The same objects, with options for the calls made through it.

        Args:
            timeout: seconds until each call must be answered, from when all have been sent; the
                others' outcomes are waited for all the same.
            default: what stands for the result of each that does not listen; it is called if it can
                be.
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
        """The values over there; `default` stands for that of each that does not listen."""
        chosen = self if default is MISSING else self.with_(default=default)
        return _do(chosen)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call each with these arguments; the results."""
        return _do(self, "call", args, kwargs)

    def map(self, /, *iterables: Iterable[Any]) -> Any:
        """Call each with arguments of its own, as the builtin `map` does: the first with the first
        item of each iterable, and so on; the results.

        An attribute of the objects that is called so is `attrs_("map")`.

        Raises:
            ValueError: an iterable has not just as many items as there are actors.
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
        """Call `func(obj, *args, **kwargs)` over there, for each of the real objects."""
        return _do(self, "passto", func, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_own_name(Each, name)
        _do_statement(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        refuse_own_name(Each, name)
        _do_statement(self, "delattr", name)

    # --- as an object of this process ------------------------------------------------------

    def __reduce__(self) -> Any:
        raise TypeError("a view by each() can't be pickled: send the proxies, and use each() there")

    def __repr__(self) -> str:
        return f"<Each of {len(self._views)} : ({format_steps(self._steps)})>"

    def __dir__(self) -> Iterable[str]:
        views = (view._replace(steps=(*view.steps, *self._steps)) for view in self._views)
        return names_of(self, views)


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


# --- operators -----------------------------------------------------------------------------


def _operator(name: str, operation: Operation) -> Callable[..., Any]:
    """The method by which Python's syntax asks for an operation of the table."""

    def lead_on(self: Each, *operands: Any) -> Each:
        return _each_of(self._views, (*self._steps, (name, *operands)), self._mode)

    def do(self: Each, *operands: Any) -> None:
        _do_statement(self, name, *operands)

    def refuse(self: Each, *_: Any) -> Any:
        raise TypeError(
            f"each() has no single value for {operation.form.format_map(_NAMES)}: there are "
            f"{len(self._views)} actors; passto() gives that of each"
        )

    if not operation.ends:
        return lead_on
    return do if operation.returns is drop else refuse


class _Names(dict[str, str]):
    def __missing__(self, operand: str) -> str:
        return operand


_NAMES = _Names()

for _name, _operation in OPERATIONS.items():
    if _operation.dunder is not None:
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
        return results(_round(pairs), names)
    acts = [partial(view.in_mode_of(_PLAIN[mode]).evaluate, steps) for view, steps in pairs]
    if mode is CallMode.CAST:
        results([outcome_of(act) for act in acts], names)
        return None
    return _late(mode)(acts, names)


_PLAIN: Final = {CallMode.FUTURE: FUTURES, CallMode.AWAIT: AWAITED, CallMode.CAST: CASTS}


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


def _round(pairs: Sequence[tuple[View, Steps]]) -> list[Outcome]:
    """What comes of these calls, of which the calling thread waits for the outcomes."""
    here: list[tuple[int, Callable[[], Any]]] = []
    there: list[tuple[View, Steps]] = []
    for index, (view, steps) in enumerate(pairs):
        if local_servers and local_server(view.ref.actor_id) is not None:
            here.append((index, partial(view.in_mode_of(PLAIN).evaluate, steps)))
        else:
            there.append((view, steps))
    outcomes = _round_elsewhere(there)
    for index, act in here:
        outcomes.insert(index, outcome_of(act))
    return outcomes


def _round_elsewhere(pairs: Sequence[tuple[View, Steps]]) -> list[Outcome]:
    def for_sending(index: int) -> Steps:
        view, steps = pairs[index]
        return view.for_sending(steps, value_of)

    return run_round([_call(*pair) for pair in pairs], for_sending)


def _call(view: View, steps: Steps) -> RoundCall:
    ref, _, options, whole = view
    default = options.default
    otherwise = None if default is MISSING else ref.fallback(steps, default, False)
    return ref.endpoint, steps, whole, otherwise, options
