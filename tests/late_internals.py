"""`tests.internals`, as far as a process needs it that only imports the module of a test.

That module imports nearly every private part of the package, and with them what most actors never
need: it takes as long as all else that an actor does when it is started anew. So a function of it
is only looked up when it is called, and a bound that tests set when it is set. Anything else, such
as a class, may be used while a module is imported, and is looked up at once.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

__all__ = ["stand_in"]

PACKAGE = __name__.partition(".")[0]
NAME = f"{PACKAGE}.internals"
LOCK = threading.RLock()
BOUNDS = {
    "ACCEPT_PAUSE_SECONDS",
    "ANSWER_SECONDS",
    "EXIT_CODE_SECONDS",
    "HANDSHAKE_SECONDS",
    "IN_FLIGHT",
    "NAP",
    "PROBE_DELAY",
    "SHARED_IDLE_SECONDS",
    "SHORT_CALL",
    "TERM_SECONDS",
}
"""Those of `tests.internals.Constant`."""


def stand_in() -> None:
    """From now on `import tests.internals` is quick."""
    sys.modules[NAME] = made = _StandIn(NAME)
    vars(sys.modules[PACKAGE])["internals"] = made


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system and pickle ask what else a module may have
            raise AttributeError(name)
        return _Late(name) if name.islower() or name in BOUNDS else _look_up(name)


def _look_up(name: str) -> Any:
    with LOCK:  # else a second thread would import it once more
        if isinstance(sys.modules[NAME], _StandIn):
            del sys.modules[NAME]
        return getattr(importlib.import_module(NAME), name)


class _Late:
    """A function or a bound, by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _look_up(self._name)(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_look_up(self._name), name)

    def __reduce__(self) -> Any:
        return _look_up, (self._name,)
