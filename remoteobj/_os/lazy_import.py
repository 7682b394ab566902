"""What makes it safe to import a module only once it is needed.

Much of what this package may need is not needed by most programs, and would double the time
that its own import takes. So it is imported inside functions, but only while `import_lock` is
held. A fork waits for that: else a child that is forked while another thread imports would
find the module half made, and wait for ever for a thread that it has not.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final

__all__ = ["FORK_FAMILY", "import_lock", "is_awaited", "late_names", "when_imported"]

import_lock: Final = threading.RLock()

FORK_FAMILY: Final = os.urandom(16).hex()
"""What this process has in common with its forks, and with no other process. It is here since
a module that is imported late would make one of its own in each fork."""

os.register_at_fork(
    before=import_lock.acquire,
    after_in_parent=import_lock.release,
    after_in_child=import_lock.release,
)


def late_names(
    module: dict[str, Any], homes: dict[str, str], *, otherwise: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a module that imports a name when it is first used.

    Args:
        module: its variables, with the list of the names, `__all__`.
        homes: in which module of its package each name is; one that is a name itself is its own.
        otherwise: where all others are.
    """

    def get(name: str) -> Any:
        where, home = module["__name__"], homes.get(name, otherwise)
        if name not in module["__all__"]:
            raise AttributeError(
                f"module {where!r} has no attribute {name!r}", name=name, obj=sys.modules[where]
            )
        with import_lock:
            found: Any = import_module(f".{home}", module["__package__"])
        if home != name:
            found = getattr(found, name)
        module[name] = found
        return found

    return get, lambda: sorted({*module, *module["__all__"]})


def when_imported(name: str, act: Callable[[], object]) -> None:
    """Do something as soon as a module of the standard library is imported: now, if it is."""
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _Watcher(name, act))


def is_awaited(name: str) -> bool:
    """Whether something is yet to be done when this module is imported."""
    return any(isinstance(one, _Watcher) and one.name == name for one in sys.meta_path)


class _Watcher:
    """A finder that finds nothing, but notices that something is looked for."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self.name, self._act = name, act

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            self._act()

        vars(spec.loader)["exec_module"] = execute_and_act
        return spec
