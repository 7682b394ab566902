"""Spawning: an actor is started, waited for, and given to its handle, or ended where that fails."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ._catching.catchers import Except
from ._engines.contract import unique_name
from ._engines.kinds import engine_kind
from ._handle import Handle
from ._launching import launch_spec, name_of
from ._listing import listed
from ._options import Options
from ._os.lazy_import import import_lock
from ._ownership import OwnedActor, stop_in_background
from ._program_end import register_at_exit
from ._protocol.identity import ActorId, class_name
from ._proxy import proxy_of
from ._reference import RemoteRef
from ._wire.registry import new_address

if TYPE_CHECKING:
    from ._succession import Keeper

__all__ = ["spawn"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")


def spawn(
    factory: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
    keeper: Keeper | None = None,
) -> Handle[T]:
    """Make an actor of what a factory makes; returns when that has finished over there, or with
    `wait=False` when it has been started. `keeper` decides what becomes of it when its process has
    ended; None: its options do."""
    actor_id = ActorId.new(options.name or unique_name(name_of(factory)))
    exc = options.exc if options.exc is not None else Except.of_actor()
    kind = engine_kind(options.engine)
    ref = RemoteRef(actor_id, new_address(kind.transport), options.of_references)
    keeper = keeper or _keeper_by(options)
    lasting = keeper is not None
    with listed(ref, factory, options, lasting) as listing:
        birth = None if kind.elsewhere else listing.of_birth
        spec = launch_spec(factory, args, kwargs, options, ref, exc, lasting, birth)
        actor = OwnedActor(spec, actor_id, ref.address, options, exc, listing, keeper)
    return _owning(actor, exc, factory)


def _owning(actor: OwnedActor, exc: Except, factory: Callable[..., T]) -> Handle[T]:
    """The handle of an actor that has just been started; it is born then, or is to be in time."""
    try:
        register_at_exit(actor, early=engine_kind(actor.options.engine).elsewhere)
        handle: Handle[T] = _handle_of(actor, exc, factory)  # made while the process starts
        if actor.options.wait:
            actor.ready()
        else:
            actor.keep_time_of_birth()
    except BaseException:  # nobody will have the handle
        actor.destroy()
        raise
    return handle


def _keeper_by(options: Options) -> Keeper | None:
    if options.restart == "never":
        return None
    with import_lock:
        from ._restart_policy import RestartPolicy  # for a faster start-up: few are restarted

    return RestartPolicy(options)


def _class_of(made_by: type | None, actor: OwnedActor) -> type | str | None:
    """The object's class: that which was to make it, unless the actor has told of another one."""
    told = actor.birth.class_name()
    return made_by if made_by is not None and told in (None, class_name(made_by)) else told


def _handle_of(actor: OwnedActor, exc: Except, factory: object) -> Handle[Any]:
    options = actor.options.of_references
    ref = RemoteRef(actor.actor_id, actor.address, options, endpoint=actor.endpoint)
    ref.taken_names = actor.taken_names
    ref.wait_for_door = actor.wait_for_door
    made_by = factory if isinstance(factory, type) else None  # a function may lead to much data
    ref.told_class = partial(_class_of, made_by, actor)
    handle: Handle[Any] = proxy_of(ref, Handle)
    object.__setattr__(handle, "_actor", actor)
    object.__setattr__(handle, "_exc", exc)
    object.__setattr__(handle, "_exited", None)
    actor.finalizer = weakref.finalize(handle, stop_in_background, actor)
    actor.finalizer.atexit = False
    return handle
