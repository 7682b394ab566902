"""One value there and back: what goes by C pickle, what by value, what can't go, whose class."""

import dataclasses
import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from multiprocessing import context, popen_spawn_posix, resource_sharer
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj._pickling.codec import OUT_OF_BAND, dumps, loads
from remoteobj._pickling.fork_classes import share_classes
from remoteobj.errors import UnsendableError


def there_and_back(value: object) -> Any:
    payload, buffers = dumps(value)
    return loads(payload, [bytearray(buffer) for buffer in buffers])


# ------------------------------------------------------------------ plain values

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(plain)
def test_plain_values_arrive_equal_and_by_c_pickle(value: object) -> None:
    payload, buffers = dumps(value)
    assert payload == pickle.dumps(value, 5)
    assert buffers == []
    assert loads(payload) == value
    assert loads(memoryview(payload)) == value


@pytest.mark.parametrize("text", ["__main__", "__mp_main__", "multiprocessing.connection"])
def test_a_text_that_looks_like_a_module_arrives_as_that_text(text: str) -> None:
    assert there_and_back([text]) == [text]


NUMBERS = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32]
NUMBERS += [np.uint64, np.float16, np.float32, np.float64, np.complex64, np.complex128]


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_numpy_arrive_bit_by_bit_and_in_short_pickles(kind: Any) -> None:
    special = np.array([0.1, -0.0, np.inf, np.nan, 1e-310, 1.0])
    for array in (np.arange(256, dtype=np.uint8), special):
        for number in array.astype(kind) if kind is np.bool_ else array.view(kind):
            payload, _ = dumps(number)
            assert len(payload) < len(pickle.dumps(number, 5)) - 30
            got = loads(payload)
            assert type(got) is type(number)
            assert got.tobytes() == number.tobytes() or np.isnan(number)


@pytest.mark.parametrize("value", [np.datetime64("2026", "Y"), np.longdouble(1) / 3])
def test_what_else_numpy_counts_with_arrives_as_it_was(value: Any) -> None:
    got = there_and_back([value])[0]
    assert (got.dtype, got) == (value.dtype, value)


# ------------------------------------------------------------------ buffers


@given(st.integers(0, 2 * OUT_OF_BAND), st.sampled_from("CF"))
def test_arrays_arrive_equal_and_writable_whatever_their_size(size: int, order: Any) -> None:
    array = np.arange(size * 2, dtype=np.uint8).reshape((size, 2), order=order)
    got = there_and_back({"a": array})["a"]
    assert np.array_equal(got, array)
    assert got.flags.writeable


@pytest.mark.parametrize("kind", [*NUMBERS, np.longlong])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3)])
def test_arrays_of_numbers_arrive_as_they_were_and_in_short_pickles(
    kind: Any, order: Any, shape: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape)).astype(np.dtype(kind).newbyteorder(order)).reshape(shape)
    payload, _ = dumps([array])
    assert len(payload) < len(pickle.dumps([array], 5)) - 30
    got = loads(payload)[0]
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, shape, array.tobytes())
    assert got.flags.writeable
    array.flags.writeable = False
    assert not there_and_back([array])[0].flags.writeable


class Sub(np.ndarray[Any, Any]):
    """As a user's own kind of array."""


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.array([{}, None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2026-11-27"], dtype="M8[D]"),
        np.arange(6).reshape(2, 3).T,
        np.ones(2, np.longdouble),
        np.arange(3, dtype=np.dtype("f8", metadata={"unit": "m"})),
        np.arange(3).view(Sub),
    ],
    ids=lambda array: str(array.dtype),
)
@pytest.mark.filterwarnings("ignore:metadata on a dtype")
def test_all_other_arrays_arrive_as_numpy_sends_them(array: Any) -> None:
    got, by_numpy = there_and_back([array])[0], pickle.loads(pickle.dumps(array, 5))
    assert type(got) is type(array)
    assert (got.dtype, got.dtype.metadata) == (by_numpy.dtype, by_numpy.dtype.metadata)
    assert got.strides == by_numpy.strides
    assert np.array_equal(got, array)


def test_a_large_array_is_not_copied() -> None:
    array = np.zeros(OUT_OF_BAND, np.uint8)
    payload, (buffer,) = dumps([array, 1])
    assert len(payload) < 500
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), array)
    memory = bytearray(buffer)
    got, _ = loads(payload, [memory])
    memory[3] = 7
    assert got[3] == 7


def test_small_buffers_stay_in_the_payload_beside_large_ones() -> None:
    small, large = np.zeros(10, np.uint8), np.ones(OUT_OF_BAND, np.uint8)
    payload, buffers = dumps([small, large, small + 1])
    assert [buffer.nbytes for buffer in buffers] == [OUT_OF_BAND]
    got = loads(payload, buffers)
    assert [array[0] for array in got] == [0, 1, 1]


@pytest.mark.parametrize("size", [10, OUT_OF_BAND])
def test_arrays_that_are_not_contiguous_arrive(size: int) -> None:
    array = np.arange(size * 2, dtype=np.uint8)
    assert np.array_equal(there_and_back(array[::2]), array[::2])


def test_large_buffers_stay_outside_beside_a_lambda_too() -> None:
    array = np.zeros(OUT_OF_BAND, np.uint8)
    payload, (buffer,) = dumps((lambda: 3, array))
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), array)
    func, got = loads(payload, [buffer])
    assert func() == 3
    assert np.array_equal(got, array)


# ------------------------------------------------------------------ by value


def test_functions_that_have_no_name_to_import_arrive() -> None:
    base = 10

    def add(a: int, *, b: int = 2) -> int:
        return base + a + b

    assert there_and_back(add)(1) == 13
    assert there_and_back(lambda: base)() == 10
    assert there_and_back(functools.partial(add, b=5))(1) == 16


def test_an_instance_of_a_local_class_comes_back_as_that_very_class() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    got = there_and_back([Point(3)])
    assert type(got[0]) is Point
    assert got == [Point(3)]


def test_a_class_that_is_here_already_is_not_touched() -> None:
    class Config:
        limit = 1
        calls: list[int] = []  # noqa: RUF012 - that it is shared is the point

        def method(self) -> None: ...

    payload, _ = dumps(Config())
    Config.limit, method, calls = 2, Config.method, Config.calls
    got = loads(payload)
    assert type(got) is Config
    assert (got.limit, Config.method, Config.calls) == (2, method, calls)
    assert Config.method is method
    assert Config.calls is calls


def test_a_class_that_is_pickled_while_another_thread_receives_it_is_never_seen_empty() -> None:
    # What cloudpickle's own table shows at that moment: the class is known and has no attributes.
    def make() -> bytes:
        class Fresh:
            limit = 5

        return dumps([Fresh, Fresh()])[0]

    payload = forget_classes(make)
    barrier, seen = threading.Barrier(8), []

    def receive() -> None:
        barrier.wait()
        cls, got = loads(payload)
        seen.append((cls, type(got), got.limit))

    threads = [threading.Thread(target=receive, name=f"receiver-{i}") for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1
    assert seen[0][0] is seen[0][1]


def forget_classes(make: Callable[[], bytes]) -> bytes:
    """Run ``make`` so that this process does not know the classes that it pickles."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, make())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        payload = pipe.read()
    os.waitpid(pid, 0)
    return payload


def test_a_class_whose_first_arrival_failed_is_whole_at_the_next() -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return explode_once, ()

    def make() -> bytes:
        class Fresh:
            inner = Broken()
            limit = 5

        return dumps(Fresh)[0]

    payload = forget_classes(make)
    exploded.clear()
    with pytest.raises(ZeroDivisionError):
        loads(payload)
    assert loads(payload).limit == 5


exploded: list[int] = []


def explode_once() -> int:
    exploded.append(1)
    return 1 // (len(exploded) - 1)


# ------------------------------------------------------------------ what multiprocessing can send


@pytest.fixture
def sharer() -> Iterator[None]:
    yield
    resource_sharer.stop()


@pytest.mark.usefixtures("sharer")
def test_a_connection_arrives_as_a_duplicate_and_not_as_a_bare_number() -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, there_and_back([theirs])[0] as got:
        assert got.fileno() != theirs.fileno()
        got.send("hello")
        assert ours.recv() == "hello"


@pytest.mark.usefixtures("sharer")
def test_a_socket_arrives() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, there_and_back({"s": theirs})["s"] as got:
        got.sendall(b"hello")
        assert ours.recv(9) == b"hello"


class Spawning:
    """As much of multiprocessing's Popen as its reducers ask for while a process is started."""

    DupFd = popen_spawn_posix._DupFd

    def __init__(self) -> None:
        self.inherited: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        self.inherited.append(fd)
        return fd


def test_what_only_a_child_can_inherit_travels_while_it_is_spawned() -> None:
    lock = multiprocessing.get_context("spawn").Lock()
    ours, theirs = multiprocessing.Pipe()
    spawning = Spawning()
    with ours, theirs:
        with pytest.raises(UnsendableError, match=r"value\[0\] .*inheritance"):
            dumps([lock])
        context.set_spawning_popen(cast(Any, spawning))
        try:
            payload, _ = dumps([theirs, lock])
        finally:
            context.set_spawning_popen(None)
        assert spawning.inherited == [theirs.fileno()]
        assert b"rebuild_connection" in payload


# ------------------------------------------------------------------ what can't be sent


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: object) -> None:
        self.inner = inner


class Plain(Slotted):
    pass


@dataclasses.dataclass
class Node:
    value: object
    next: object = None


class Careful:
    """Leaves its lock out, but not the rest."""

    def __init__(self, rest: object) -> None:
        self.lock, self.rest = threading.Lock(), rest

    def __getstate__(self) -> dict[str, object]:
        return {"rest": self.rest}


class Refusing:
    def __reduce__(self) -> Any:
        raise ValueError("I stay here")


LOCK = threading.Lock()


def closing_over(value: object) -> Callable[[], object]:
    return lambda: value


UNSENDABLE: list[tuple[object, str]] = [
    (LOCK, "args[0]"),
    ([1, LOCK], "args[0][1]"),
    ((LOCK,), "args[0][0]"),
    ({"lock": LOCK}, "args[0]['lock']"),
    ({LOCK: 1}, f"args[0] key {LOCK!r}"),
    ({LOCK}, f"args[0] item {LOCK!r}"),
    ([{"a": (1, {"b": [LOCK]})}], "args[0][0]['a'][1]['b'][0]"),
    (Node(LOCK), "args[0].value"),
    (Node(1, Node(2, [LOCK])), "args[0].next.next[0]"),
    (Slotted([LOCK]), "args[0].inner[0]"),
    (Plain(LOCK), "args[0].inner"),
    (Careful({"k": LOCK}), "args[0].rest['k']"),
    (Refusing(), "args[0]"),
    ([Refusing()], "args[0][0]"),
    (closing_over(LOCK), "args[0] closure variable 'value'"),
    (lambda: LOCK, "args[0] global 'LOCK'"),
    (lambda x=LOCK: x, "args[0] default 0"),
    (Node(LOCK).__repr__, "args[0].__self__.value"),
    ((i for i in "ab"), "args[0]"),
]


# Not the paths as ids: the address in them is another one in each worker.
@pytest.mark.parametrize(("value", "path"), UNSENDABLE, ids=range(len(UNSENDABLE)))
def test_the_error_names_the_smallest_part_that_fails(value: object, path: str) -> None:
    with pytest.raises(UnsendableError) as caught:
        dumps(value, "args[0]")
    if " 0x" in path:  # a repr is shortened
        assert caught.value.path.startswith(path[:12])
    else:
        assert caught.value.path == path
    assert str(caught.value).startswith(caught.value.path)
    assert type(caught.value.__cause__) in (TypeError, ValueError, pickle.PicklingError)


def test_the_error_says_type_reason_and_remedy() -> None:
    with pytest.raises(UnsendableError) as caught:
        dumps([Refusing()], "the result")
    assert str(caught.value) == (
        f"the result[0] can't be sent to another process: it is of type {__name__}.Refusing, and "
        "pickling it raised ValueError: I stay here. Leave it out (__getstate__), or make it "
        "inside the actor."
    )


def test_the_culprit_among_a_hundred_thousand_items_is_found() -> None:
    items: list[object] = list(range(100_000))
    items[77_777] = LOCK
    with pytest.raises(UnsendableError) as caught:
        dumps(items)
    assert caught.value.path == "value[77777]"


def test_a_value_that_contains_itself_ends_the_search() -> None:
    value: list[object] = []
    value += [value, {"again": value}, LOCK]
    with pytest.raises(UnsendableError) as caught:
        dumps(value)
    assert caught.value.path == "value[2]"


def test_a_value_nested_too_deeply_is_a_definite_error() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnsendableError, match="too deeply") as caught:
        dumps(value, "args[0]")
    assert caught.value.path == "args[0]"
    while value:  # piece by piece: not every version frees such a list without recursion
        (value,) = value  # type: ignore[assignment]


class Raising:
    def __init__(self, exc: BaseException) -> None:
        self.exc = exc

    def __reduce__(self) -> Any:
        raise self.exc


@pytest.mark.parametrize("exc", [MemoryError(), SystemExit(3), GeneratorExit(), RecursionError()])
def test_whatever_pickling_raises_is_a_definite_error(exc: BaseException) -> None:
    with pytest.raises(UnsendableError) as caught:
        dumps([Raising(exc)])
    cause = caught.value.__cause__
    assert cause is not None
    assert exc in (cause, cause.__cause__)


def test_ctrl_c_while_pickling_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        dumps([Raising(KeyboardInterrupt())])


def test_a_type_made_in_c_never_travels_by_value() -> None:
    assert loads(*dumps(type("flags", (), {}))).__name__ == "flags"  # one of Python does
    with pytest.raises(UnsendableError, match="not the same object as sys"):
        dumps(type(sys.flags))


def test_loads_raises_what_the_value_raises() -> None:
    payload, _ = dumps(Leaving())
    with pytest.raises(SystemExit):
        loads(payload)


class Leaving:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


# ------------------------------------------------------------------ classes of __main__

PRELUDE = """
import dataclasses, enum, os, subprocess, sys, multiprocessing
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from remoteobj._pickling.codec import dumps, loads
from remoteobj._pickling.fork_classes import share_classes

@dataclasses.dataclass
class Point:
    x: int

class Color(enum.Enum):
    RED = 1

class MainError(Exception):
    pass

class Outer:
    class Inner:
        pass

def serve(conn):
    # Calls what it is sent, until it is sent None.
    while (call := loads(conn.recv_bytes())) is not None:
        func, *args = call
        conn.send_bytes(dumps(func(*args))[0])

def call(conn, *what):
    conn.send_bytes(dumps(what)[0])
    return loads(conn.recv_bytes())

def end(conn):
    conn.send_bytes(dumps(None)[0])
    conn.close()

WAITS = []

def finish():
    for wait in WAITS:
        wait()
    resource_tracker._resource_tracker._stop()
    print("done")

def forked(share=True):
    ours, theirs = multiprocessing.Pipe()
    if share:
        share_classes()
    pid = os.fork()
    if pid == 0:
        try:
            serve(theirs)
        finally:
            os._exit(0)
    WAITS.append(lambda: os.waitpid(pid, 0))
    theirs.close()
    return ours

def started_without_main():
    ours, theirs = multiprocessing.Pipe()
    code = '''
import sys
from multiprocessing.connection import Connection
from remoteobj._pickling.codec import dumps, loads
conn = Connection(int(sys.argv[1]))
while (call := loads(conn.recv_bytes())) is not None:
    func, *args = call
    conn.send_bytes(dumps(func(*args))[0])
'''
    fd = theirs.fileno()
    os.set_inheritable(fd, True)
    process = subprocess.Popen([sys.executable, "-c", code, str(fd)], close_fds=False)
    WAITS.append(process.wait)
    theirs.close()
    return ours

def spawned():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    WAITS.append(process.join)
    theirs.close()
    return ours

def check(conn):
    for value in (Point(3), Color.RED, MainError("bad"), Outer(), Outer.Inner()):
        got = call(conn, lambda v: v, value)
        assert type(got) is type(value), (got, value)
    assert call(conn, lambda: Point(3)) == Point(3)
    assert call(conn, lambda: Color.RED) is Color.RED
    assert isinstance(call(conn, lambda: MainError("x")), MainError)
    assert isinstance(call(conn, lambda: Outer.Inner()), Outer.Inner)
    assert call(conn, lambda p: isinstance(p, Point), Point(1))
    assert call(conn, lambda e, c: isinstance(e, c), MainError(1), MainError)
    assert call(conn, lambda c: c is Color.RED, Color.RED)
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def run_script(body: str, tmp_path: Path, top: str = "") -> None:
    script = tmp_path / "script.py"
    guard = "if __name__ == '__main__':\n" + textwrap.indent(textwrap.dedent(body), "    ")
    script.write_text(PRELUDE + textwrap.dedent(top) + guard + "\n    finish()\n")
    run([sys.executable, str(script)])


def run_without_file(body: str) -> None:
    run([sys.executable, "-c", PRELUDE + textwrap.dedent(body) + "\nfinish()\n"])


def run(command: list[str]) -> None:
    result = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=False
    )
    assert (result.stdout, result.stderr) == ("done\n", "")


START = ["forked()", "forked(share=False)", "started_without_main()"]


@pytest.mark.parametrize("start", [*START, "spawned()"])
def test_classes_of_a_script_keep_their_identity(start: str, tmp_path: Path) -> None:
    run_script(f"conn = {start}; check(conn); end(conn)", tmp_path)


@pytest.mark.parametrize("start", ["forked()", "started_without_main()"])
def test_classes_of_a_notebook_keep_their_identity(start: str) -> None:
    run_without_file(f"conn = {start}; check(conn); end(conn)")


def test_classes_made_after_the_fork_keep_their_identity() -> None:
    run_without_file(
        """
        conn = forked()
        class Late(Point):
            def double(self): return Late(self.x * 2)
        got = call(conn, lambda p: p.double(), Late(3))
        assert type(got) is Late and got.x == 6
        assert isinstance(got, Point)
        assert call(conn, lambda l, p: isinstance(l, p), Late(3), Point)
        end(conn)
        """
    )


REDEFINED = """
OldPoint = Point
conn = {start}
class Point:
    x = 'new'
assert call(conn, lambda p: p.x, Point()) == 'new'
assert call(conn, lambda p: p.x, OldPoint(5)) == 5
assert type(call(conn, lambda p: p, Point())) is Point
assert type(call(conn, lambda p: p, OldPoint(5))) is OldPoint
assert not call(conn, lambda o, n: isinstance(o, n), OldPoint(5), Point)
end(conn)
"""


@pytest.mark.parametrize("start", ["forked()", "started_without_main()"])
def test_a_class_that_is_defined_anew_is_another_class(start: str, tmp_path: Path) -> None:
    run_without_file(REDEFINED.format(start=start))
    run_script(REDEFINED.format(start=start), tmp_path)


def test_a_spawned_process_raises_its_own_version_of_the_scripts_classes(tmp_path: Path) -> None:
    # multiprocessing imports the script there as __mp_main__; two children, each by itself.
    run_script(
        """
        conns = [spawned(), spawned()]
        for conn in conns:
            check(conn)
            assert type(call(conn, make)) is MainError
            assert call(conn, is_theirs, MainError())
            assert call(conn, is_theirs, call(conn, make))
        assert call(conns[1], is_theirs, call(conns[0], make))
        for conn in conns: end(conn)
        """,
        tmp_path,
        top="""
        sys.modules["theirs"] = sys.modules[__name__]
        def make():
            import theirs
            return theirs.MainError("from there")
        def is_theirs(e):
            import theirs
            return isinstance(e, theirs.MainError)
        """,
    )


def test_attributes_of_a_class_stay_as_they_are_on_both_sides() -> None:
    run_without_file(
        """
        Outer.limit = 1
        conn = forked()
        def put(o): type(o).limit = 5
        call(conn, put, Outer())
        Outer.limit = 2
        got = call(conn, lambda o: (o.limit, o), Outer())
        assert got[0] == 5          # the actor's own change is not overwritten by ours
        assert got[1].limit == 2    # nor ours by its
        end(conn)
        """
    )


def test_local_classes_that_are_shared_keep_their_identity_in_what_the_child_makes() -> None:
    run_without_file(
        """
        def make():
            class Base: pass
            class Local(Base): pass
            return Local
        Local = make()
        Local.__module__ = 'nowhere'
        share_classes(Local)
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if pid == 0:
            theirs.send_bytes(dumps(Local())[0])
            os._exit(0)
        os.waitpid(pid, 0)
        assert type(loads(ours.recv_bytes())) is Local
        """
    )


@pytest.mark.parametrize("again", ["Point", "New"], ids=["by its old name", "by a new name"])
def test_a_class_that_was_defined_since_the_last_fork_is_shared_by_the_next(again: str) -> None:
    run_without_file(
        f"""
        ours = theirs = pid = None
        share_classes()
        {again} = type("{again}", (), {{}})
        share_classes()
        """
        + CHILD_AND_PARENT_BOTH_SEND.format(f"{again}()")
    )


def test_the_class_of_an_object_in_the_main_module_is_shared() -> None:
    run_without_file(
        """
        def make():
            class Local: pass
            return Local()
        ours = theirs = pid = None
        local = make()
        share_classes()
        """
        + CHILD_AND_PARENT_BOTH_SEND.format("local")
    )


CHILD_AND_PARENT_BOTH_SEND = """
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if pid == 0:
            theirs.send_bytes(dumps({0})[0])
            os._exit(0)
        os.waitpid(pid, 0)
        dumps({0})  # gives the class an id, unless it has one
        assert type(loads(ours.recv_bytes())) is type({0})
        """


def test_share_classes_survives_a_metaclass_that_does_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise RuntimeError(name)

    monkeypatch.setattr(sys.modules["__main__"], "Odd", Meta("Odd", (), {}), raising=False)
    share_classes()


def test_a_fork_while_another_thread_holds_cloudpickles_lock_does_not_stop_the_child() -> None:
    run_without_file(
        """
        from cloudpickle import cloudpickle
        with cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:
            pid = os.fork()
            if pid == 0:
                dumps(Point(3))
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        """
    )
