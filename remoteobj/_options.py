"""How an actor is spawned."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from ._engines.kinds import engine_kind
from ._fast_typing import NamedTuple
from ._os.lazy_import import import_lock
from ._protocol.config import RefOptions, WireOptions

if TYPE_CHECKING:
    from ._catching.catchers import Except
    from ._option_types import SpawnOptions

__all__ = ["Options"]

_OF_PROCESS = frozenset(
    (
        "initializer",
        "env",
        "cpu_affinity",
        "nice",
        "logging",
        "labelled_output",
        "checkpoint_every",
        "checkpoint_path",
        "public",
        "max_concurrency",
        "event_loop",
        "record",
        "record_limit",
        "record_requests",
        "record_keep",
    )
)
_OF_RESTARTS = frozenset(("restart", "max_restarts", "restart_window", "backoff"))


class Options(NamedTuple):
    """The options of an actor. `Cls.options(...)` takes these as keywords."""

    engine: str = "process"
    """Where the object lives: `process`, `thread`, `inline` or `ray`."""
    engine_options: Mapping[str, Any] | None = None
    """With `engine="ray"`: what Ray is asked for, such as `{"num_cpus": 1, "num_gpus": 0.5}`."""
    start_method: str | None = None
    """`fork`, `spawn` or `forkserver`. None: what the program chose, or Python's default."""
    main: str = "value"
    """How a process that is not forked gets what it needs of `__main__`: by `value`, or by `import`
    of the script, which then needs the guard `if __name__ == "__main__":`."""
    name: str | None = None
    """The name of the process. None: the name of the class with a number, such as `Counter-1`."""
    public: bool = False
    """Whether any process of this user gets a proxy of it by `remoteobj.connect(name)`."""
    daemon: bool = True
    """Whether the end of the program stops it. False: the program waits for its work loop."""
    exc: Except | None = None
    """The `Except` that records its lifecycle errors. None: a new one, the handle's `exc_`."""
    spawn_timeout: float | None = 60.0
    """Time limit in seconds for `__init__`. None: no limit."""
    wait: bool = True
    """Whether `spawn` waits until `__init__` has finished. False: it returns at once, and calls
    wait for `__init__`; see `Handle.ready_`."""
    stop_timeout: float | None = 10.0
    """Time limit in seconds for an orderly stop; then it gets SIGTERM. None: no limit."""
    fulfill_final: bool = True
    """Whether a stop runs the calls that have arrived. False: it refuses them."""
    eager_proxy: bool = False
    """Whether calls return proxies, which `get_` evaluates."""
    reentrant: bool = True
    """Whether a call is run that the actor itself waits for, because it calls an actor that calls
    it. False: it is refused with `DeadlockError`. Calls that began independently never run inside
    each other. If they wait for each other, one of them ends with that error."""
    max_concurrency: int | None = None
    """How many calls may run at once in the object. None: 100 where its class has `async def`
    methods, which share one event loop, and 1 elsewhere. More than 1 for a class without them: so
    many threads."""
    event_loop: str = "asyncio"
    """What runs `async def` methods: `asyncio`, or the faster `uvloop`, if that is installed."""
    spin: float | None = None
    """How many seconds both sides poll for the next message before they sleep; 0: they never poll.
    None: about 50 microseconds, as long as polling helps."""
    writable: bool = True
    """Whether arrays arrive writable, on both sides."""
    picklable: bool = True
    """Whether all code may pickle its proxies. A pickled proxy is a password: who has it can run
    code in the actor. False: only calls, their results, and starts of processes may."""

    restart: str = "never"
    """When a new process takes the place of one that has ended, at the same address: `never`,
    `on-failure` or `always`. A failure is a death by a signal, a crash or an exit code that is not
    0, or a work loop that raises. An end that the owner wants is none, nor is the exception of a
    call."""
    max_restarts: int = 3
    """How many restarts are allowed within `restart_window`; then the actor stays dead."""
    restart_window: float = 60.0
    """The seconds within which restarts count."""
    backoff: float = 0.1
    """Seconds between a failure and the restart, about; doubled at each further failure within
    `restart_window`, up to 10 seconds."""

    initializer: Callable[[], object] | None = None
    """Called over there before the object is made. What it raises is what `spawn` raises."""
    env: Mapping[str, str | None] | None = None
    """Environment variables to be set over there before any code of yours runs; None unsets one."""
    cpu_affinity: Collection[int] | None = None
    """The numbers of the processors that its process may run on; None: those of its owner."""
    nice: int = 0
    """What is added to the niceness of its process: up to 19, the higher the more it gives way."""
    logging: bool = True
    """Whether the records that are logged over there reach the handlers of the owner's program."""
    labelled_output: bool = False
    """Whether each line that is printed over there begins with the actor's name."""
    checkpoint_every: float | None = None
    """How many seconds after a checkpoint a call is followed by the next one, which its reply waits
    for; 0.0: each call is. None: only `checkpoint_()` takes one."""
    checkpoint_path: str | os.PathLike[str] | None = None
    """The file in which the state is kept, beyond the end of the program. None: in memory."""
    record: str | os.PathLike[str] | None = None
    """The directory in which its requests are recorded, in a file for each of its processes, from
    its last checkpoint on. The file stays if the process does not end in order, and `python -m
    remoteobj replay FILE` runs them again. None: they are not recorded."""
    record_limit: int = 64 * 2**20
    """How many bytes of requests are recorded, arguments and outcomes included; then the eldest are
    cut off."""
    record_requests: int = 10_000
    """How many requests are recorded; then the eldest are cut off. Each item of a stream is one."""
    record_keep: bool = False
    """Whether the file of a process that has ended in order stays, too."""
    task_timeout: float | None = None
    """Of a pool: time limit in seconds for each task. None: no limit."""
    max_tasks_per_worker: int | None = None
    """Of a pool: after so many tasks a worker is replaced by a new one. None: never."""

    @property
    def of_references(self) -> RefOptions:
        """Those that concern whoever has a proxy of it."""
        return RefOptions(
            self.eager_proxy,
            self.fulfill_final,
            self.picklable,
            self.wire_options,
            self.restart != "never",
        )

    @property
    def wire_options(self) -> WireOptions:
        """Those that concern connections."""
        # What comes from elsewhere comes too late for who polls, and needs the interpreter.
        spin = 0.0 if engine_kind(self.engine).elsewhere else self.spin
        return WireOptions(spin, self.writable)

    def but(self, changes: SpawnOptions) -> Options:
        """The same with some changed.

        Raises:
            TypeError: an option of this name does not exist, or its value is of a wrong type.
            ValueError: an option of its process has a value that can't be right.
        """
        for name in changes:
            if name not in self._fields:
                known = ", ".join(self._fields)
                raise TypeError(f"there is no option {name!r}; there are {known}")
        if not isinstance(given := changes.get("name"), str | None):
            raise TypeError(f"name= takes a text, or None: {given!r}")
        if not _OF_PROCESS.isdisjoint(changes):
            with import_lock:
                from ._process_values import check_values  # for a faster start-up: few set these

            check_values(changes)
        changed = self._replace(**changes)
        if changed.restart != "never" or not _OF_RESTARTS.isdisjoint(changes):
            with import_lock:
                from . import _restart_limit  # as above, for a faster start-up

            _restart_limit.check_values(
                changed.engine,
                changed.restart,
                changed.max_restarts,
                changed.restart_window,
                changed.backoff,
            )
        return changed
