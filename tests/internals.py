"""What tests ask of private parts of the package, and the private seams that they patch.

Every other test file uses the public face, so that a part of the package that is renamed or moved
changes this file alone. Two kinds of files are excepted: those that test one private module by
itself, and the second decoder that these are compared with. `tests/architecture.py` has the list
of them, and holds this.

The functions run in actors, and in programs of their own, as well as in the tests.
"""

import contextlib
import copy
import errno
import fcntl
import importlib
import inspect
import os
import pkgutil
import signal
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import pytest

import remoteobj
from remoteobj import Except, Proxy, _incarnation, _inspection, _leaks, _pool_worker
from remoteobj._actor import control, mailbox, state_keeper
from remoteobj._actor.actor_server import ActorServer
from remoteobj._actor.clients import Client
from remoteobj._actor.control import HANDSHAKES
from remoteobj._actor.replies import value_frame
from remoteobj._actor.served_here import local_servers
from remoteobj._actor.server import Server
from remoteobj._caller import async_calls, event_loop, settling
from remoteobj._caller.answers import decode_answer
from remoteobj._caller.control_client import ControlClient
from remoteobj._caller.endpoint import Endpoint
from remoteobj._caller.frame_writer import FrameWriter
from remoteobj._catching import store
from remoteobj._catching.catchers import ANY
from remoteobj._catching.journal import Journal
from remoteobj._catching.projection import Projection
from remoteobj._engines import guardian, out_of_memory, reaper, without_main
from remoteobj._engines.flight_recorder import OUTPUT as LAST_OUTPUT
from remoteobj._engines.flight_recorder import FlightRecorder
from remoteobj._engines.kinds import ENGINES
from remoteobj._engines.process import ActorProcess
from remoteobj._engines.registry import engine_named
from remoteobj._incarnation import Incarnation
from remoteobj._inspection import EXPLAIN_SECONDS
from remoteobj._observer import Observer, find
from remoteobj._options import Options
from remoteobj._os import atomic_file, guardian_main, io_thread, lazy_import
from remoteobj._os.atomic_file import AtomicFile
from remoteobj._os.atomic_memory import AtomicMemory
from remoteobj._os.processes import KnownProcess
from remoteobj._os.thread_unwind import ThreadUnwind
from remoteobj._ownership import OwnedActor
from remoteobj._pickling import codec, out_of_band
from remoteobj._pickling.codec import dumps, loads
from remoteobj._pickling.exceptions import pack_error, unpack_error
from remoteobj._pickling.main_module import importable_name
from remoteobj._protocol import chains
from remoteobj._protocol.calls import PendingCall
from remoteobj._protocol.chains import BlockedCall
from remoteobj._protocol.descriptions import describe_request
from remoteobj._protocol.frames import (
    HEADER,
    IN_PLACE,
    LAZY,
    MAX_BUFFERS,
    MAX_FRAME,
    Decoder,
    encode,
)
from remoteobj._protocol.identity import ActorId
from remoteobj._protocol.messages import INIT_ID, WINDOW, Flag, Frame, Kind, MalformedFrameError
from remoteobj._protocol.operations import OPERATIONS
from remoteobj._protocol.own_names import OF_HANDLES, OF_PROXIES
from remoteobj._proxy import ref_of
from remoteobj._succession import Succession
from remoteobj._watching import Glance, Watch
from remoteobj._wire import buffer_exchange, registry, roster, runtime_directory, unix
from remoteobj._wire.auth import (
    ANSWER,
    DIGEST,
    GREETING,
    ORDERS,
    AuthenticationError,
    Challenge,
    Ends,
    Key,
    answer_to,
)
from remoteobj._wire.channel import StreamChannel
from remoteobj._wire.duplex import DuplexStream
from remoteobj._wire.transport import Address
from tests import tcp_transport
from tests.tools import until

# Words and bounds of the private parts, which tests take from here as they are.
__all__ = [
    "ANSWER",
    "ANY",
    "EXPLAIN_SECONDS",
    "DIGEST",
    "GREETING",
    "HANDSHAKES",
    "HEADER",
    "IN_PLACE",
    "LAST_OUTPUT",
    "LAZY",
    "MAX_BUFFERS",
    "MAX_FRAME",
    "WINDOW",
    "Address",
    "AuthenticationError",
    "Decoder",
    "Ends",
    "Flag",
    "Frame",
    "Key",
    "Kind",
    "MalformedFrameError",
    "Observer",
    "Glance",
    "Watch",
    "answer_to",
    "decode_answer",
    "dumps",
    "encode",
    "find",
    "importable_name",
    "loads",
]

# ------------------------------------------------------------------ the fork server


def preload_in_fork_server(*modules: str) -> None:
    """Our fork server, once it is started, imports these too, so that no actor has to."""
    without_main.PRELOADED += modules


# ------------------------------------------------------------------ what a proxy stands on


def address_of(proxy: Any) -> Address:
    """Where others connect to the object of this proxy, and the key that they need."""
    address: Address = ref_of(proxy).address
    return address


def actor_id_of(proxy: Any) -> ActorId:
    """Which object a proxy stands for, by whatever address it is reached."""
    actor_id: ActorId = ref_of(proxy).actor_id
    return actor_id


def annotations_of_options(cls: Any = Options) -> dict[str, str]:
    """The options and their types, as they are written."""
    return {name: _as_written(one) for name, one in inspect.get_annotations(cls).items()}


def _as_written(annotation: Any) -> str:
    """A type, or the text that is evaluated to one."""
    if type(annotation) is type:
        return annotation.__name__
    text = str(getattr(annotation, "__forward_arg__", annotation))
    return text.replace("collections.abc.", "").replace("typing.", "")


def options_of(proxy: Any) -> tuple[float | None, bool]:
    """The options of a proxy that concern its connection: `spin` and `writable`."""
    spin, writable = ref_of(proxy).wire_options
    return spin, writable


def close_connection(proxy: Any) -> None:
    """Close this process's connection to the object; a later call makes another one."""
    ref_of(proxy).endpoint.close()


def is_within_read(proxy: Any) -> bool:
    """Whether this thread is reading what comes from the object, further down its stack."""
    return bool(connection_of(proxy).inside)


def connection_of(source: Any) -> Any:
    """This process's connection behind a proxy, or behind a function in another process."""
    endpoint = ref_of(source).endpoint if isinstance(source, Proxy) else source
    return endpoint._connection


def process_of(handle: Any) -> Any:
    """The `multiprocessing.Process` in which the actor of this handle runs."""
    return handle._actor.instance


def exit_code_reader_of(handle: Any) -> Any:
    """What asks for the exit code of that process: multiprocessing's own `Popen`."""
    return process_of(handle)._popen


def do_before_a_wait_for_an_end(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> list[bool]:
    """Call `act` when the first thread has been told of the descriptor that it is to wait for.
    Gives whether that got readable in time."""
    readable = reaper.readable
    begun: list[int] = []
    got: list[bool] = []

    def act_first(fd: int, timeout: float | None) -> bool:
        if begun or timeout == 0:
            return readable(fd, timeout)
        begun.append(fd)
        act()
        got.append(readable(fd, timeout))
        return got[0]

    monkeypatch.setattr(reaper, "readable", act_first)
    return got


def waiter_for_end_of(handle: Any) -> Callable[[float], bool]:
    """Waits so many seconds for the end of the actor, and does not keep the handle alive."""
    wait: Callable[[float], bool] = handle._actor.instance.wait
    return wait


def is_at_rest(supervisor: Any) -> bool:
    """Whether a supervisor has nothing to do: all that it was to start has started."""
    supervision = supervisor._supervision
    with supervision._changed:
        return not (supervision._at_work or supervision._failures or supervision._starters)


def do_when_an_end_is_asked_for(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Call `act` each time that an actor is asked to tell its end."""
    on_end = OwnedActor.on_end

    def act_first(actor: OwnedActor, callback: Any) -> None:
        act()
        on_end(actor, callback)

    monkeypatch.setattr(OwnedActor, "on_end", act_first)


WAITING_FOR_RESTART = Succession.next_after
"""In which a call waits until its actor is restarted."""


def hold_restarts(monkeypatch: pytest.MonkeyPatch, go_on: threading.Event) -> None:
    """Have who restarts an actor wait for the event when the new process has been started, and
    nobody here knows of it yet."""
    begin = Incarnation.__init__

    def begin_and_wait(self: Incarnation, number: int, *args: Any) -> None:
        begin(self, number, *args)
        assert not number or go_on.wait(20)

    monkeypatch.setattr(Incarnation, "__init__", begin_and_wait)


def lose_the_next_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process next signals to an actor wakes nobody: it came just before a sleep."""
    send = KnownProcess.signal

    def lose(self: KnownProcess, number: int) -> None:
        monkeypatch.setattr(KnownProcess, "signal", send)

    monkeypatch.setattr(KnownProcess, "signal", lose)


def parts_looked_at(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is searched for local classes before a fork, from now on."""
    sharing = importlib.import_module("remoteobj._pickling.sharing")
    looked_at: list[object] = []
    parts = vars(sharing)["_parts"]

    def note(part: object) -> object:
        looked_at.append(part)
        return parts(part)

    monkeypatch.setattr(sharing, "_parts", note)
    return looked_at


def is_the_last(handle: Any) -> bool:
    """Whether no process of the actor is to follow the present one."""
    return bool(handle._actor.line.over)


def ask_as_owner(handle: Any, kind: int) -> Any:
    """What the actor's control thread answers to a question of this kind."""
    return handle._actor.inspector._client.request(kind, b"", 10.0)


def order(handle: Any, kind: int) -> None:
    """Give an order of this kind, which nobody answers."""
    handle._actor.instance.control.write(encode(Frame(kind, 0)))


def tell_to_stop(handle: Any) -> None:
    """Tell the actor to stop, as its owner does, and do not wait."""
    handle._actor.tell_to_stop()


# ------------------------------------------------------------------ calls under way


def open_calls(source: Any) -> int:
    """The calls of this process that have no outcome yet."""
    calls = connection_of(source)._calls
    return len([call_id for call_id in list(calls._open) if call_id > INIT_ID]) + bool(
        calls.fast_call_id
    )


def open_entries(source: Any) -> int:
    """The entries in the table of open calls; one stands for the connection's end."""
    return len(connection_of(source)._calls)


def calls_in_flight(source: Any) -> int:
    """Those of the open calls that the I/O thread reads for: futures."""
    return len(connection_of(source)._async_calls.in_flight)


def until_sent(proxy: Any, count: int) -> None:
    """Wait until so many calls of this process are on their way to the object."""
    until(lambda: connection_of(proxy) is not None and open_calls(proxy) >= count)
    with connection_of(proxy)._writer.lock:
        pass  # the last one is entered in the table first, and written then, under this lock


def calls_ahead(proxy: Any, future: Any) -> list[str]:
    """The open calls that were sent before the one of this future, as Python."""
    ahead = connection_of(proxy).ahead_of(future._pending)
    return [describe_request(call.sent) for call in ahead]


def described(payload: bytes) -> str:
    """The operations of a call as Python, for messages: whatever of them can be told."""
    return describe_request(payload)


# ------------------------------------------------------------------ who reads a connection


def is_read(source: Any) -> bool:
    """Whether another thread is at reading from the connection."""
    return not connection_of(source)._reader.turn.hand_over()


def sleeping_readers(source: Any) -> int:
    """The threads that sleep, since another one reads for them."""
    return len(connection_of(source)._reader.turn.sleepers)


def unread_bytes(proxy: Any) -> int:
    """The bytes that the actor has written and nobody here has read."""
    answer = fcntl.ioctl(connection_of(proxy)._channel.fileno(), termios.FIONREAD, bytes(4))
    count: int = struct.unpack("i", answer)[0]
    return count


def receives_in_place(proxy: Any) -> bool:
    """Whether a large payload is being received, into memory for the whole of it."""
    return bool(connection_of(proxy)._channel._decoder.filling)


def polls(proxy: Any) -> bool:
    """Whether a wait for a reply polls for a while before it sleeps."""
    return not connection_of(proxy)._channel._poller._alone


# ------------------------------------------------------------------ in the actor's process


def mailbox_of(remote: Any) -> Any:
    """The mailbox of the actor. In the actor: its own proxy."""
    home = ref_of(remote).home
    assert isinstance(home, Server)
    return home.mailbox


def mailbox_polls(remote: Any) -> bool:
    """Whether the actor polls for requests before it sleeps. In the actor: its own proxy."""
    return not mailbox_of(remote).clients._poller._alone


def new_clients_of(remote: Any) -> int:
    """How many have connected and are not served yet, since nobody has looked. From any thread."""
    return len(mailbox_of(remote).clients._new)


def mailbox_depth(remote: Any) -> int:
    """How many requests are being run within each other. In the actor: its own proxy."""
    depth: int = mailbox_of(remote).serving.depth
    return depth


def reply_frame(value: Any) -> list[bytes]:
    """What an actor writes for a result, in pieces."""
    return list(map(bytes, encode(value_frame(Kind.VALUE, 1, value))))


def recorder_lock(stream: Any) -> Any:
    """The lock under which the actor's `sys.stderr` notes its last output."""
    return stream._recorder._lock


# ------------------------------------------------------------------ locks


@contextlib.contextmanager
def connection_locks(proxy: Any) -> Iterator[None]:
    """Hold what a thread may hold while it makes a connection or a call."""
    endpoint, directory = ref_of(proxy).endpoint, runtime_directory.runtime_directory
    with connection_of(proxy)._writer.lock, endpoint._connecting, directory._making:
        yield


@contextlib.contextmanager
def exit_lock(handle: Any) -> Iterator[None]:
    """Hold what a thread holds while it asks whether the actor's process has ended."""
    with process_of(handle)._reaping:
        yield


import_lock = lazy_import.import_lock
"""Held by an import that happens within a call; a fork waits for it."""


def questions_asked(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """For each question that an owner asks its actor from now on, how long it waits at most."""
    asked: list[float | None] = []
    request = ControlClient.request

    def ask(client: Any, kind: int, payload: bytes = b"", seconds: float | None = None) -> Any:
        asked.append(seconds)
        return request(client, kind, payload, seconds)

    monkeypatch.setattr(ControlClient, "request", ask)
    return asked


def time_given_to_faulthandler(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it is waited for stacks that are asked for by a signal, from now on."""
    given: list[float] = []
    stacks = ActorProcess.stacks

    def ask(process: Any, seconds: float) -> str:
        given.append(seconds)
        return stacks(process, seconds)

    monkeypatch.setattr(ActorProcess, "stacks", ask)
    return given


# ------------------------------------------------------------------ ends


def look_for_stuck_tasks(pool: Any) -> None:
    """Have a pool take back what waits behind a task that lasts, as it does now and then."""
    pool._crew._look()


def seconds_stuck(pool: Any) -> float:
    """For how long what the first worker of a pool is at has held up others."""
    seconds: float = pool._crew.seats[0].worker.stuck_since(monotonic())
    return seconds


def hasten_the_end_of_late_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool waits but a moment for a task to end that was interrupted, since its time was up."""
    monkeypatch.setattr(_pool_worker, "GRACE_SECONDS", 0.05)


def have_workers_seated_when_they_are_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of a pool that dies right after its start has died, and its pool has looked, before
    it takes its seat."""
    greet = _pool_worker.Worker.greet

    def greet_and_wait(worker: Any) -> None:
        told: list[bool] = []
        changed = worker._changed

        def tell() -> None:
            changed()
            told.append(True)

        worker._changed = tell
        greet(worker)
        until(lambda: len(told) == 2)  # its greeting has failed, and its process has ended
        looked = threading.Event()
        io_thread.reactor.call_soon(looked.set)
        assert looked.wait(10)

    monkeypatch.setattr(_pool_worker.Worker, "greet", greet_and_wait)


def is_awaited(future: Any) -> bool:
    """Whether a thread waits for it by reading."""
    return bool(future._awaited)


def reactor_threads() -> list[threading.Thread]:
    """The thread that waits on behalf of those who don't wait themselves, while it is there."""
    return [thread for thread in threading.enumerate() if thread.name == "remoteobj-reactor"]


def wakes_reactor(source: Any) -> bool:
    """Whether that thread is woken by whatever comes on the connection."""
    found: bool = connection_of(source)._background_io._registered
    return found


def reactor_naps() -> bool:
    """Whether it wakes up after each nap, to look at connections that others read."""
    return bool(io_thread.reactor._naps_left)


@contextlib.contextmanager
def endless_nap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It looks at no connection that others read, as a rule."""
    with monkeypatch.context() as patch:
        NAP.set(patch, 3600.0)
        yield
    io_thread.reactor._nap_ends = 0.0
    io_thread.reactor.wake()


@contextlib.contextmanager
def hold_reactor() -> Iterator[None]:
    """Keep that thread from noticing anything."""
    held, go_on = threading.Event(), threading.Event()
    io_thread.reactor.call_soon(held.set)
    io_thread.reactor.call_soon(lambda: go_on.wait(30))
    assert held.wait(10)
    try:
        yield
    finally:
        go_on.set()


def wait_for_number_of_own(remote: Any) -> bool:
    """Have an actor wait, as for another one, for the number by which its own threads wake it."""
    clients = mailbox_of(remote).clients
    waited: bool = clients.wait_for({clients._wakeup.fileno(): 1}, 0.0)[0]
    return waited


@contextlib.contextmanager
def locks_of_future(future: Any) -> Iterator[None]:
    """Hold what a thread holds that settles it."""
    with vars(future).setdefault("_unpacking", threading.RLock()), future._condition:
        yield


@contextlib.contextmanager
def making_locks_of_futures() -> Iterator[None]:
    """Hold what a thread holds that makes the locks of any future."""
    with settling.settler.parts_lock:
        yield


def launched_instances(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What engines launch from now on."""
    instances: list[Any] = []
    for engine in map(engine_named, ENGINES):

        def launch(spec: Any, launch: Callable[[Any], Any] = engine.launch) -> Any:
            instances.append(launch(spec))
            return instances[-1]

        monkeypatch.setattr(engine, "launch", launch, raising=False)
    return instances


# ------------------------------------------------------------------ strangers


class Stranger:
    """A client that was handed the address and the key, as in another process.

    A copy of a proxy would not do: in one process all copies of it share a connection.
    """

    def __init__(self, address: Address, name: str = "stranger") -> None:
        self._endpoint = Endpoint(ActorId.new(name), address)

    def call(self, method: str, *args: Any) -> Any:
        return self._endpoint.call((("attr", method), ("call", args, {})))

    def get(self, attribute: str) -> Any:
        return self._endpoint.call((("attr", attribute),))

    def length(self) -> Any:
        return self._endpoint.call((("len",),))

    def close(self) -> None:
        self._endpoint.close()


def give_everybody_the_key(monkeypatch: pytest.MonkeyPatch, secret: bytes) -> None:
    """All addresses that are made from now on have the same key."""
    monkeypatch.setattr(Key, "new", lambda: Key(secret))


def another(address: Address, location: str | None = None) -> Address:
    """The same at another location; without one, with another key."""
    if location is None:
        return address._replace(key=Key.new())
    return address._replace(location=location)


def connect(address: Address) -> Any:
    """A socket that is connected, without a word said."""
    dial = tcp_transport.dial if address.transport == "tcp" else unix.dial
    return dial(address.location)


def connect_with_key(address: Address) -> Any:
    """A stream to a listener that has let us in."""
    return registry.transport_of(address).connect(address)


def listen(address: Address) -> Any:
    """Whoever accepts callers at the address."""
    return registry.transport_of(address).listen(address)


def socket_of(stream: Any) -> Any:
    """The socket of a stream to a listener."""
    return stream._socket


new_address = registry.new_address
"""An address in this process's directory at which nobody listens."""


def withdraw_address(address: Address) -> None:
    """Clear away what a listener has left at an address."""
    registry.transport_of(address).remove(address)


def pass_no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process, and forks of it, send big buffers through the streams themselves."""
    monkeypatch.setattr(DuplexStream, "send_fd", lambda *_: False)


def fail_at_probes(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have every mailbox of this process fail at a probe, as by a mistake of ours."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(mailbox._HANDLERS, Kind.PROBE, fail)


def fail_at_the_next_handshake(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have the control thread fail at the next caller, as by a mistake of ours."""
    go_on = unix.UnixHandshake.go_on
    errors = [error]

    def fail(self: unix.UnixHandshake) -> Any:
        if errors:
            raise errors.pop()
        return go_on(self)

    monkeypatch.setattr(unix.UnixHandshake, "go_on", fail)


def fail_at_status(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have every actor of this process fail when it is asked for its status."""

    def fail(self: ActorServer) -> None:
        raise error

    monkeypatch.setattr(ActorServer, "status", fail)


def thread_unwind() -> BaseException:
    """What ends the thread that runs requests."""
    return ThreadUnwind()


def channel_to(address: Address) -> StreamChannel:
    """Frames to and from a listener that has let us in."""
    return StreamChannel(connect_with_key(address))


def import_for_handshakes() -> None:
    """Import what answers a challenge, for a process that soon can't read the files any more."""
    answer_to(Challenge(Key.new()).greeting, Key.new())


# ------------------------------------------------------------------ values on their way


def sent(value: Any) -> Any:
    """What arrives where this value is sent."""
    return loads(*dumps(value))


packed = pack_error
"""An exception as the bytes that travel."""


def sent_error(exc: BaseException) -> BaseException:
    """What arrives where this exception is sent as the outcome of a call."""
    return unpack_error(pack_error(exc))


def do_without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What C pickle can't send can't be sent."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("it went to cloudpickle")

    monkeypatch.setattr(codec, "_dumps_by_value", refuse)


take_out_large = out_of_band.extract_large
"""Put what is larger than `OUT_OF_BAND_FROM` outside of the pickle; the value, if nothing is."""

# ------------------------------------------------------------------ lists of actors


def roster_path() -> Path:
    """The file in which this process tells others of its actors."""
    (path,) = roster.roster_paths()
    return Path(path)


@contextlib.contextmanager
def no_room_for_rosters(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing can be written into the lists of actors, as on a full disk."""

    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.context() as inner:
        inner.setattr(roster, "write", write)
        inner.setattr(roster, "clear", lambda place: None)
        yield


def questions_of(watch: Watch) -> int:
    """How many questions it has asked up to now."""
    return watch._questions


def observer_stream(proxy: Any) -> Any:
    """A stream on which an actor takes orders of this process."""
    address = address_of(proxy)
    return registry.transport_of(address).connect(address, ORDERS)


# ------------------------------------------------------------------ directories, kept processes


sweep = runtime_directory.sweep
"""Remove the directories that processes left which were killed; the next to start would do it."""


def before_each_sweep(act: Callable[[], object]) -> None:
    """Act each time just before a start sweeps. In a program of its own."""

    def act_and_sweep() -> None:
        act()
        sweep()

    runtime_directory.sweep = act_and_sweep


def nowhere_is_safe() -> None:
    """As if others could rename what is in any directory. In a program of its own."""
    runtime_directory._is_safe = lambda base: False


def hold_directory(path: str) -> int:
    """Take the lock by which a process keeps its directory from the sweep: a descriptor."""
    return runtime_directory.lock_shared(path)


kept = _leaks.kept
"""What is started once, and kept until the program ends."""
descriptors = _leaks.descriptors
"""The open descriptors of this process, and what they lead to."""


def fork_server() -> Any:
    """The fork server of the package, which is not that of `multiprocessing`."""
    return without_main.fork_server.server


def kill_fork_server() -> None:
    """Kill it, and reap it."""
    os.kill(fork_server()._forkserver_pid, signal.SIGKILL)
    os.waitpid(fork_server()._forkserver_pid, 0)


@contextlib.contextmanager
def another_fork_server() -> Iterator[None]:
    """None at first; one that is started within ends with this, and the former is back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(without_main.fork_server, "server", None)
        try:
            yield
        finally:
            if server := fork_server():
                os.close(server._forkserver_alive_fd)
                without_main.fork_server._remove_socket()


# ------------------------------------------------------------------ the guardian


SLOT = guardian_main.SLOT
"""Bytes of an entry in its list."""


def guardian_pid() -> int | None:
    """The process that ends the actors whose owner is gone, if there is one."""
    for post in guardian.guardian.posts():
        assert (post.pid is None) == (post.pipe is None)
        return post.pid
    return None


def guardian_pids() -> list[int]:
    """All of them, where the program has given up rights since the first."""
    return [post.pid for post in guardian.guardian.posts() if post.pid is not None]


def summon_guardian() -> None:
    """Have a guardian."""
    guardian.guardian.summon()


def dismiss_guardian() -> None:
    """Let it end; the next start of an actor makes another."""
    for post in guardian.guardian.posts():
        post.close()


def guarded() -> list[bytes]:
    """What the guardian has on its list, entry by entry."""
    (post,) = guardian.guardian.posts()
    data, slot = Path(post.list.path).read_bytes(), guardian_main.SLOT
    return [data[at : at + slot].rstrip(b"\0") for at in range(0, len(data), slot)]


def guardian_interpreter() -> str | None:
    """The interpreter that would run it, if there is one."""
    return guardian._executable()


def is_code_of_guardian(filename: str) -> bool:
    return filename == guardian.__file__


# ------------------------------------------------------------------ constants to patch


class Constant(NamedTuple):
    """A number that a test may change: the code reads it anew each time."""

    module: ModuleType
    name: str

    @property
    def value(self) -> Any:
        return getattr(self.module, self.name)

    def set(self, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
        monkeypatch.setattr(self.module, self.name, value)

    def set_for_good(self, value: object) -> None:
        """In an actor, or in a program of its own."""
        setattr(self.module, self.name, value)


IN_FLIGHT = Constant(async_calls, "IN_FLIGHT")
"""The calls that may be open at once, of those that nobody waits for."""
NAP = Constant(io_thread, "NAP")
"""How often the I/O thread looks at connections that others read, as a rule."""
BACKLOG = Constant(unix, "BACKLOG")
"""The connections that may wait to be accepted."""
HANDSHAKE_SECONDS = Constant(control, "HANDSHAKE_SECONDS")
"""What a client may take to prove itself."""
TERM_SECONDS = Constant(_incarnation, "TERM_SECONDS")
"""What an actor may take to end after SIGTERM, before SIGKILL."""
SHORT_CALL = Constant(event_loop, "SHORT_CALL")
"""What an await looks for its outcome, before its loop sleeps."""
EXIT_CODE_SECONDS = Constant(_incarnation, "EXIT_CODE_SECONDS")
"""What one whose `__init__` has failed may take to end by itself."""
ACCEPT_PAUSE_SECONDS = Constant(control, "BREATHER")
"""What passes between attempts to accept a connection when descriptors have run out."""
ANSWER_SECONDS = Constant(_inspection, "ANSWER_SECONDS")
"""What an actor may take to say what keeps it, when a call is out of time."""
SHARED_IDLE_SECONDS = Constant(buffer_exchange, "IDLE_SECONDS")
"""What shared memory that is free is kept for."""
OUT_OF_BAND_FROM = Constant(out_of_band, "BIG")
"""The size from which bytes stay outside of the pickle."""
PROBE_DELAY = Constant(chains, "PROBE_DELAY")
"""What an actor waits for another one before it looks for a ring."""

# ------------------------------------------------------------------ moments to act at

Moment: TypeAlias = Literal[
    "write",
    "take",
    "send a reply",
    "pass a descriptor",
    "read the last stacks",
    "make a recorder",
    "record",
]
"""What this process is about to do: write to a channel or take in from one; send a reply, in an
actor; hand a descriptor to the other end; read what a dead actor left; make the place for that;
write down an exception that was caught."""

_MOMENTS: dict[Moment, tuple[type, str]] = {
    "write": (StreamChannel, "write"),
    "take": (StreamChannel, "take"),
    "send a reply": (Client, "send"),
    "pass a descriptor": (DuplexStream, "send_fd"),
    "read the last stacks": (FlightRecorder, "stacks"),
    "make a recorder": (FlightRecorder, "__init__"),
    "record": (Journal, "append"),
}


def at_next(
    moment: Moment,
    before: Callable[[], object] = bool,
    after: Callable[[], object] = bool,
    monkeypatch: pytest.MonkeyPatch | None = None,
) -> None:
    """Have this process act once, just before or just after it does that for the next time.

    With `monkeypatch` it is undone at the end of the test even if that time never comes.
    """
    cls, name = _MOMENTS[moment]
    original = getattr(cls, name)

    def act(self: Any, *args: Any) -> Any:
        setattr(cls, name, original)
        before()
        result = original(self, *args)
        after()
        return result

    (monkeypatch.setattr if monkeypatch else setattr)(cls, name, act)


def at_each(moment: Moment, before: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process act, or raise, each time just before it does that."""
    cls, name = _MOMENTS[moment]
    original = getattr(cls, name)

    def act(self: Any, *args: Any) -> Any:
        before()
        return original(self, *args)

    monkeypatch.setattr(cls, name, act)


def at_next_take_of(
    proxy: Any, before: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Act once, just before something is taken in from the connection of this proxy."""
    channel, take = connection_of(proxy)._channel, StreamChannel.take

    def act(self: StreamChannel) -> Any:
        if self is channel:
            monkeypatch.setattr(StreamChannel, "take", take)
            before()
        return take(self)

    monkeypatch.setattr(StreamChannel, "take", act)


def at_next_reading(proxy: Any, after: Callable[[], object]) -> None:
    """Act once, just after this process has taken the lock of who reads the connection."""
    connection_of(proxy)._reader.turn.lock = _TellingLock(after)


class _TellingLock:
    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell: Callable[[], object] | None = tell
        lock: Any = threading.RLock()
        self._lock = lock
        self._is_owned, self.release = lock._is_owned, lock.release

    def acquire(self, *args: Any, **options: Any) -> bool:
        got = bool(self._lock.acquire(*args, **options))
        if got and (tell := self._tell):
            self._tell = None
            tell()
        return got


def at_each_probe(after: Callable[[], object]) -> None:
    """Act each time an actor has asked whether its blocked call waits for itself. In the actor."""
    original = BlockedCall.due_or
    told: dict[int, float] = {}

    def due_or(self: BlockedCall, deadline: float | None) -> float:
        # It doubles with each probe. To act within the sending would show in the probe's stack.
        told_at: float = told.get(self.token) or PROBE_DELAY.value
        if self._delay > told_at:
            told[self.token] = self._delay
            after()
        return original(self, deadline)

    BlockedCall.due_or = due_or  # type: ignore[method-assign]


def spy_on_calls(monkeypatch: pytest.MonkeyPatch, tell: Callable[[int], object]) -> None:
    """Have `tell` called with the size of every call that leaves this process, afterwards."""
    original = FrameWriter.write_some

    def write(self: FrameWriter, parts: Any) -> None:
        original(self, parts)
        if parts and parts[0][0] == Kind.CALL:
            tell(sum(map(len, parts)))

    monkeypatch.setattr(FrameWriter, "write_some", write)


def spy_on_looks(monkeypatch: pytest.MonkeyPatch) -> list[PendingCall]:
    """A list that grows with each await that looks for its outcome before its loop sleeps."""
    original, looked = event_loop.Looks.look, list[PendingCall]()

    async def look(self: event_loop.Looks, connection: Any, call: PendingCall) -> None:
        looked.append(call)
        await original(self, connection, call)

    monkeypatch.setattr(event_loop.Looks, "look", look)
    return looked


def writes_of(monkeypatch: pytest.MonkeyPatch, proxy: Any) -> list[int]:
    """A list that grows with each write to the object: how many pieces were written at once."""
    channel, original, counts = connection_of(proxy)._channel, StreamChannel.write, list[int]()

    def write(self: StreamChannel, parts: Any) -> Any:
        if self is channel and parts:
            counts.append(len(parts))
        return original(self, parts)

    monkeypatch.setattr(StreamChannel, "write", write)
    return counts


@contextlib.contextmanager
def nothing_sent() -> Iterator[None]:
    """Any call that leaves this process meanwhile is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("something was sent")

    original = FrameWriter.write_some
    FrameWriter.write_some = refuse  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        FrameWriter.write_some = original  # type: ignore[method-assign]


# ------------------------------------------------------------------ what was caught


def as_in_another_process(exc: Except) -> Except:
    """The same `Except`, as a process has it that has read nothing of it yet."""
    late = copy.copy(exc)
    rebuild, args = cast("Any", exc._store.__reduce__())
    late._store = rebuild(*args)
    return late


def caught_types(exc: Except) -> Any:
    """The classes that it catches."""
    return exc._options.types


def at_next_unpacking(before: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Act once, just before an exception that was caught is unpacked."""
    original = unpack_error

    def act(data: bytes) -> BaseException:
        monkeypatch.setattr(store, "unpack_error", original)
        before()
        return original(data)

    monkeypatch.setattr(store, "unpack_error", act)


def interrupt_reading(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whoever reads what was caught be interrupted once he has read the first record."""
    advance = Projection.advance

    def interrupted(self: Projection[Any], step: Callable[[Any], Any]) -> Any:
        def half(state: Any) -> Any:
            step(state)
            raise error

        return advance(self, half)

    monkeypatch.setattr(Projection, "advance", interrupted)


# ------------------------------------------------------------------ starts and ends


def is_readable_by_all() -> bool:
    """Whether every user can read the package, as its guardian does."""
    above = Path(guardian_main.__file__).parents
    return all(directory.stat().st_mode & 0o005 == 0o005 for directory in above)


def import_everything() -> None:
    """Import all modules of the package, for a process that can't read them later."""
    for module in pkgutil.walk_packages(remoteobj.__path__, "remoteobj."):
        if not module.name.endswith(("pytest_plugin", "__main__", ".mypy")):  # for tools, with them
            importlib.import_module(module.name)


StartPart: TypeAlias = Literal["data line", "control line", "flight recorder", "classes"]
START_PARTS: dict[StartPart, str] = {
    "data line": "linking.duplex_pair",
    "control line": "linking.socket_pair",
    "flight recorder": "linking.FlightRecorder",
    "classes": "process.share_classes",
}
"""What is made or done for the start of an actor's process, in this order."""


def fail_start(monkeypatch: pytest.MonkeyPatch, part: StartPart, error: OSError) -> None:
    """Have the start of an actor's process fail at one of its parts."""

    def fail(*_: object) -> Any:
        raise error

    monkeypatch.setattr(f"remoteobj._engines.{START_PARTS[part]}", fail)


def count_memory_kills(monkeypatch: pytest.MonkeyPatch, count: Callable[[], int | None]) -> None:
    """Stand in for the kernel's count of the processes that it killed since memory ran out."""
    monkeypatch.setattr(out_of_memory, "_count", count)
    monkeypatch.setattr(out_of_memory, "_seen", [])


def begin_work_after_the_end_of_the_owner(seconds: float) -> None:
    """Have the work loop of an actor begin only once its owner has said that it ends.

    In a program of its own, whose actors are forks of it.
    """
    heard = threading.Event()
    handle_order, begin = ActorServer.handle_order, ActorServer.run_in_background

    def handle_and_tell(self: Any, order: Any) -> None:
        handle_order(self, order)
        heard.set()

    def begin_late(self: Any) -> None:
        heard.wait(seconds)
        begin(self)

    ActorServer.handle_order = handle_and_tell  # type: ignore[method-assign]
    ActorServer.run_in_background = begin_late  # type: ignore[method-assign]


def methods_of_operations() -> set[str]:
    """The methods by which Python's syntax asks a proxy for operations."""
    return {row.dunder for row in OPERATIONS.values() if row.dunder is not None}


def names_of_proxies() -> tuple[set[str], set[str]]:
    """The names that are known as those of proxies, and those that only handles have."""
    return set(OF_PROXIES), set(OF_HANDLES)


# ------------------------------------------------------------------ checkpoints


def state_in(path: Path) -> Any:
    """The state of an actor that is kept in this file; `...` if there is none."""
    parts = AtomicFile(str(path)).read()
    return ... if parts is None else loads(parts[1], parts[2:])


def wait_no_longer_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """For another actor, which has it, to end."""
    monkeypatch.setattr(atomic_file, "PATIENCE", 0.0)


def let_time_pass(_: object, seconds: float) -> None:
    """For whatever takes checkpoints in this process."""
    now = vars(state_keeper)["clock"]
    setattr(state_keeper, "clock", lambda: now() + seconds)  # noqa: B010


def executor_of(obj: object) -> str:
    """What class of an executor runs the calls of an actor's object."""
    (server,) = (one for one in local_servers.values() if one.root is obj)
    assert isinstance(server, Server)
    return type(server.mailbox.executor).__name__


def keepers_of(obj: Any) -> list[state_keeper.StateKeeper]:
    """Two that keep the state of an object: the second as that in the next process."""
    store = AtomicMemory()
    made = [state_keeper.StatePlan(store, 0.0).keeper() for _ in range(2)]
    made[0].open()
    made[0].restore(obj)
    return made


def dies_in_write(_: object, part: float) -> None:
    """The process is killed in its next write of a large state but one, with so much of it done."""
    pwrite, left = os.pwrite, [1]

    def torn(fd: int, data: Any, offset: int) -> int:
        if len(data) > 10_000:
            if not left:
                pwrite(fd, memoryview(data)[: int(len(data) * part)], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            left.clear()
        return pwrite(fd, data, offset)

    os.pwrite = torn
