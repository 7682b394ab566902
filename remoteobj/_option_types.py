"""The options of `Options` as type checkers know them. Imported when somebody asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypedDict

from ._catching.catchers import Except

__all__ = ["ChildOptions", "SpawnOptions"]


class ChildOptions(TypedDict, total=False):
    """The keywords of `Supervisor(...)` that its children get: the options but for those of
    restarts that are the supervisor's own."""

    engine: str
    engine_options: Mapping[str, Any] | None
    start_method: str | None
    main: str
    name: str | None
    public: bool
    daemon: bool
    exc: Except | None
    spawn_timeout: float | None
    wait: bool
    stop_timeout: float | None
    fulfill_final: bool
    eager_proxy: bool
    reentrant: bool
    max_concurrency: int | None
    event_loop: str
    spin: float | None
    writable: bool
    picklable: bool
    restart: str
    initializer: Callable[[], object] | None
    env: Mapping[str, str | None] | None
    cpu_affinity: Collection[int] | None
    nice: int
    logging: bool
    labelled_output: bool
    checkpoint_every: float | None
    checkpoint_path: str | os.PathLike[str] | None
    record: str | os.PathLike[str] | None
    record_limit: int
    record_requests: int
    record_keep: bool


class SpawnOptions(ChildOptions, total=False):
    """The keywords of `remoteobj.options(...)`, `Cls.options(...)` and `@remote(...)`.

    For functions of your own that pass them on: with `**kwargs: Unpack[SpawnOptions]` a type
    checker flags a name that is no option, and an editor completes those that are. What each of
    them means is said of those of `Cls.options`.

    >>> from typing import Any, Unpack
    >>> from remoteobj import Handle, SpawnOptions, options
    >>> def table(**kwargs: Unpack[SpawnOptions]) -> Handle[dict[Any, Any]]:
    ...     return options(**kwargs).spawn(dict, a=1)
    >>> with table(engine="thread") as made:
    ...     len(made)
    1
    """

    max_restarts: int
    restart_window: float
    backoff: float
    task_timeout: float | None
    max_tasks_per_worker: int | None
