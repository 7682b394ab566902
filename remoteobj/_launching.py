"""What is launched for an actor, by its options: its program, how its process is set up, and where
its state is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, Final

from ._actor.concurrency import Concurrency
from ._actor.roles import roles_of_state
from ._catching.catchers import Except
from ._engines.contract import LaunchSpec
from ._engines.kinds import engine_kind
from ._engines.process_options import NO_OPTIONS, ProcessOptions, usual_options
from ._options import Options
from ._os.lazy_import import import_lock
from ._own_proxy import OwnProxy
from ._protocol.requests import followers
from ._reference import RemoteRef

if TYPE_CHECKING:
    from ._actor.program import ActorProgram
    from ._actor.recording import RecordPlan
    from ._actor.state_keeper import StatePlan
    from ._wire.transport import Address

__all__ = ["launch_spec", "name_of"]

_OF_PROCESS: Final = "env", "cpu_affinity", "nice", "labelled_output"
_OF_RAY: Final = {
    "env": 'that is Ray\'s: use engine_options={"runtime_env": {"env_vars": {...}}}',
    "cpu_affinity": 'that is Ray\'s, which places it: use engine_options={"num_cpus": ...}',
    "nice": "that is Ray's, whose niceness its cluster says",
    "labelled_output": "that is Ray's, which labels what its workers print",
}
_DEFAULTS: Final = Options()


def launch_spec(
    factory: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
    ref: RemoteRef,
    exc: Except,
    lasting: bool,
    tells_birth_at: tuple[str, int] | None = None,
) -> LaunchSpec:
    """What is launched, as often as the actor is started, as things are at this moment.

    Args:
        lasting: whether one process of it may follow another.
        tells_birth_at: a file, and the place in it, where the actor says that it is born.

    Raises:
        ModuleNotFoundError: it is to have an event loop of a package that is not installed.
        OSError: the directory for its record can't be made.
        ValueError: an option is about a process that it has not, or this system can't do that.
        TypeError: an option is about a state that it has not; or the class has one of the methods
            marked `checkpoint` and `restore`, and not the other.
    """
    program = _actor_program()(
        factory,
        args,
        kwargs,
        actor_id=ref.actor_id,
        address=ref.address,
        exc=exc,
        proxy=OwnProxy(ref.reference()),
        wire_options=options.wire_options,
        reentrant=options.reentrant,
        initializer=options.initializer,
        state=_state_plan(factory, options, lasting, ref.address),
        record=_record_plan(options, ref.actor_id.name),
        concurrency=_concurrency(options),
        tells_birth_at=tells_birth_at,
    )
    return LaunchSpec(
        program,
        ref.actor_id.name,
        options.daemon,
        options.start_method,
        ref.wire_options,
        options.main,
        _process_options(options),
        engine_options=_engine_options(options),
        kept=program.kept,
        find_record=program.find_record,
    )


def _actor_program() -> type[ActorProgram]:
    with import_lock:
        from ._actor.program import ActorProgram  # for a faster start-up: it is the actor's side

    return ActorProgram


def name_of(factory: Any) -> str:
    """What its actors are called, with a number, where nobody gives them a name."""
    func = getattr(factory, "func", factory)  # of a `functools.partial`
    return str(getattr(func, "__name__", type(factory).__name__)).strip("<>")


def _engine_options(options: Options) -> Mapping[str, Any] | None:
    """What the engine takes beyond all others."""
    if options.engine_options is not None and not engine_kind(options.engine).elsewhere:
        raise ValueError(
            f"engine_options= is what Ray is asked for, and with engine={options.engine!r} nobody "
            "asks it"
        )
    return options.engine_options


def _process_options(options: Options) -> ProcessOptions:
    """How the process is set up."""
    if options.engine != "process":
        elsewhere = engine_kind(options.engine).elsewhere
        for name in _OF_PROCESS:
            if getattr(options, name) != getattr(_DEFAULTS, name):
                raise ValueError(
                    f"{name}= is about a process of its own, and with engine={options.engine!r} "
                    f"{_OF_RAY[name] if elsewhere else 'the actor has none'}"
                )
        if elsewhere and options.start_method is not None:
            raise ValueError(
                'start_method= is for processes of this machine, and with engine="ray" it is Ray '
                "that starts them"
            )
        return NO_OPTIONS
    usual = usual_options()
    return ProcessOptions(
        None if options.env is None else dict(options.env),
        None if options.cpu_affinity is None else _checked_cpus(options.cpu_affinity),
        options.nice,
        options.labelled_output,
        usual.logging if options.logging else None,
        usual.whole_title,
    )


def _concurrency(options: Options) -> Concurrency:
    if options.event_loop == "uvloop" and PathFinder.find_spec("uvloop") is None:
        raise ModuleNotFoundError(
            'event_loop="uvloop" needs the package uvloop: pip install "remoteobj[uvloop]"',
            name="uvloop",
        )
    return Concurrency(options.max_concurrency, options.event_loop)


def _record_plan(options: Options, name: str) -> RecordPlan | None:
    if options.record is None:
        return None
    with import_lock:
        from ._actor.recording import RecordPlan  # for a faster start-up: few are recorded

    directory = os.path.abspath(os.fspath(options.record))
    limits = options.record_limit, options.record_requests
    return RecordPlan(directory, name, *limits, options.record_keep).prepare()


def _checked_cpus(numbers: Collection[int]) -> tuple[int, ...]:
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("cpu_affinity= can't be had here: this system lets no process choose")
    usable = os.sched_getaffinity(0)
    if not usable.issuperset(numbers):
        raise ValueError(
            f"cpu_affinity={numbers!r} is to name some of the processors that this process may run "
            f"on: {sorted(usable)}"
        )
    return tuple(sorted(set(numbers)))


def _state_plan(
    factory: Any, options: Options, lasting: bool, address: Address
) -> StatePlan | None:
    """How the state of what a factory makes is kept; None: it has none to be kept."""
    every, path = options.checkpoint_every, options.checkpoint_path
    wanted = every is not None or path is not None
    if isinstance(factory, type):
        if None in roles_of_state(factory):
            if wanted:
                raise TypeError(
                    f"checkpoint_every and checkpoint_path are for classes that say what their "
                    f"state is: mark two methods of {factory.__qualname__}, one by "
                    "@remote.checkpoint and one by @remote.restore"
                )
            return None
    elif not (wanted or lasting):
        return None  # what a function makes may have a state, and is not known here
    with import_lock:
        from ._actor.state_keeper import StatePlan  # for a faster start-up: few keep a state

    if engine_kind(options.engine).elsewhere and path is None:
        with import_lock:
            from ._wire.cluster_memory import ClusterMemory  # as above, at start-up

        return StatePlan(ClusterMemory(address.location), every, wanted)
    return StatePlan.of(every, None if path is None else os.fspath(path), wanted)


def _pass_on(order: bytes) -> None:
    """Who observes an actor observes those that it has started, too."""
    with import_lock:
        from ._observation import pass_on  # for a faster start-up: few are observed

    pass_on(order)


followers[:] = [_pass_on]
