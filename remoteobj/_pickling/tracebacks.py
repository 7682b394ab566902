"""Tracebacks taken apart and put together: `tblib.Traceback`, and what tblib leaves out.

::

    traceback ─ take_apart ─> Traceback ─ rows ─> pickle
    pickle ─ from_rows ─> Traceback ─ as_traceback ─> traceback

tblib gives the form: for each step of the traceback an entry with its line, frame and code. Added
to it are:

* Columns and `co_qualname`, so that the interpreter's `^^^^` points to the same place.
* The lines of modules that are in a zip.
* Frames that are made without executing anything. tblib runs a `raise` statement for each entry,
  and its frames keep the variables of all callers alive, by `f_back`.
* Rows, since pickle would take a chain of a thousand entries by recursion, and fail.

This module is imported late, for tblib's sake. So no pickle may name what is in it: a process that
unpickles would import it without the lock that a fork waits for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from types import CodeType, FunctionType, SimpleNamespace, TracebackType
from typing import Any, TypeAlias
from zipimport import zipimporter

import tblib

from .._os.lazy_import import import_lock

__all__ = ["Row", "Traceback", "take_apart"]

_Place: TypeAlias = "tuple[str, str, str, int, bytes]"
"""What a traceback shows of a function's code: the names below, in that order."""
_Globals: TypeAlias = "tuple[tuple[str, str | None], ...]"
"""The globals that are kept, by name. None is for `"__main__"`: a payload with that word in it is
taken for one that names a class of the main module, and pickled anew, which takes ten times as
long."""

Row: TypeAlias = "tuple[tuple[_Place, _Globals], int, int]"
"""An entry in plain data: (code and globals, index of the instruction, line)."""

# tblib's Code has the first two. The table has all lines and columns, relative to the first line.
_SHOWN = "co_filename", "co_name", "co_qualname", "co_firstlineno", "co_linetable"
_shown_by = attrgetter(*_SHOWN)
_KEPT = "__file__", "__name__"  # the globals that tblib keeps
_MAIN = "__main__"


class Traceback(tblib.Traceback):  # type: ignore[misc]  # tblib has no types
    """tblib's form, with the instruction that each entry stands at.

    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     apart = take_apart(error.__traceback__)
    >>> isinstance(apart, tblib.Traceback), apart.tb_frame.f_code.co_name
    (True, '<module>')
    >>> Traceback.from_rows(apart.rows()).as_traceback().tb_lineno
    2
    """

    tb_next: Traceback | None

    def __init__(self, frame: _Frame, lasti: int, lineno: int) -> None:
        # Not tblib's, which makes a frame for each entry: a recursion has a thousand entries, and
        # a handful of different frames.
        self.tb_frame, self.tb_lasti, self.tb_lineno = frame, lasti, lineno

    def __iter__(self) -> Iterator[Traceback]:
        entry: Traceback | None = self
        while entry is not None:
            yield entry
            entry = entry.tb_next

    def as_traceback(self) -> TracebackType:
        """The traceback, of frames that have no variables and never ran."""
        generators: dict[_Frame, FunctionType] = {}
        tb = None
        for entry in reversed(list(self)):
            form = entry.tb_frame
            made = generators.get(form) or generators.setdefault(form, form.generator())
            # The frame of a generator that never ran. Nothing is executed to get it, and it has
            # no `f_back`, by which it would keep all the callers' variables alive.
            tb = TracebackType(tb, made().gi_frame, entry.tb_lasti, entry.tb_lineno)
        assert tb is not None
        return tb

    to_traceback = as_traceback

    def rows(self) -> list[Row]:
        """All entries in plain data, for a pickle; `from_rows` undoes it."""
        return [(entry.tb_frame.row, entry.tb_lasti, entry.tb_lineno) for entry in self]

    @classmethod
    def from_rows(cls, rows: list[Row]) -> Traceback:
        frames = {id(shown): shown for shown, _, _ in rows}
        forms = {key: _frame(*shown) for key, shown in frames.items()}
        return _chained([cls(forms[id(shown)], lasti, lineno) for shown, lasti, lineno in rows])


class _Frame(tblib.Frame):  # type: ignore[misc]  # as above
    """tblib's form, with the columns of its code."""

    def __init__(self, place: _Place, names: _Globals) -> None:
        code = SimpleNamespace(**dict(zip(_SHOWN, place, strict=True)))
        shown = {key: _MAIN if text is None else text for key, text in names}
        super().__init__(SimpleNamespace(f_code=code, f_globals=shown, f_lineno=place[3]))
        self.f_code.__dict__.update(vars(code))
        self.row = place, names
        self._stub = _stub(place)

    def generator(self) -> FunctionType:
        """A new one, with globals of its own: whoever gets a traceback may write to them."""
        names = dict(self.f_globals)
        if (loader := _loader_of(self.f_code.co_filename)) is not None:
            names["__loader__"] = loader
        return FunctionType(self._stub, names)


_frame = lru_cache(maxsize=256)(_Frame)


class _ArchiveLoader:
    """Gives the lines of a module in a zip, of which no file has the name.

    `linecache` asks the loader in a frame's globals. The module's own is in the other process, and
    the module may never be imported in this one.
    """

    def __init__(self, archive: str, file: str) -> None:
        self._archive, self._file = archive, file

    def get_source(self, name: str, module_globals: object = None) -> str:
        """The text of the module; an `ImportError` tells `linecache` that there is none."""
        with import_lock:
            from importlib.util import decode_source  # for a faster start-up

        try:
            return decode_source(zipimporter(self._archive).get_data(self._file))
        except Exception as error:  # it is no zip, another one by now, or damaged
            raise ImportError(f"{self._file} can't be read") from error


@lru_cache(maxsize=256)
def _loader_of(file: str) -> _ArchiveLoader | None:
    """Of a module in a zip; None: it is in a file, or nowhere here."""
    archive = file
    while not os.path.exists(archive):
        archive, above = os.path.dirname(archive), archive
        if archive in ("", above):
            return None
    return _ArchiveLoader(archive, file) if archive != file and os.path.isfile(archive) else None


def _stub(place: _Place) -> CodeType:
    code = _nothing.__code__
    # As much code as the table covers, in units of two bytes, though only the first copy is ever
    # run: with less, tracing in 3.11 writes past the end of an array.
    units = sum((byte & 7) + 1 for byte in place[4] if byte & 128)
    copies = units * 2 // len(code.co_code) + 1
    shown: Any = dict(zip(_SHOWN, place, strict=True))
    return code.replace(co_code=code.co_code * copies, **shown)


def take_apart(tb: TracebackType) -> Traceback:
    frames: dict[tuple[int, int], _Frame] = {}
    entries = []
    following: TracebackType | None = tb
    while following is not None:
        frame = following.tb_frame
        code, names = frame.f_code, frame.f_globals
        key = id(code), id(names)
        if (form := frames.get(key)) is None:
            form = frames[key] = _frame(_shown_by(code), _texts(names))
        # Some instructions belong to no line.
        lineno = following.tb_lineno or code.co_firstlineno
        entries.append(Traceback(form, following.tb_lasti, lineno))
        following = following.tb_next
    return _chained(entries)


def _texts(names: dict[str, Any]) -> _Globals:
    # A program may keep anything by these names.
    texts = [(key, names[key]) for key in _KEPT if type(names.get(key)) is str]
    return tuple((key, None if text == _MAIN else text) for key, text in texts)


def _chained(entries: list[Traceback]) -> Traceback:
    for entry, following in pairwise(entries):
        entry.tb_next = following
    return entries[0]


def _nothing() -> Iterator[None]:
    yield
