"""How an actor is spawned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ._protocol.config import RefOptions, WireOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ._catching.catchers import Except

__all__ = ["Options"]


class Options(NamedTuple):
    """How an actor is spawned; `Cls.options(...)` takes these as keywords."""

    engine: str = "process"
    """`process`, `thread` or `inline`: where the object lives."""
    start_method: str | None = None
    """`fork`, `spawn` or `forkserver`; None: the program's choice, or the interpreter's."""
    main: str = "value"
    """How the new process gets what it needs of `__main__`, if it is no fork: by `value`, or by
    `import` of the script, which then needs its guard, as with `multiprocessing`."""
    name: str | None = None
    """Of the process; None numbers the class's name: `Counter-1`."""
    daemon: bool = True
    """End it when the program ends; False lets its work loop come to its own end first."""
    exc: Except | None = None
    """Where lifecycle errors go; None makes a new one, which is the handle's `exc_`."""
    spawn_timeout: float | None = 60.0
    """Seconds until `__init__` must have finished; None waits for ever."""
    wait: bool = True
    """Whether `spawn` waits until `__init__` has finished. False: it gives the handle at once, and
    calls wait for that; see `Handle.ready_`."""
    stop_timeout: float | None = 10.0
    """Seconds until it must have stopped, before SIGTERM; None waits for ever."""
    fulfill_final: bool = True
    """Whether requests in hand are carried out when it stops; False refuses them."""
    eager_proxy: bool = False
    """Whether calls give proxies, to be evaluated by `get_`."""
    reentrant: bool = True
    """Whether a call that the actor itself waits for, since it calls somebody who calls it, is
    let in; False refuses it with `DeadlockError`. Calls that began independently are never let in,
    and end with that error if they wait for each other."""
    spin: float | None = None
    """Seconds that both sides poll for the next message before they sleep, 0 for never; None is
    some tens of microseconds, as long as that pays."""
    writable: bool = True
    """Whether arrays that arrive, here and there, can be written to."""
    picklable: bool = True
    """Whether anybody may pickle its proxies. A pickled proxy is a password: who has it can run
    code in the actor. False: only calls and their results, and starts of processes, may."""

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

    @property
    def of_references(self) -> RefOptions:
        """Those that concern whoever has a proxy of it."""
        return RefOptions(self.eager_proxy, self.fulfill_final, self.picklable, self.wire_options)

    @property
    def wire_options(self) -> WireOptions:
        """Those that concern connections."""
        return WireOptions(self.spin, self.writable)

    def but(self, changes: dict[str, Any]) -> Options:
        """The same with some changed.

        Raises:
            TypeError: an option of this name does not exist.
        """
        for name in changes:
            if name not in self._fields:
                known = ", ".join(self._fields)
                raise TypeError(f"there is no option {name!r}; there are {known}")
        return self._replace(**changes)
