"""What of `__main__` travels, and how.

No other process can import the main module of a program: it may be a notebook, and to import a
script is to run it again. So what another process needs of it is sent to it.

* **To an actor that is started anew** (spawn, forkserver) its class goes by value, with all that it
  refers to. It gets a `__main__` there whose variables these are: the functions run in it, and
  `pickle`, pools and `get_type_hints` find in it what they look for by name. Names that only
  annotations mention go along if they can.
* **Later**, a class that both sides have is the one over there, and so is a function that reads no
  data. Other functions bring the values that they read, as these are at that moment. What is new is
  put into the actor's `__main__` under its name, and never takes the place of what is there.
* **What has a name in `__main__` and an identity** (a `ContextVar`, a lock, a `NewType`, a cached
  function) is made once per process, and found by its name from then on.
* **Between forks**, and with an actor that has imported the script (`main="import"`), what can't go
  by value is found over there, by its name or by the id that it had before the fork.
* Code keeps its file, its lines and its columns. Lines that only this process knows, of a cell or
  of an interactive session, go along.

Here is what that takes of both processes. How the values are pickled is in `cloudpickling`, and in
`classes`, `functions` and `identities`, which it uses.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from multiprocessing import process
from types import ModuleType
from typing import Any, Final

from .._fast_typing import NamedTuple
from .._os.lazy_import import FORK_FAMILY, import_lock

__all__ = [
    "MAIN",
    "Home",
    "Script",
    "bind",
    "enter_anew",
    "enter_fork",
    "home_of",
    "import_script",
    "importable_name",
    "in_main",
    "is_same_program",
    "script",
    "script_to_import",
    "variable_of",
    "variables",
]

MAIN: Final = ("__main__", "__mp_main__")
"""The names of the main module. Where a script is imported, it has the second."""


def variables() -> dict[str, Any]:
    """The variables of this process's main module."""
    main = sys.modules.get("__main__")
    return {} if main is None else vars(main)


def in_main(qualname: str) -> Any:
    """What the main module has by that name; None if it has nothing."""
    found: object = sys.modules.get("__main__")
    for name in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


def variable_of(value: object) -> str | None:
    """The variable of the main module that has this very value."""
    items = list(variables().items())
    return next((name for name, item in items if item is value), None)


# ------------------------------------------------------------------ the same program elsewhere


class Home(NamedTuple):
    """Where another process of the same program finds its own version of something."""

    family: str
    file: str | None
    qualname: str


def home_of(named: Any, qualname: str | None = None) -> Home | None:
    """The home of a class or function; None if it has no name in the main module."""
    if qualname is None:
        qualname = getattr(named, "__qualname__", None)
        if getattr(named, "__module__", None) not in MAIN or type(qualname) is not str:
            return None
    if in_main(qualname) is not named:
        return None
    file = variables().get("__file__")
    return Home(FORK_FAMILY, os.path.abspath(file) if file else None, qualname)


def is_same_program(home: Home) -> bool:
    """Whether this process is a fork of the same one, or has run the same script by itself."""
    if home.family == FORK_FAMILY:
        return True
    here = variables().get("__file__")
    if here is None or _actor.has_nothing:
        return False
    return bool(os.path.abspath(here) == home.file)


# ------------------------------------------------------------------ the actor's main module


class Script(NamedTuple):
    """What a main module says of itself."""

    file: str | None = None
    package: str | None = None
    spec: str | None = None


def script() -> Script:
    """What this process's main module says of itself."""
    names = variables()
    file, spec = names.get("__file__"), getattr(names.get("__spec__"), "name", None)
    return Script(os.path.abspath(file) if file else None, names.get("__package__"), spec)


def importable_name(module: str) -> str:
    """What a module is called wherever it is imported: the main module by its name after `python
    -m`, or as the script is whose file it is. One of neither, a notebook's say, is `__main__`.

    >>> importable_name("os.path")
    'os.path'
    """
    if module not in MAIN:
        return module
    said = script()
    if said.spec is not None and said.spec != "__main__":  # that is the name of a directory's
        return said.spec
    path = said.file or "__main__"
    if os.path.basename(path) == "__main__.py":
        path = os.path.dirname(path)
    return os.path.splitext(os.path.basename(path))[0]


class _Actor:
    """What this process has to do with `__main__`, if it is an actor's."""

    takes_names = False
    """What arrives of `__main__` is put into it."""
    has_nothing = False
    """It was started anew, and has of the program's `__main__` only what arrives."""
    launcher: ModuleType | None = None
    """The main module that it was started with. Its code still runs, so it is kept."""


_actor = _Actor()


def enter_fork() -> None:
    """Say that this process is an actor's, and has the program's `__main__` as it was."""
    _actor.takes_names = True


def enter_anew(said: Script) -> None:
    """Give this process, which is an actor's, a main module that is empty but for what the
    program's own says of itself. To be called before anything is unpickled in it; after that it
    does nothing."""
    if _actor.takes_names:
        return
    _actor.takes_names = _actor.has_nothing = True
    _new_main("__main__", said)


def script_to_import() -> Script:
    """The script of this program, for an actor that is to import it.

    Raises:
        ValueError: there is none.
    """
    said = script()
    by_name = said.spec is not None and said.spec != "__main__"
    if not by_name and (said.file is None or not os.path.isfile(said.file)):
        raise ValueError('main="import" needs a script, and `__main__` has no file here')
    return said


def bind(qualname: str, value: object) -> None:
    """Give it its name in the actor's main module, unless something else has that."""
    if _actor.takes_names and "." not in qualname:
        variables().setdefault(qualname, value)


def import_script(said: Script) -> None:
    """Run the program's script as its main module here, but by another name: so what it does only
    as a program (`if __name__ == "__main__":`) is not done again. The first call in a
    process counts.

    Raises:
        RuntimeError: what it does without that guard is to start a process.
    """
    if _actor.takes_names:
        return
    _actor.takes_names = True
    main = _new_main("__mp_main__", said)
    starting: Any = process.current_process()
    was_so = hasattr(starting, "_inheriting")  # while multiprocessing itself unpickles
    starting._inheriting = True  # multiprocessing refuses, and we, to start a process meanwhile
    try:
        exec(_code_of(said), vars(main))
    finally:
        if not was_so:
            del starting._inheriting


def _new_main(name: str, said: Script) -> ModuleType:
    _actor.launcher = sys.modules["__main__"]
    main = ModuleType(name)
    main.__package__ = said.package
    if said.file is not None:
        main.__file__ = said.file
    # multiprocessing looks here for what a child of the actor has to import.
    if said.spec is not None:
        main.__spec__ = ModuleSpec(said.spec, None, origin=said.file)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main


def _code_of(said: Script) -> Any:
    if said.spec is not None and said.spec != "__main__":  # that is the name of a directory's
        with import_lock:
            from importlib.util import find_spec  # for a faster start-up: few programs need it

        spec: Any = find_spec(said.spec)
        return spec.loader.get_code(said.spec)
    assert said.file is not None
    with open(said.file, "rb") as file:
        return compile(file.read(), said.file, "exec", dont_inherit=True)
