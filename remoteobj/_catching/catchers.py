"""`Except` and `LocalExcept`: exceptions caught by name, here or in another process.

::

    with exc("work"): ──raise──> Context ── append ──> Store ── fold ──> State ──> last, all, ...
                                    │                    ├ LocalStore   the very objects
                                    └ goes on, or is     └ SharedStore  packed, in a Journal
                                      swallowed

Whatever happens (an exception caught, a group cleared, a result set or taken) is one record, and
what can be asked is the fold of all records. So every process sees one order, without a lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, overload

from .journal import Journal
from .scopes import Context, Options, write
from .store import (
    ANY,
    CLEAR,
    NO_RESULT,
    RESULT,
    AnyGroup,
    Caught,
    Group,
    Groups,
    LocalStore,
    SharedStore,
    Types,
    common_journal,
    contains_identity,
    valid_group,
)

if TYPE_CHECKING:
    import logging

__all__ = ["ANY", "Context", "Except", "LocalExcept", "recording_in", "store_of"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


USER_ERRORS: Final = (Exception, KeyboardInterrupt, GeneratorExit)
"""What of user code is an error of it. SystemExit is a way to end, with an exit code."""


class _Catcher:
    """What `Except` and `LocalExcept` have in common: everything but the place of the records."""

    def __init__(
        self,
        *types: type[BaseException],
        raises: bool = True,
        catch_once: bool = True,
        log: bool | logging.Logger = False,
        log_tb: bool = True,
    ) -> None:
        options = Options((Exception,), raises, catch_once, log, log_tb)
        self._options = options.but(types=types or None)
        self._store = self._new_store()

    def _new_store(self) -> LocalStore:
        raise NotImplementedError

    # -------------------------------------------------------------- catching

    def __call__(
        self,
        group: Group = None,
        *,
        raises: bool | None = None,
        types: Types | None = None,
        catch_once: bool | None = None,
        log: bool | logging.Logger | None = None,
        log_tb: bool | None = None,
    ) -> Context[Self]:
        """A context of that name; what is not given is as it is for the whole.

        >>> exc = LocalExcept()
        >>> with exc("work", raises=False, types=(OSError, ValueError)):
        ...     int("x")
        >>> exc
        <LocalExcept work=1>
        """
        options = self._options.but(
            raises=raises, types=types, catch_once=catch_once, log=log, log_tb=log_tb
        )
        return Context(self, self._store, valid_group(group, any_is_one=False), options)

    def __enter__(self) -> Self:
        return self._unnamed.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return self._unnamed.__exit__(kind, error, traceback)

    @property
    def _unnamed(self) -> Context[Self]:
        return Context(self, self._store, None, self._options)

    def wrap(self, func: Callable[P, R], *, result: bool = False) -> Callable[P, R]:
        """A function that runs `func` in the unnamed context; `exc("name").wrap(func)` in another.

        `result=True` also keeps what it returns for `get_result`. Of a generator or coroutine
        function every step is in the context. With `raises=False` it returns None after an
        exception. As the target of a spawned process `func` must be importable, as ever.

        >>> exc = LocalExcept()
        >>> exc.wrap(len, result=True)("abc"), exc.get_result()
        (3, 3)
        """
        return self().wrap(func, result=result)

    # -------------------------------------------------------------- asking

    def all(self) -> list[BaseException]:
        """Everything caught, in the order in which it was recorded.

        >>> LocalExcept().all()
        []
        """
        return self._errors(ANY)

    def group(self, group: Groups = None) -> list[BaseException]:
        """What was caught in one group, in order; also `exc["name"]`.

        >>> exc = LocalExcept(raises=False)
        >>> with exc("a"): raise KeyError(1)
        >>> exc.group("a"), exc["a"], exc.group(None)
        ([KeyError(1)], [KeyError(1)], [])
        """
        return self._errors(group)

    @overload
    def get(self, group: Groups = ANY, default: None = None) -> BaseException | None: ...
    @overload
    def get(self, group: Groups, default: T) -> BaseException | T: ...
    def get(self, group: Groups = ANY, default: Any = None) -> Any:
        """The last exception of a group, of any by default; or the default.

        >>> LocalExcept().get("work", "all well")
        'all well'
        """
        entry = next(self._store.look(group, newest_first=True), None)
        return default if entry is None else entry.value.error

    def first(self, group: Groups = ANY) -> BaseException | None:
        """The first exception of a group, of any by default; None if there is none.

        >>> LocalExcept().first() is None
        True
        """
        entry = next(self._store.look(group), None)
        return None if entry is None else entry.value.error

    def last(self, group: Groups = ANY) -> BaseException | None:
        """The last exception of a group, of any by default; None if there is none.

        >>> LocalExcept().last("work") is None
        True
        """
        return self.get(group)

    def raise_any(self, group: Groups = ANY) -> None:
        """Raise the last exception of a group, of any by default; nothing there, nothing done.

        It is the object that `last` gives. Each time its traceback begins as it was caught, and
        an exception that the caller is handling is found at the end of its `__context__` chain.

        >>> exc = LocalExcept(raises=False)
        >>> exc.raise_any()
        >>> with exc("work"): raise ValueError("no!")
        >>> exc.raise_any(None)
        >>> exc.raise_any("work")
        Traceback (most recent call last):
            ...
        ValueError: no!
        """
        entry = next(self._store.look(group, newest_first=True), None)
        if entry is not None:
            entry.value.throw()

    def clear(self, group: Groups = ANY) -> None:
        """Forget what was caught in a group, by default in all; for all processes.

        >>> exc = LocalExcept(raises=False)
        >>> with exc("work"): raise ValueError
        >>> exc.clear()
        >>> len(exc)
        0
        """
        self._store.see(group)
        self._store.append(CLEAR, valid_group(group))

    def __getitem__(self, group: Group) -> list[BaseException]:
        return self._errors(valid_group(group, any_is_one=False))

    def __contains__(self, item: object) -> bool:
        """Whether that group has an exception, or that very exception was caught."""
        if isinstance(item, BaseException):
            return contains_identity(self.all(), item)
        group = valid_group(item, any_is_one=False)
        return next(self._store.read().of(group), None) is not None

    def __iter__(self) -> Iterator[BaseException]:
        return iter(self.all())

    def __len__(self) -> int:
        return self._store.read().size

    def __bool__(self) -> bool:
        return len(self) > 0

    def _errors(self, group: Groups) -> list[BaseException]:
        return [entry.value.error for entry in self._store.look(group)]

    # -------------------------------------------------------------- the result

    def set_result(self, value: object) -> None:
        """Keep a value for `get_result`, in whichever process; it takes the place of an earlier.

        >>> exc = LocalExcept()
        >>> exc.set_result([1])
        >>> exc.get_result()
        [1]
        """
        self._store.append(RESULT, ANY, value)

    def get_result(self, default: Any = None) -> Any:
        """The value that was set last, the same object each time; or the default.

        >>> LocalExcept().get_result("none yet")
        'none yet'
        """
        result = self._store.read().result
        return default if result is None else result.value

    def pop_result(self, default: Any = None) -> Any:
        """The value that was set last, and clear it. Of several that pop, one alone gets it.

        >>> exc = LocalExcept()
        >>> exc.set_result(1)
        >>> exc.pop_result(), exc.pop_result()
        (1, None)
        """
        result = self._store.take_result()
        return default if result is None else result.value

    def clear_result(self) -> None:
        """Forget the value that was set.

        >>> LocalExcept().clear_result()
        """
        self._store.append(NO_RESULT, ANY)

    # -------------------------------------------------------------- telling

    def log_error(self, error: BaseException, group: Group = None) -> None:
        """Write one exception to the logger given as `log`, else to the logger "remoteobj".

        >>> LocalExcept(log_tb=False).log_error(ValueError("no!"), "work")
        """
        options = self._options
        write(error, group, options, options.log_tb and error.__traceback__)

    def log_tracebacks(self, group: Groups = ANY) -> None:
        """Write what was caught to the logger, each with its traceback whatever `log_tb` says.

        >>> LocalExcept().log_tracebacks()
        """
        for entry in self._store.look(group):
            caught: Caught = entry.value
            assert not isinstance(entry.group, AnyGroup)
            write(caught.error, entry.group, self._options, caught.traceback)

    def __repr__(self) -> str:
        groups = Counter(entry.group for entry in self._store.read().of(ANY))
        counts = [f" {'(unnamed)' if g is None else g}={count}" for g, count in groups.items()]
        return f"<{type(self).__name__}{''.join(counts)}>"

    def close(self) -> None:
        """Let go of the shared memory now, not when this object goes. Records stay readable here.

        >>> LocalExcept().close()
        """
        self._store.close()


class LocalExcept(_Catcher):
    """Catch exceptions by name in this process. The face is that of `Except`, see there.

    The exceptions are kept as they are, and so are their frames' variables.

    >>> exc = LocalExcept(raises=False)
    >>> with exc("work"):
    ...     raise ValueError("no!")
    >>> exc["work"]
    [ValueError('no!')]
    """

    def _new_store(self) -> LocalStore:
        return LocalStore()


class Except(_Catcher):
    """Record exceptions by group, in this process and in every process that gets this object.

    >>> exc = Except(ValueError, OSError)       # no types: every Exception
    >>> try:
    ...     with exc:                           # the unnamed group
    ...         with exc("work"):               # recorded once, by the innermost
    ...             raise ValueError("no!")
    ... except ValueError:                      # recorded, and it goes on
    ...     pass
    >>> with exc("cleanup", raises=False):      # or is swallowed
    ...     raise OSError("busy")
    >>> exc
    <Except work=1 cleanup=1>
    >>> exc.last(), exc.last("work"), exc.last(None)
    (OSError('busy'), ValueError('no!'), None)
    >>> exc.raise_any(None)                     # nothing in the unnamed group: a no-op

    Give it to a process by fork or as an argument, under any start method, or send it to a running
    process. No process waits for another: records are appended to memory that all of them share. So
    what was recorded before a SIGKILL is still there after it. The memory is freed when the last
    process has let go of it; `clear` forgets, but frees no memory.

    Options, for the whole or for one context: `types`; `raises`, whether an exception goes on
    once it is recorded; `catch_once=False` records it at every level it passes; `log`, True or
    a logger, writes it as it is caught, with its traceback unless `log_tb=False`.

    By default KeyboardInterrupt, SystemExit and others that are not an Exception are not recorded.
    An exception that cannot be recorded always goes on, with a note that says why.

    A group is a string, or None for the contexts without a name. Where a method asks for one,
    the default `ANY` is all of them. `len`, iteration and truth are about all that was caught:
    an `Except` without exceptions is false.
    """

    def _new_store(self) -> LocalStore:
        return SharedStore(Journal())

    @classmethod
    def of_actor(cls) -> Except:
        """One for an actor alone, which seldom records anything. It shares its memory with others
        of that kind, so that each costs no descriptor."""
        return recording_in(common_journal.store())


def recording_in(store: LocalStore) -> Except:
    """One with the options of an actor's own, whose records are in this store."""
    exc = Except.__new__(Except)
    exc._options = Options((Exception,), raises=True, catch_once=True, log=False, log_tb=True)
    exc._store = store
    return exc


def store_of(exc: Except) -> LocalStore:
    """Where it has its records."""
    return exc._store
