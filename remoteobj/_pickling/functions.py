"""Functions that travel by value, and their code.

A function of the main module that reads no data (no variable but modules, classes and functions of
the same kind) is the same function wherever it is: another process that has it takes its own. All
others bring the values that they read.
"""

from __future__ import annotations

import linecache
import marshal
import os
import uuid
import weakref
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from cloudpickle import cloudpickle as untyped

from .main_module import Home, bind, home_of, in_main, is_same_program
from .out_of_band import SCALARS
from .unsendable import stranger

__all__ = [
    "FoundByName",
    "Sources",
    "find_function",
    "reads_no_data",
    "register_function",
    "with_home",
]

cloudpickle: Any = untyped  # it has no types


# ------------------------------------------------------------------ code


class Sources:
    """The lines of files that only this process knows, each once in a pickle."""

    def __init__(self) -> None:
        self._known: dict[str, _Source | None] = {}

    def reduce(self, code: CodeType) -> tuple[Any, ...]:
        """The reduction of a code object. cloudpickle's loses the file, in some versions."""
        name = code.co_filename
        if name not in self._known:
            self._known[name] = _source(name)
        try:
            return _load_code, (marshal.dumps(code), self._known[name])
        except ValueError:  # somebody has put other constants into it
            make, args = cloudpickle._code_reduce(code)
            return _rename_code, (make, args, name, self._known[name])


class _Source:
    """Comes out of its pickle as None, once `linecache` has the lines."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self._name, self._lines = name, lines

    def __reduce__(self) -> tuple[Any, ...]:
        return _know_lines, (self._name, "".join(self._lines))


def _source(name: str) -> _Source | None:
    entry = linecache.cache.get(name)
    if entry is None or (os.path.isabs(name) and os.path.exists(name)):
        return None
    lines = linecache.getlines(name)
    return _Source(name, lines) if lines else None


def _know_lines(name: str, text: str) -> None:
    # Without a time, so that they are not looked for on the disk.
    entry = len(text), None, text.splitlines(keepends=True), name
    linecache.cache.setdefault(name, entry)


def _load_code(data: bytes, _source: None) -> CodeType:
    code: CodeType = marshal.loads(data)
    return code


def _rename_code(make: Any, args: tuple[Any, ...], name: str, _source: None) -> CodeType:
    code: CodeType = make(*args)
    return code.replace(co_filename=name)


# ------------------------------------------------------------------ functions


def with_home(func: FunctionType, reduction: tuple[Any, ...]) -> tuple[Any, ...]:
    """cloudpickle's reduction of a function of the main module, which is known there by name."""
    home = home_of(func)
    if home is None:
        return reduction
    _, args, state, *_ = reduction
    found_by = home.qualname, reads_no_data(func, set())
    return _make_function, (*found_by, *args), state, None, None, _fill_function


def reads_no_data(func: FunctionType, seen: set[FunctionType]) -> bool:
    """Whether a function reads no variable but functions of the same kind, modules and classes;
    `seen` is for those that call each other."""
    seen.add(func)
    defaults = (*(func.__defaults__ or ()), *(func.__kwdefaults__ or {}).values())
    if func.__closure__ or vars(func) or not all(type(one) in SCALARS for one in defaults):
        return False
    names = func.__globals__
    used = [name for name in cloudpickle._extract_code_globals(func.__code__) if name in names]
    return all(_is_no_data(names[name], seen) for name in used)


def _is_no_data(value: Any, seen: set[FunctionType]) -> bool:
    if type(value) is FunctionType and value not in seen:
        return cloudpickle._should_pickle_by_reference(value) or reads_no_data(value, seen)
    return isinstance(value, (ModuleType, type, BuiltinFunctionType, FunctionType))


# The functions that have got their state, or are not to get one.
_whole: weakref.WeakSet[FunctionType] = weakref.WeakSet()


def _make_function(qualname: str, reads_no_data: bool, code: CodeType, *args: Any) -> FunctionType:
    found = in_main(qualname)
    if reads_no_data and type(found) is FunctionType and found.__code__ == code:
        _whole.add(found)
        return found
    func: FunctionType = cloudpickle._make_function(code, *args)
    bind(qualname, func)
    return func


def _fill_function(func: FunctionType, state: Any) -> None:
    if func not in _whole:
        cloudpickle._function_setstate(func, state)


# ------------------------------------------------------------------ found over there
#
# What two forks of one process have from before the fork, and what a script that both have run
# gives its names to, needs no pickle of its own.

_ids: weakref.WeakKeyDictionary[FunctionType, str] = weakref.WeakKeyDictionary()
_by_id: weakref.WeakValueDictionary[str, FunctionType] = weakref.WeakValueDictionary()


def register_function(func: FunctionType) -> None:
    """Give it an id, by which a fork knows it that is made from now on."""
    if func not in _ids:
        _ids[func] = uuid.uuid4().hex
        _by_id[_ids[func]] = func


def find_function(func: FunctionType) -> tuple[Any, ...] | None:
    """The reduction of a function that the other side has; None if it may not have it."""
    home = home_of(func)
    if home is None and func not in _ids:
        return None
    return _find_function, (_ids.get(func), home, func.__code__, func.__qualname__)


def _find_function(
    known_as: str | None, home: Home | None, code: CodeType, name: str
) -> FunctionType:
    found = _by_id.get(known_as) if known_as is not None else None
    if found is None and home is not None and is_same_program(home):
        found = in_main(home.qualname)
    if not isinstance(found, FunctionType) or found.__code__ != code:
        raise stranger(f"the function {name!r}")
    return found


class FoundByName:
    """Comes out of its pickle as what the receiver's main module has by that name."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_by_name, (*self._home,)


def _find_by_name(*said: Any) -> Any:
    home = Home(*said)
    found = in_main(home.qualname) if is_same_program(home) else None
    if found is None:
        raise stranger(f"the variable {home.qualname!r}")
    return found
