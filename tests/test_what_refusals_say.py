"""What can't be done says what to write instead."""

import asyncio
import io
import multiprocessing
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import CallTimeoutError, Handle, Proxy, UnsendableError, current, options, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import names_of_proxies


class Device:
    def __init__(self) -> None:
        self.value = 3
        self.lines = ["a", "b"]
        self.lock = None

    def give(self, *args: Any) -> Any:
        return args

    def own(self, name: str) -> Any:
        return getattr(current(), name)()

    def items(self) -> Any:
        return _items()

    def several(self) -> Any:
        return {"one": _later()}

    def log(self, path: str) -> Any:
        with open(path, encoding="utf-8") as file:
            return {"log": file}

    def rows(self, gate: Gate) -> Iterator[int]:
        yield 1
        gate.park()
        yield 2

    def closing(self, gate: Gate) -> Iterator[int]:
        try:
            gate.park()
            yield 1
        finally:
            self.value = 99


@pytest.fixture
def device(launch: Launch) -> Iterator[Any]:
    handle = options(**launch).spawn(Device)
    yield handle
    handle.stop_()


@pytest.fixture
def forked() -> Iterator[Any]:
    handle = options(start_method="fork").spawn(Device)
    yield handle
    handle.stop_()


# ------------------------------------------------------------------ parts


def test_a_conversion_gives_the_value(device: Any) -> None:
    value = device.value
    assert (int(value), float(value), complex(value), [0, 1, 2, 3][value]) == (3, 3.0, 3 + 0j, 3)
    assert "%d" % value == "3"  # noqa: UP031 - as logging does
    with pytest.raises(TypeError, match="int"):
        int(device.lines)
    with pytest.raises(TypeError, match=r"use future_\.passto\(int, \.\.\.\)"):
        int(device.future_.value)


def test_with_is_not_for_parts(forked: Any) -> None:
    with pytest.raises(TypeError, match=r"\?\.lock can't be entered.*passto\(f\)"), forked.lock:
        pass
    tape: Any = Proxy(Device())
    with pytest.raises(TypeError, match="can't be entered"), tape.lock:
        pass
    assert not tape.listening_


# ------------------------------------------------------------------ owner's names, and near misses


def test_the_list_of_own_names_is_that_of_the_classes() -> None:
    ours = {name for name in dir(Handle) if name.endswith("_") and not name.startswith("_")}
    of_proxies = {name for name in dir(Proxy) if name.endswith("_") and not name.startswith("_")}
    assert names_of_proxies() == (of_proxies, ours - of_proxies)


@pytest.mark.parametrize("name", ["stop_", "pid_", "alive_", "status_", "exc_", "on_exit_"])
def test_only_its_owner_can_ask_for_what_the_handle_has(name: str, device: Any) -> None:
    copy = pickle.loads(pickle.dumps(device))
    for other in (copy, device.with_(timeout=1), device.async_, device.lines, device.future_):
        with pytest.raises(AttributeError, match=f"only its owner can: '{name}'"):
            getattr(other, name)
        assert not hasattr(other, name)
        with pytest.raises(AttributeError, match="proxy's own name"):
            setattr(other, name, 1)
    assert getattr(device, name) is not None
    with pytest.raises(AttributeError, match="only its owner can"):
        device.own(name)
    device.passto(setattr, name, "the object's")
    assert device.with_(timeout=20).attrs_(name).__ == "the object's"


@pytest.mark.parametrize(
    ("missed", "meant"),
    [("stop", "stop_"), ("exit_code_", "exitcode_"), ("status", "status_"), ("get", "get_")],
)
def test_a_near_miss_is_told(missed: str, meant: str, device: Any) -> None:
    for call in (getattr(device, missed), getattr(device.future_, missed)):
        with pytest.raises(AttributeError, match=f"{missed}'; did you mean '{meant}'"):
            value = call()
            value.result()
    with pytest.raises(AttributeError, match=f"did you mean '{meant}'"):
        device.own(missed)
    device.passto(setattr, missed, len)
    assert getattr(device, missed)("four") == 4


def test_a_miss_within_the_object_s_own_code_is_left_as_it_is(forked: Any) -> None:
    with pytest.raises(AttributeError) as error:
        forked.passto(lambda obj: obj.stop)
    assert "did you mean" not in str(error.value)
    with pytest.raises(AttributeError) as error:
        forked.lines.stop()
    assert "did you mean" not in str(error.value)


# ------------------------------------------------------------------ values that can't travel


@pytest.mark.parametrize("make", ["Queue", "Lock", "Event"])
def test_what_multiprocessing_shares_is_for_spawn(make: str, forked: Any) -> None:
    made = getattr(multiprocessing.get_context("fork"), make)()
    with pytest.raises(UnsendableError, match=r"Pass it to spawn\(\.\.\.\)"):
        forked.give(made)
    if make == "Queue":
        made.close()
        made.join_thread()


def test_a_queue_that_is_passed_to_spawn_is_shared(start_method: str) -> None:
    class Producer:
        def __init__(self, line: Any, lock: Any) -> None:
            self.line, self.lock = line, lock

        def put(self, value: int) -> None:
            with self.lock:
                self.line.put(value)

    context = multiprocessing.get_context(start_method)
    line, lock = context.SimpleQueue(), context.Lock()
    with options(start_method=start_method).spawn(Producer, line, lock) as producer:
        producer.put(4)
        assert line.get() == 4
    line.close()


async def _later() -> int:
    return 1


async def _items() -> Any:
    yield 1


@pytest.mark.filterwarnings("error")
def test_a_coroutine_within_a_value_is_refused_and_closed(device: Any) -> None:
    with pytest.raises(UnsendableError, match="have an `async def` method await what is within"):
        device.several()
    with pytest.raises(UnsendableError, match="its class has `async def` methods"):
        device.items()
    assert device.passto(lambda obj: __import__("gc").collect() >= 0)


def test_an_open_file_is_never_silently_read(forked: Any, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("text")
    with path.open() as file:
        for value in (file, {"log": file}, (lambda: file)):
            with pytest.raises(UnsendableError, match="Pass its path, and open it inside"):
                forked.give(value)
        assert file.read() == "text"
    with pytest.raises(UnsendableError, match=r"result\['log'\]"):
        forked.log(str(path))
    assert forked.give(io.StringIO("mine"))[0].read() == "mine"


# ------------------------------------------------------------------ loops, time limits


def test_async_says_that_it_needs_asyncio(forked: Any) -> None:
    awaiting = forked.async_.give().__await__()
    with pytest.raises(RuntimeError, match="needs the event loop of asyncio"):
        next(awaiting)


def test_a_future_prints_what_came_of_it(forked: Any) -> None:
    future = forked.future_.give()
    future.result()
    assert repr(future).endswith(" state=finished returned tuple>")
    failed = forked.future_.missing()
    assert isinstance(failed.exception(), AttributeError)
    assert "raised AttributeError" in repr(failed)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


def test_a_late_item_says_what_the_actor_does_and_ends_the_stream(forked: Any, gate: Gate) -> None:
    stream = iter(forked.with_(timeout=0.1).rows(gate))
    assert next(stream) == 1
    with pytest.raises(CallTimeoutError, match=r"gave no item of the stream within 0\.1 s") as late:
        next(stream)
    assert "in rows" in str(late.value.remote_stack)
    gate.open()
    assert list(stream) == []


def test_a_stream_that_is_late_is_closed_over_there(forked: Any, gate: Gate) -> None:
    with pytest.raises(CallTimeoutError):
        next(forked.with_(timeout=0.1).closing(gate))
    gate.open()
    assert forked.value.__ == 99


def test_a_late_item_of_an_awaited_stream_says_so_too(forked: Any, gate: Gate) -> None:
    held: list[Any] = []

    async def consume() -> None:
        stream = await forked.with_(timeout=0.1).async_.closing(gate)
        try:
            await anext(stream)
        finally:
            held.append(stream)  # to drop it would close it as well

    with pytest.raises(CallTimeoutError, match="gave no item") as late:
        asyncio.run(consume())
    assert "in closing" in str(late.value.remote_stack)
    gate.open()
    assert forked.value.__ == 99


# ------------------------------------------------------------------ tracebacks

unsendable = (_ for _ in ())
"""A generator, which can't be pickled."""


def test_our_frames_are_hidden_from_a_test_that_fails(device: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: device.missing(),
        lambda: device.missing.__,
        lambda: device.future_.missing().result(),
        lambda: setattr(device.missing, "x", 1),
        lambda: device.passto(len),
        lambda: device.give(lambda: unsendable),
        lambda: next(iter(device.missing_rows())),
        lambda: options().spawn(int, "no number"),
    ]
    for call in calls:
        with pytest.raises((AttributeError, TypeError, ValueError)) as raised:
            call()
        shown = [entry for entry in raised.traceback if not entry.ishidden(raised)]
        files = {Path(str(entry.path)).parent.name for entry in shown}
        assert "remoteobj" not in files, shown
        assert not any(name.startswith("_") for name in files), shown
        assert traceback.extract_tb(raised.tb)


def test_only_decorated_classes_may_be_served_by_hand_with_their_marks() -> None:
    class Marked:
        @remote.cleanup
        def close(self) -> None: ...

    with pytest.raises(TypeError, match=r"close is marked @remote\.cleanup.*decorate"):
        Proxy(Marked())
    Proxy(remote(Marked)())
