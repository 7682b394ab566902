"""The methods of proxies for an object with a loop of its own, for those who follow it, and for
those who want its state to be kept."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any

from ._actor.current import current_actor
from ._actor.roles import roles_of_state
from ._actor.served_here import local_servers
from ._os.lazy_import import import_lock
from ._parts import VIEW_OF
from .errors import NotListeningError

if TYPE_CHECKING:
    from ._actor.pacing import Pacer
    from ._caller.following import Follower

__all__ = ["checkpoint_", "every_", "follow_", "publish_", "take_checkpoint"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

WINDOW = 64
"""How many items wait for a follower that gets all of them, unless it says otherwise."""
MOST = 1 << 31
"""How many it may say."""


def every_(self: Any, period: float) -> Pacer:
    """Pace a loop: `for tick in self.remote.every_(1/30):` runs its body 30 times a second.

    Between two ticks requests are served, in this thread, at once. The first tick is now, and the
    others lie on a grid from there, so that the rate is kept. A body that takes longer than a
    period makes the next tick late; ticks that are over by then are skipped, not made up for. The
    iteration ends when the object is to be served no more. A loop that is `async def` uses
    `async for`, and requests are served whenever it awaits.

    Each tick has its `number` on the grid, when it was `due`, its `lateness` in seconds, and how
    many `overruns` of the body and `skipped` ticks there were until then.

    It is for a `@remote.work` loop, and for the loop of a process that serves a `Proxy(obj)`. Where
    the background serves that (`listen_(bg=True)`), it only keeps time.

    Args:
        period: seconds from one tick to the next.

    Raises:
        ValueError: the period is not above zero, or is not finite.
        NotListeningError: the object is not served from this process.
        RuntimeError: this is called within a request, or within another loop so paced, or in
            another thread than that of the actor's loop.

    >>> from remoteobj import Proxy
    >>> with Proxy({}) as served:
    ...     for tick in served.every_(0.001):
    ...         if tick.number >= 3:
    ...             break
    """
    pacer: Pacer = _whole_view(self, "every_").ref.paced(period)
    return pacer


def publish_(self: Any, item: Any) -> None:
    """Give an item to all who follow the object, by `follow_`, wherever they are.

    It waits for none of them: the item is pickled once, and goes out at once to those that wait for
    it. Arrays and other big buffers go by shared memory. Without followers nothing is done: the
    item is not pickled, and not kept for those that come later.

    To be called where the object lives, from any thread.

    Raises:
        UnsendableError: it can't be pickled, and somebody follows.
        NotListeningError: the object is not served from this process.

    >>> from remoteobj import Proxy
    >>> served = Proxy({})
    >>> with served.listen_(bg=True), served.follow_() as follower:
    ...     served.publish_("news")
    ...     next(follower)
    'news'
    """
    ref = _whole_view(self, "publish_").ref
    server = local_servers.get(ref.actor_id)
    if server is not None:
        server.publish(item)
    elif not ref.was_served_here:
        raise NotListeningError(
            f"{ref.name} is not served from this process, and only its own can publish_ for it; "
            "call a method of it that does"
        )


def follow_(self: Any, latest: bool = True, *, window: int | None = None) -> Follower:
    """What the object publishes from now on, by `publish_`: for `for`, and for `async for`.

    Each item comes once. A follower that is slow misses some, and holds up neither the object nor
    its other followers; its `dropped` counts them. The end of the object ends the iteration, and
    its death raises `ActorDiedError`. Any number of followers may be in any process that has the
    proxy. One that the `@remote.work` loop of another actor makes ends when that actor is to stop,
    as well.

    Through `with_(timeout=)` an item that takes longer raises `CallTimeoutError`, and ends it.

    Args:
        latest: True gives the newest item that has not come yet. False gives all, in order, as
            long as no more than a window of them wait; then the oldest of these is dropped.
        window: how many items may wait over there, with `latest=False`; 64 by default.

    Raises:
        NotListeningError: nobody serves the object.
        ActorDiedError: its process has ended.
        ValueError: the window has no room, or far too much, or there is one with `latest=True`.

    >>> from remoteobj import remote
    >>> @remote
    ... class Camera:
    ...     def take(self, n):
    ...         for i in range(n):
    ...             self.remote.publish_(f"picture {i}")
    >>> with Camera.spawn() as camera:
    ...     newest, all = camera.follow_(), camera.follow_(latest=False)
    ...     camera.take(3)
    ...     next(newest), newest.dropped
    ...     next(all), next(all), all.dropped
    ('picture 2', 2)
    ('picture 0', 'picture 1', 0)
    """
    view = _whole_view(self, "follow_")
    if latest and window is not None:
        raise ValueError(
            "a window is for latest=False: with latest=True one item waits, the newest"
        )
    length = 1 if latest else WINDOW if window is None else index(window)
    if not 0 < length <= MOST:
        raise ValueError(f"window must be at least 1, and at most {MOST}: {window}")
    with import_lock:
        from ._caller.following import follow  # for a faster start-up: few programs follow

    ref = view.ref
    ref.wait_for_door()
    home = local_servers.get(ref.actor_id)
    channel = None if home is None else home.inline_channel()
    follower = follow(ref.endpoint, channel, view.whole, view.options, length)
    own = current_actor.get()
    if own is not None and (own_server := local_servers.get(VIEW_OF[type(own)](own).ref.actor_id)):
        own_server.end_with_loop(follower)
    return follower


def checkpoint_(self: Any) -> Any:
    """Take a checkpoint now: keep what the method marked `@remote.checkpoint` returns.

    Through a handle or another proxy this is a call as any other: it is run in turn with the calls,
    and returns when the state is kept; `future_`, `async_`, `cast_` and `with_` are for it too. In
    the actor itself, `self.remote.checkpoint_()` takes it at once, in the thread that calls it: in
    the work loop, say, or in the method marked `@remote.cleanup`.

    Raises:
        TypeError: the object has no such method.
        RuntimeError: it is taken within a checkpoint, or in `__init__`.
        UnsendableError: the state can't be pickled. The one before stays.
        OSError: there is no room for it. The one before stays.
        Exception: what the method raised.
    """
    return _whole_view(self, "checkpoint_").do("passto", take_checkpoint, (), {})


def take_checkpoint(obj: Any) -> None:
    """Take a checkpoint of an actor's object: what a proxy has the object passed to.

    Raises:
        TypeError: it has no state to keep, or no place for it.
    """
    kind = type(obj).__qualname__
    if None in roles_of_state(type(obj)):
        raise TypeError(f"{kind} has no methods marked @remote.checkpoint and @remote.restore")
    for server in list(local_servers.values()):
        if server.root is obj and (keeper := server.state_keeper) is not None:
            keeper.keep(obj)
            return
    raise TypeError(
        f"this {kind} has no place for its state: that has an actor of the class itself, and one "
        "that a function makes if it is given the option checkpoint_every, checkpoint_path or "
        "restart"
    )


def _whole_view(proxy: Any, name: str) -> Any:
    """The view of a proxy of the whole object.

    Raises:
        TypeError: it stands for a part.
    """
    view = VIEW_OF[type(proxy)](proxy)
    if view.steps:
        raise TypeError(f"{name} is of the whole object, and {proxy!r} is a part of it")
    return view
