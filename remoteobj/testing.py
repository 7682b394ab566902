"""For tests of programs that use actors: fakes, faults at a moment of your choice, gates, a leak
check.

::

    fake(Cls, ...)                                       a handle over an object in this process
    mocked(Cls)                                          ... over a mock that has the same names
    script(handle, die(at=3, when="after execution"))    the third call from now on is carried out,
                                                         and then the actor dies without a reply
    with Gate() as gate:                                 an actor that calls gate.park() waits there
        ...                                              until the test opens it
    with no_leaks(): ...                                 nothing of ours is left behind

None of this costs anything where it is not used: a fault is put into one actor, by a call to it,
and nowhere else is there a place for one.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
import time
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from ._access import current
from ._actor.client_set import ClientSet
from ._actor.clients import Client
from ._actor.execution import Executor, ExecutorAround
from ._actor.server import Server
from ._fakes import fake, mocked
from ._fast_typing import NamedTuple
from ._handle import Handle
from ._leaks import no_leaks
from ._protocol.frames import encode
from ._protocol.messages import Frame, FrameParts, Kind
from ._proxy import ref_of

__all__ = [
    "Fault",
    "Gate",
    "bad_pickle",
    "delay",
    "die",
    "dies_in_init",
    "drop",
    "fake",
    "mocked",
    "no_leaks",
    "script",
]

_NAP = 0.05
"""Seconds that a gate sleeps at once."""

When = Literal["before receive", "after receive", "after execution", "in mid-frame", "in handshake"]
"""At which moment of a request its actor dies: before it has read it; before it has run it; when
it has, before the reply; in the midst of writing that; or while the next stranger connects."""


class Fault(NamedTuple):
    """What goes wrong, and with which request: 1 is the next one."""

    what: Literal["die", "delay", "drop", "bad pickle"]
    at: int
    when: When = "after receive"
    seconds: float = 0.0
    exitcode: int | None = None


def die(at: int = 1, when: When = "after receive", exitcode: int | None = None) -> Fault:
    """The actor's process ends: by SIGKILL, or with an exit code.

    >>> die(at=2, when="in mid-frame").at
    2
    """
    return Fault("die", _counted(at), when, exitcode=exitcode)


def delay(seconds: float, at: int = 1) -> Fault:
    """The request is carried out so many seconds later.

    >>> delay(0.5).seconds
    0.5
    """
    return Fault("delay", _counted(at), seconds=seconds)


def drop(at: int = 1) -> Fault:
    """The request is carried out, and its reply is lost: only a time limit ends the call.

    >>> drop(at=3).what
    'drop'
    """
    return Fault("drop", _counted(at))


def bad_pickle(at: int = 1) -> Fault:
    """The request is carried out, and its result arrives as something that is no pickle.

    >>> bad_pickle().what
    'bad pickle'
    """
    return Fault("bad pickle", _counted(at))


def script(handle: Handle[Any], *faults: Fault) -> None:
    """Put faults into an actor, in place of those that were put there before.

    Requests are counted from now on, whoever makes them: calls, casts, and what begins a stream.

    Raises:
        TypeError: the object is not served by a process of its own.

    >>> from remoteobj import ActorDiedError, remote
    >>> Box = remote(type("Box", (), {"peek": lambda self: 1}))
    >>> box = Box.spawn()
    >>> script(box, die(at=2))
    >>> box.peek()
    1
    >>> try: box.peek()
    ... except ActorDiedError as error: print(error.signal.name, error.maybe_executed)
    SIGKILL True
    >>> box.kill_(); box.stop_()
    """
    if handle.pid_ == os.getpid():
        raise TypeError("faults are for actors that have a process of their own")
    handle.passto(_install, faults)


def dies_in_init(cls: type, exitcode: int | None = None) -> Any:
    """A spawner of a class whose actors die within their `__init__`.

    >>> from remoteobj import remote
    >>> Box = remote(type("Box", (), {}))
    >>> dies_in_init(Box, exitcode=3).spawn()
    Traceback (most recent call last):
        ...
    remoteobj.errors.ActorDiedError: ... exited with code 3; the call may have been executed
    """

    def __init__(self: object, *args: object, **kwargs: object) -> None:
        _end(exitcode)

    made: Any = type(cls.__name__, (cls,), {"__init__": __init__, "__module__": cls.__module__})
    return made.options()


# --- in the actor --------------------------------------------------------------------------


def _counted(at: int) -> int:
    if at < 1:
        raise ValueError(f"requests are counted from 1, and not from {at}")
    return at


def _end(exitcode: int | None) -> None:
    if exitcode is not None:
        os._exit(exitcode)
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # it may take the kernel a moment


def _install(_: object, faults: tuple[Fault, ...]) -> None:
    home = ref_of(current()).home
    assert isinstance(home, Server)
    mailbox = home.mailbox
    if isinstance(mailbox.executor, _FaultyExecutor):
        mailbox.executor = mailbox.executor.remove()
    if faults:
        mailbox.executor = _FaultyExecutor(home, faults)


class _FaultyExecutor(ExecutorAround):
    """Stands in front of an actor's executor: counts the requests, and puts the faults in."""

    def __init__(self, home: Server, faults: tuple[Fault, ...]) -> None:
        super().__init__(home.mailbox.executor)
        self._control = home.control
        self._clients = home.mailbox.clients
        self._faults = {one.at: one for one in faults}
        self._count = 0
        self._look_ahead()

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        self._count += 1
        fault = self._faults.get(self._count)
        if fault is None:
            reply = self._inner.run(client, request)
        else:
            reply = self._fail(fault, client, request)
        self._look_ahead()
        return reply

    def remove(self) -> Executor:
        """Take all faults out; the executor without them."""
        vars(self._clients).pop("read_one", None)
        vars(self._control).pop("shake_hands", None)
        return self._inner

    def _look_ahead(self) -> None:
        """Get ready for what happens before the next request is there."""
        self.remove()
        fault = self._faults.get(self._count + 1)
        if fault is None or fault.what != "die":
            return
        if fault.when == "before receive":
            vars(self._clients)["read_one"] = partial(self._at_news, fault)
        elif fault.when == "in handshake":
            vars(self._control)["shake_hands"] = lambda handshake: _end(fault.exitcode)

    def _at_news(self, fault: Fault, fd: int, events: int) -> Any:
        if any(fd == client.channel.fileno() for client in self._clients):
            _end(fault.exitcode)
        return ClientSet.read_one(self._clients, fd, events)

    def _fail(self, fault: Fault, client: Client, request: Frame) -> FrameParts | None:
        if fault.what == "delay":
            time.sleep(fault.seconds)
        elif fault.what == "die" and fault.when == "after receive":
            _end(fault.exitcode)
        reply = self._inner.run(client, request)
        if reply is None or fault.what == "delay":
            return reply
        if fault.what == "bad pickle":
            return Frame(Kind.VALUE, request.call_id, b"\x80\x05no pickle")
        if fault.what == "die":
            if fault.when == "in mid-frame":
                data = b"".join(map(bytes, encode(reply)))
                client.channel.write([data[: len(data) // 2]])
            _end(fault.exitcode)
        return None  # it is lost


# --- gates ---------------------------------------------------------------------------------


class Gate:
    """A place where an actor waits until a test lets it go on.

    The test makes it and hands it over as an argument; the actor calls `park`. So a test decides
    what happens meanwhile, and no sleep has to be long enough.

    >>> from remoteobj import remote
    >>> Box = remote(type("Box", (), {"wait": lambda self, gate: gate.park()}))
    >>> with Gate() as gate, Box.spawn() as box:
    ...     future = box.future_.wait(gate)
    ...     gate.wait_for_arrival()
    ...     future.done()
    ...     gate.open()
    ...     future.result()
    False
    """

    def __init__(self, directory: str | None = None) -> None:
        self._maker = os.getpid() if directory is None else None
        self.directory: str = directory or tempfile.mkdtemp(prefix="remoteobj-gate-")
        """For a program that can't be handed the gate: there, `Gate(directory)` is the same one."""
        paths = [os.path.join(self.directory, name) for name in ("arrived", "opened")]
        if directory is None:
            for path in paths:
                os.mkfifo(path, 0o600)
        # For both, so that neither end waits for the other, and what is in there stays.
        self._arrived, self._opened = [os.open(path, os.O_RDWR) for path in paths]

    def park(self, timeout: float = 60.0) -> None:
        """Arrive, and wait until the gate is opened. In the actor.

        Raises:
            TimeoutError: it was not opened within so many seconds.
        """
        self.arrive()
        self._take(self._opened, timeout, "was not opened")

    def arrive(self) -> None:
        """Let the test know that this place has been reached, and go on. In the actor."""
        os.write(self._arrived, b"!")

    def wait_for_arrival(self, timeout: float = 10.0) -> None:
        """Wait until somebody has arrived. In the test.

        Raises:
            TimeoutError: nobody arrived within so many seconds.
        """
        self._take(self._arrived, timeout, "was not reached")

    def open(self) -> None:
        """Let one through: who is there, or else who comes next."""
        os.write(self._opened, b"!")

    def _take(self, fd: int, timeout: float, failure: str) -> None:
        end = time.monotonic() + timeout
        # In short sleeps: the handler of a signal that came just before one runs after it.
        while not select.select([fd], [], [], max(0.0, min(_NAP, end - time.monotonic())))[0]:
            if time.monotonic() >= end:
                raise TimeoutError(f"the gate {failure} within {timeout} s")
        os.read(fd, 1)

    def close(self) -> None:
        """Let go of it, and remove it if this process made it. Harmless when done twice."""
        for name in ("_arrived", "_opened"):
            if (fd := getattr(self, name, -1)) >= 0:
                os.close(fd)
                setattr(self, name, -1)
        if self._maker == os.getpid():  # and is not a fork of the process that made it
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Gate, (self.directory,)
