"""How a pool begins: the crew that its options ask for."""

from __future__ import annotations

from typing import Any

from ._actor.pool_work import NoObject
from ._engines.contract import unique_name
from ._handle import Handle
from ._options import Options
from ._pool_crew import Crew
from ._pool_functions import name_of
from ._spawning import spawn

__all__ = ["crew_of"]


def crew_of(
    size: int, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> Crew:
    """The crew of a pool, which is to be started; without a factory its workers have no objects."""
    what = "worker" if factory is None else name_of(factory)
    name = options.name or unique_name(f"{what}-pool")
    return Crew(
        name,
        size,
        _Spawner(name, factory or NoObject, args, kwargs, options),
        has_objects=factory is not None,
        has_boards=options.engine == "process",
        task_timeout=options.task_timeout,
        max_tasks=options.max_tasks_per_worker,
        patience=options.stop_timeout if options.daemon else None,
    )


class _Spawner:
    """Starts the workers of a pool, each with a name of its own."""

    def __init__(self, name: str, factory: Any, args: Any, kwargs: Any, options: Options) -> None:
        self._name = name
        self._call = factory, args, kwargs
        # The pool itself replaces who has died.
        self._options = options._replace(wait=False, restart="never")

    def __call__(self) -> Handle[Any]:
        options = self._options._replace(name=unique_name(self._name))
        return spawn(*self._call, options)
