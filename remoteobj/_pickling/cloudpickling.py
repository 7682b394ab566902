"""Values that C pickle can't carry, by cloudpickle: classes and functions travel as what they are.

Apart from `_pickling.codec`, so that a process which never needs cloudpickle never imports it. What
travels of `__main__` is said in `main_module`; how a class does, in `classes`; a function and its
code, in `functions`; a value of which there is to be only one, in `identities`.
"""

from __future__ import annotations

import io
import re
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pickle import PickleBuffer
from types import CodeType, FunctionType, GenericAlias, ModuleType, UnionType
from typing import Any, ClassVar

from cloudpickle import cloudpickle as untyped

from .._fast_typing import NamedTuple
from .._os.thread_unwind import ThreadUnwind
from . import own_objects
from .classes import find_class, reduce_class, travels_by_value
from .functions import FoundByName, Sources, find_function, with_home
from .identities import reduce_identity
from .main_module import bind, home_of, variables
from .our_ways import KINDS, OUR_WAYS
from .out_of_band import SCALARS
from .reducers import Reducer
from .unsendable import Part, unsendable_error

# Any: it has no types, and what is used of it is private too. (Its Pickler, without these
# functions, can't keep a class's identity. The tests run on the oldest and newest release.)
cloudpickle: Any = untyped

__all__ = ["dumps", "dumps_for_import", "dumps_for_start"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

Collect = Callable[[], Callable[[Any], Any]]
"""Gives the callback for the buffers of one pickling."""


class _Mode(NamedTuple):
    """How far a pickling goes to succeed."""

    anew: bool = False
    """For a process with an empty main module, whose variables become those of the functions."""
    known: bool = False
    """What the other side may have already is only named."""
    lenient: bool = False
    """Exceptions that can't be pickled go as text."""


def dumps(value: object, what: str, collect: Collect) -> bytes:
    """As `_pickling.codec.dumps`, for what C pickle could not do."""
    modes = _Mode(), _Mode(known=True), _Mode(known=True, lenient=True)
    return _first_that_works(value, what, collect, modes)[0]


def dumps_for_import(value: object, what: str, collect: Collect) -> bytes:
    """The same for a process that has imported the script."""
    modes = _Mode(known=True), _Mode(known=True, lenient=True)
    return _first_that_works(value, what, collect, modes)[0]


def dumps_for_start(value: object, what: str, collect: Collect) -> tuple[bytes, list[bytes]]:
    """The same for a process that has nothing of `__main__`.

    Gives also pickles of what annotations name there; each, when loaded, binds it to its name.
    """
    modes = _Mode(anew=True), _Mode(anew=True, lenient=True)
    payload, pickler = _first_that_works(value, what, collect, modes)
    return payload, pickler.hinted()


def _first_that_works(
    value: object, what: str, collect: Collect, modes: Iterable[_Mode]
) -> tuple[bytes, _Pickler]:
    """If exceptions in the value may be why it fails, those that can't be pickled go as text."""
    errors: list[BaseException] = []
    has_exceptions = False
    try:
        for mode in modes:
            if mode.lenient and not has_exceptions:
                break
            with io.BytesIO() as file:
                pickler = _Pickler(file, collect(), mode)
                try:
                    pickler.dump(value)
                    return file.getvalue(), pickler
                except (KeyboardInterrupt, ThreadUnwind):
                    raise
                except BaseException as error:
                    errors.append(error)
                    has_exceptions = pickler.exceptions.met_any
        raise unsendable_error(value, what, errors[0], _Trial.fails) from errors[0]
    finally:
        errors.clear()  # their tracebacks lead here, and so to them


def _reduce_text_file(file: io.TextIOWrapper) -> Any:
    """The standard streams are those of the receiver. cloudpickle would make another file a copy of
    its contents, which is no file, and which nobody has asked to be read."""
    if file in (sys.stdout, sys.stderr):
        return cloudpickle._file_reduce(file)
    raise TypeError("an open file belongs to the process that has opened it")


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle, with what multiprocessing can send, and with what `__main__` asks for.

    multiprocessing's table is looked up live, since modules register their types when they are
    imported; its reducers notice by themselves when a process is being spawned.
    """

    dispatch_table: ClassVar[ChainMap[Any, Any]] = ChainMap(
        OUR_WAYS,
        {io.TextIOWrapper: _reduce_text_file},
        cloudpickle.Pickler.dispatch_table.maps[0],
        ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
        cloudpickle.Pickler.dispatch_table.maps[1],
    )

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any], mode: _Mode) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.mode = mode
        self.exceptions = Reducer(travels_by_value, _check_alone if mode.lenient else None)
        self._sources = Sources()
        self._hints: set[str] = set()
        self._sent: set[str] = set()
        if mode.anew:
            self.globals_ref[id(variables())] = _VariablesOfActor()

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if issubclass(kind, KINDS):
            return self.exceptions(obj)
        if kind in own_objects.own_types and (own := own_objects.reduction(obj)) is not None:
            return own
        if kind is memoryview:
            return _reduce_view(obj)
        if kind is CodeType:
            return self._sources.reduce(obj)
        if isinstance(obj, type):
            return self._reduce_class(obj)
        identity = reduce_identity(obj, self._dynamic_function_reduce)
        if identity is not NotImplemented:
            return identity
        if kind is FunctionType:
            found = find_function(obj) if self.mode.known else None
            if found is not None:
                return found
            if obj.__module__ == "__mp_main__":
                return self._dynamic_function_reduce(obj)
        return super().reducer_override(obj)

    def _reduce_class(self, cls: type) -> Any:
        if not travels_by_value(cls):
            # cloudpickle has words for those that have no name in `builtins`, and takes the others
            # that it does not find by value.
            has_words = cls in cloudpickle._BUILTIN_TYPE_NAMES or cls.__module__ == "builtins"
            return super().reducer_override(cls) if has_words else NotImplemented
        found = find_class(cls) if self.mode.known else None
        if found is not None:
            return found
        if self.mode.anew:
            self._sent.add(cls.__qualname__)
            self._note_hints(vars(cls).get("__annotations__"))
        return reduce_class(cls)

    def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
        reduction = super()._dynamic_function_reduce(func)
        if func.__globals__ is variables():
            _, more = reduction[2]
            if self.mode.known:
                more["__globals__"] = {
                    name: _sendable(name, value) for name, value in more["__globals__"].items()
                }
            if self.mode.anew:
                self._sent.update(more["__globals__"])
                self._note_hints(func.__annotations__)
        return with_home(func, reduction)

    # --- what only annotations name ---

    def _note_hints(self, annotations: Any) -> None:
        for hint in (annotations or {}).values():
            if type(hint) is str:
                self._hints.update(re.findall(r"\w+", hint))

    def hinted(self) -> list[bytes]:
        """Pickles of what the annotations name in the main module, as far as they can be had."""
        pickles = []
        while todo := self._hints - self._sent:
            self._sent |= todo
            for name in sorted(todo & variables().keys()):
                value = variables()[name]
                if isinstance(value, _HINTS) or type(value).__module__ == "typing":
                    with suppress(Exception):
                        pickles.append(self._hinted_one(name, value))
        return pickles

    def _hinted_one(self, name: str, value: object) -> bytes:
        with io.BytesIO() as file:
            pickler = _Pickler(file, _in_band, self.mode)
            pickler.dump(_Binding(name, value))
            self._hints |= pickler._hints
            self._sent |= pickler._sent
            return file.getvalue()


_HINTS = (type, ModuleType, GenericAlias, UnionType)
"""What is meant by a name in an annotation; any other value is no type."""


class _Binding:
    """Comes out of its pickle as None, when the name is bound."""

    def __init__(self, name: str, value: object) -> None:
        self._bound = name, value

    def __reduce__(self) -> tuple[Any, ...]:
        return bind, self._bound


class _VariablesOfActor:
    """Comes out of its pickle as the variables of the actor's main module."""

    def __reduce__(self) -> tuple[Any, ...]:
        return variables, ()


def _in_band(buffer: Any) -> bool:
    return True


def _reduce_view(view: Any) -> tuple[Any, ...]:
    """A view arrives as a view, of a copy."""
    if not view.c_contiguous and view.nbytes:
        view = memoryview(view.tobytes()).cast("B").cast(view.format, view.shape)
    return _make_view, (PickleBuffer(view), view.format, view.shape)


def _make_view(buffer: Any, form: Any, shape: tuple[int, ...]) -> Any:
    view = memoryview(buffer)
    return view.cast("B").cast(form, shape) if view.nbytes else view


# ------------------------------------------------------------------ what can't be pickled


def _sendable(name: str, value: object) -> object:
    """The value of a variable of the main module, or its name if it can't be pickled."""
    home = home_of(value, name)
    if home is None or type(value) in SCALARS or not _fails(_Mode(known=True), value):
        return value
    return FoundByName(home)


def _fails(mode: _Mode, value: object) -> bool:
    try:
        _Pickler(io.BytesIO(), _in_band, mode).dump(value)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:
        return True
    return False


class _Alone(_Pickler):
    """For what belongs to one exception, without the others that it leads to."""

    met_others = False

    def persistent_id(self, obj: object) -> str | None:
        if not issubclass(type(obj), BaseException):
            return None
        self.met_others = True
        return "exception"


def _check_alone(parts: Any) -> bool:
    """Whether there are exceptions in what can be pickled."""
    pickler = _Alone(io.BytesIO(), _in_band, _Mode(known=True))
    pickler.dump(parts)
    return pickler.met_others


class _Trial(_Pickler):
    """Takes the parts on the way down for sendable: what leads back to them is not to blame."""

    def __init__(self, above: set[int]) -> None:
        super().__init__(io.BytesIO(), _in_band, _Mode(lenient=True))
        self.above = above

    def persistent_id(self, obj: object) -> str | None:
        return "above" if id(obj) in self.above else None

    @classmethod
    def fails(cls, parts: list[Part], above: set[int]) -> bool:
        try:
            cls(above).dump([part for _, part in parts])
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException:
            return True
        return False
