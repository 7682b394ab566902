"""The contexts of `Except`: what is caught in them, once, and what goes on."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock
from .store import ANY, CAUGHT, RESULT, Group, LocalStore, contains_identity, contexts

if TYPE_CHECKING:
    import logging

__all__ = ["Context", "Options", "write"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

P = ParamSpec("P")
R = TypeVar("R")
Owner = TypeVar("Owner")


class Options(NamedTuple):
    types: tuple[type[BaseException], ...]
    raises: bool
    catch_once: bool
    log: bool | logging.Logger
    log_tb: bool

    def but(self, types: Any = None, **changes: Any) -> Options:
        changes = {name: value for name, value in changes.items() if value is not None}
        if types is not None:
            changes["types"] = types = types if isinstance(types, tuple) else (types,)
            for each in types:
                if not (isinstance(each, type) and issubclass(each, BaseException)):
                    name = f"the name goes in exc({each!r})"
                    raise TypeError(f"{each!r} is no exception class; {name}")
        return self._replace(**changes)


class _Frame:
    """A context that was entered. It learns what the contexts inside it have recorded."""

    def __init__(self, context: Context[Any], outer: _Frame | None) -> None:
        self.context, self.outer, self.open = context, outer, True
        self.recorded: list[BaseException] = []


# Of this thread or task. Generators leave out of order: a frame may be closed and still be here.
_innermost: ContextVar[_Frame | None] = ContextVar("remoteobj_except", default=None)


def _nearest(frame: _Frame | None, fits: Callable[[_Frame], bool]) -> _Frame | None:
    while frame is not None and not (frame.open and fits(frame)):
        frame = frame.outer
    return frame


class Context(NamedTuple, Generic[Owner]):
    """What `exc("name")` gives: to be entered with `with`, any number of times, by any thread."""

    owner: Owner
    store: LocalStore
    group: Group
    options: Options

    def __enter__(self) -> Owner:
        _innermost.set(_Frame(self, _nearest(_innermost.get(), lambda frame: True)))
        return self.owner

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        # Not there if it was entered in another task or thread.
        frame = _nearest(_innermost.get(), lambda frame: frame.context == self)
        frame = frame or _Frame(self, None)
        frame.open = False
        _innermost.set(_nearest(_innermost.get(), lambda frame: True))
        if error is None:
            return False
        known = contains_identity(frame.recorded, error)
        if isinstance(error, self.options.types):
            if not (known and self.options.catch_once):
                if not self._record(error):
                    return False
                known = True
            if not self.options.raises:
                return True
        key = self.store.key
        outer = _nearest(frame.outer, lambda frame: frame.context.store.key == key)
        if known and outer is not None:
            # Keep of the earlier ones those that are being handled now and may yet go on.
            kept = [
                e
                for e in contexts(error)
                if e is not error and contains_identity(outer.recorded, e)
            ]
            outer.recorded = [*kept, error]
        return False

    def _record(self, error: BaseException) -> bool:
        try:
            self.store.append(CAUGHT, self.group, error)
        except Exception as failure:
            error.add_note(f"remoteobj could not record this exception: {failure!r}")
            return False
        if self.options.log:
            write(error, self.group, self.options, self.options.log_tb and error.__traceback__)
        return True

    def wrap(self, func: Callable[P, R], *, result: bool = False) -> Callable[P, R]:
        """As `Except.wrap`, with the name and the options of this context."""
        return _Wrapped(self, func, result)


_SWALLOWED = object()


class _Wrapped(Generic[P, R]):
    """A class, since a closure could not be the target of a process that is spawned."""

    def __init__(self, context: Context[Any], func: Callable[P, R], result: bool) -> None:
        functools.update_wrapper(self, func)
        self._context, self._func, self._result = context, func, result

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._context:
            value = self._func(*args, **kwargs)
            # Of the type that it was: a generator is wrapped in a generator.
            wrapped: Any = value
            if isinstance(value, types.GeneratorType):
                wrapped = self._iterate(value)
            elif isinstance(value, types.CoroutineType):
                wrapped = self._await(value)
            else:
                self._finish(value)
            return wrapped  # type: ignore[no-any-return]
        return None  # type: ignore[return-value]  # raises=False says that there may be no value

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def _finish(self, value: Any) -> Any:
        if self._result:
            self._context.store.append(RESULT, ANY, value)
        return value

    async def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self._context:
            return self._finish(await coroutine)

    def _iterate(self, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step = functools.partial(generator.send, None)
        while True:
            item: Any = _SWALLOWED
            # Entered for each step: what the consumer does in between is none of its business.
            with self._context:
                try:
                    item = step()
                except StopIteration as stop:
                    return self._finish(stop.value)
            if item is _SWALLOWED:
                return None
            try:
                sent = yield item
                step = functools.partial(generator.send, sent)
            except BaseException as error:
                step = functools.partial(generator.throw, error)


def write(error: BaseException, group: Group, options: Options, traceback: Any) -> None:
    with import_lock:
        import logging  # for a faster start-up: most programs log none

    log = options.log if isinstance(options.log, logging.Logger) else logging.getLogger("remoteobj")
    name = "" if group is None else f"{group}: "
    told = (type(error), error, traceback) if traceback else None
    log.error("%s%s: %s", name, type(error).__qualname__, error, exc_info=told)
