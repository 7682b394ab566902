"""A program on its way to a process that is no fork, and what it finds there.

What the interpreter was told since its start goes along: the filters of `warnings`, the environment
where it is not inherited, and what the program needs of `__main__`, by value or as the script that
is to be imported. Directory and `sys.path` are in multiprocessing's own message: `without_main`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from multiprocessing import reduction
from typing import Any, Final

from .._fast_typing import NamedTuple
from .._os.memfd import anonymous_file
from .._pickling.codec import dumps_for_import, dumps_for_start, loads
from .._pickling.main_module import (
    Script,
    enter_anew,
    import_script,
    script,
    script_to_import,
)
from ..errors import UnsendableError
from .contract import Program

__all__ = ["MAINS", "PackedProgram", "pack", "unpack"]

MAINS: Final = ("value", "import")
"""How the new process gets what it needs of `__main__`."""

IN_PIPE: Final = 1 << 14
"""Bytes of pickles that are sure to fit into a pipe, with all else that the new process is told."""

_Filter = tuple[str, Any, list[tuple[str, str]], Any, int]
"""A filter of `warnings`, with its categories by name: to import one may take long, and if it is
not imported over there, no warning can be of it."""


class Pickles:
    """The pickles of a program, which travel in a file in memory if they are large: whoever writes
    more into a pipe than that holds would wait until the new interpreter reads.

    Args:
        more: those that are loaded after the first.
    """

    _fd = -1

    def __init__(self, payload: bytes, buffers: list[bytes], more: list[bytes]) -> None:
        self.payload = payload
        self.buffers = buffers
        self.more = more

    @property
    def _parts(self) -> list[bytes]:
        return [self.payload, *self.buffers, *self.more]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(len, self._parts))

    def __reduce__(self) -> tuple[Any, ...]:
        """To a process that is being started; the file lasts as long as this object."""
        if self.size <= IN_PIPE:
            return Pickles, (self.payload, self.buffers, self.more)
        if self._fd < 0:
            self._fd = anonymous_file("program")
            with open(self._fd, "wb", closefd=False) as file:
                file.writelines(self._parts)
        sizes = [len(part) for part in self._parts]
        return _from_file, (reduction.DupFd(self._fd), sizes, len(self.buffers))

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _from_file(fd: Any, sizes: list[int], buffers: int) -> Pickles:
    with open(fd.detach(), "rb") as file:
        file.seek(0)
        payload, *others = [file.read(size) for size in sizes]
    return Pickles(payload, others[:buffers], others[buffers:])


class PackedProgram(NamedTuple):
    """A program, and what it finds where it runs."""

    pickles: Pickles
    script: Script
    imports: bool
    """Whether the script is imported; else the main module is empty but for what arrives."""
    filters: list[_Filter]
    environment: dict[str, str] | None
    """None: it is inherited."""

    def enter_environment(self) -> None:
        """Have the variables that the owner has; before any code of the program's."""
        if self.environment is not None:
            _set_environment(self.environment)

    def __repr__(self) -> str:
        return f"<packed program of {self.pickles.size} bytes>"  # of which some are its key


# ------------------------------------------------------------------ here


def pack(program: Program, main: str, start_method: str) -> PackedProgram:
    """Pack a program, with what is so at this moment.

    Raises:
        UnsendableError: it can't be pickled.
        ValueError: there is no script to import.
    """
    try:
        return pack_value(program, "program", main, start_method)
    except UnsendableError:
        for name, part in program.parts():
            _pickles(part, name, main == "import")  # says which one it is
        raise


def pack_value(value: object, what: str, main: str, start_method: str) -> PackedProgram:
    """The same of anything else that the new process has to have before the program."""
    imports = main == "import"
    said = script_to_import() if imports else Script()
    payload, buffers, more = _pickles(value, what, imports)
    if more is not None:
        said = script()
    environment = dict(os.environ) if start_method == "forkserver" else None
    filters = [_by_name(*one) for one in warnings.filters]
    kept = [bytes(buffer) for buffer in buffers]
    pickles = Pickles(payload, kept, more or [])
    return PackedProgram(pickles, said, imports, filters, environment)


def _pickles(
    value: object, what: str, imports: bool
) -> tuple[bytes, list[memoryview], list[bytes] | None]:
    return (*dumps_for_import(value, what), None) if imports else dumps_for_start(value, what)


def _by_name(action: str, message: Any, category: Any, module: Any, line: int) -> _Filter:
    categories = category if isinstance(category, tuple) else (category,)
    names = [(one.__module__, one.__qualname__) for one in categories]
    return action, message, names, module, line


# ------------------------------------------------------------------ there


def unpack(packed: PackedProgram) -> Any:
    """Make all else as it was, and then the program. Raises whatever the unpickling raises."""
    _set_filters(packed.filters)
    (import_script if packed.imports else enter_anew)(packed.script)
    program = loads(packed.pickles.payload, packed.pickles.buffers)
    for pickle in packed.pickles.more:
        # Only annotations name it, and whoever looks these up is told what is not there.
        with contextlib.suppress(Exception):
            loads(pickle)
    return program


_at_import = dict(os.environ)
"""What a fork server was started with: it imports this module, and then changes nothing. So most
of its children are spared the look at each variable, a thirtieth of their start."""


def _set_environment(environment: dict[str, str]) -> None:
    if environment == _at_import:
        return
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _set_filters(filters: list[_Filter]) -> None:
    if filters == [_by_name(*one) for one in warnings.filters]:
        return
    warnings.resetwarnings()  # tells the modules that have warned already, too
    warnings.filters[:] = [  # type: ignore[index]  # typeshed has it as a sequence
        (action, message, _category(names), module, line)
        for action, message, names, module, line in filters
    ]


def _category(names: list[tuple[str, str]]) -> Any:
    return _class(*names[0]) if len(names) == 1 else tuple(_class(*one) for one in names)


def _class(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, type) and issubclass(found, Warning):
        return found
    return _ByName(qualname, (Warning,), {"__module__": module, "__qualname__": qualname})


class _ByName(type):
    """Makes a stand-in for a category: all classes of its name, and theirs, are its subclasses."""

    def __subclasscheck__(cls, subclass: type) -> bool:
        named = cls.__module__, cls.__qualname__
        return any((base.__module__, base.__qualname__) == named for base in subclass.__mro__)
