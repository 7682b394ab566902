"""How a pool begins: the crew that its options ask for, or why there can be none."""

from __future__ import annotations

from numbers import Real
from operator import index
from typing import Any

from ._actor.pool_work import NoObject
from ._actor.roles import check_class
from ._engines.contract import unique_name
from ._handle import Handle
from ._options import Options
from ._os.poller import usable_processors
from ._pool_crew import Crew
from ._pool_functions import name_of
from ._spawning import spawn

__all__ = ["check_count", "crew_of"]


def crew_of(
    n: int | None, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> Crew:
    """The crew of a pool, which is to be started; without a factory its workers have no objects.

    Raises:
        TypeError: `n` or an option is no number, or nothing takes the arguments.
        ValueError: no pool can be of `n` workers, or have these options.
    """
    if factory is None and n is None:  # by its name, which a factory might take for its own
        n = kwargs.pop("n", None)
    size = usable_processors() if n is None else _whole("n", n)
    if size < 1:
        raise ValueError(f"a pool needs workers, and n={n!r} gives it none")
    if factory is None and (args or kwargs):
        raise TypeError("without a factory there is nothing that takes these arguments")
    if isinstance(factory, type):
        check_class(factory)
    _check(options)
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


def check_count(name: str, value: Any) -> None:
    """Refuse what is no number of things.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is less than one.
    """
    if _whole(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, and is {value!r}")


def _whole(name: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, and is {value!r}") from None


def _check(options: Options) -> None:
    """Refuse what no pool can have."""
    seconds = options.task_timeout
    if seconds is not None and not isinstance(seconds, Real):
        raise TypeError(f"task_timeout must be a number of seconds, and is {seconds!r}")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"task_timeout must be some seconds, and is {seconds!r}")
    if options.max_tasks_per_worker is not None:
        check_count("max_tasks_per_worker", options.max_tasks_per_worker)
    if options.checkpoint_path is not None:
        raise ValueError("checkpoint_path= is for one actor: the workers of a pool are several")
    if options.engine == "inline":
        raise ValueError("the workers of a pool need a process or a thread each: engine=inline")


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
