"""Big buffers in shared memory: what goes where, who may use it for how long, what is left."""

import contextlib
import gc
import os
import pickle
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj import remote
from remoteobj._protocol.frames import is_shared
from remoteobj._protocol.messages import Frame, Kind, MalformedFrameError
from remoteobj._wire import segments
from remoteobj._wire.buffer_exchange import BufferExchange
from remoteobj._wire.duplex import DuplexStream, duplex_pair, socket_pair
from remoteobj._wire.segments import (
    RECEIVED,
    SEGMENTS,
    SHARED,
    ReceivedSegments,
    SegmentError,
    SegmentPool,
    SegmentRef,
)
from tests.conftest import Launch
from tests.tools import process, until

MB = 1 << 20


_PICKLED: bytes = pickle.dumps(np.zeros(MB, np.uint8), 5, buffer_callback=lambda _: False)


class Ends:
    """A pool and a shelf that tell each other at once."""

    def __init__(self) -> None:
        self.released: list[tuple[int, bool]] = []
        self.dropped: list[int] = []
        self.pool = SegmentPool(self.dropped.append)
        self.shelf = ReceivedSegments(self._release)

    def _release(self, number: int, discard: bool) -> None:
        self.released.append((number, discard))
        self.pool.release(number, discard)

    def send(self, data: bytes) -> memoryview:
        put = self.pool.put(memoryview(data))
        assert put is not None
        entry, fd = put
        return self.shelf.lease(SegmentRef.unpack(entry.pack()), fd)

    def close(self) -> None:
        self.pool.close()
        self.shelf.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


@contextlib.contextmanager
def buffer_exchange() -> Iterator[BufferExchange]:
    ours, theirs = duplex_pair()
    with contextlib.closing(ours), contextlib.closing(theirs):
        yield BufferExchange(ours)


# ------------------------------------------------------------------ segments


@given(st.integers(0, (1 << 22) - 1), st.integers(0, (1 << 40) - 1), st.booleans())
def test_an_entry_comes_out_as_it_went_in_and_is_no_length(
    segment: int, length: int, new: bool
) -> None:
    packed = SegmentRef(segment, length, new).pack()
    assert SegmentRef.unpack(packed) == (segment, length, new)
    assert packed < 1 << 64
    assert is_shared(packed)
    assert not is_shared(length)


def test_what_was_sent_is_there_and_can_be_changed_without_changing_the_original(
    ends: Ends,
) -> None:
    data = b"abc" * 1000
    view = ends.send(data)
    assert view == data
    assert not view.readonly
    view[:3] = b"xyz"
    assert data[:3] == b"abc"
    view.release()


def test_a_segment_is_used_again_once_its_last_user_is_gone(ends: Ends) -> None:
    first = ends.send(b"a" * MB)
    second = ends.send(b"b" * MB)
    assert bytes(first[:1]) == b"a"
    del first
    third = ends.send(b"c" * (MB - 1))
    assert ends.released == [(0, False)]
    assert (bytes(second[:1]), bytes(third[:1])) == (b"b", b"c")
    assert len(ends.pool._segments) == 2
    del second, third
    assert [number for number, _ in ends.released] == [0, 1, 0]


@pytest.mark.parametrize(
    "derive",
    [
        lambda view: view,
        lambda view: view[10:20],
        lambda view: memoryview(view)[5:].cast("H" if len(view[5:]) % 2 == 0 else "B"),
        lambda view: view.toreadonly(),
        lambda view: np.frombuffer(view, np.uint8),
        lambda view: np.frombuffer(view, np.uint8)[::2].reshape(2, -1).T,
        lambda view: pickle.PickleBuffer(view),
        lambda view: pickle.loads(_PICKLED, buffers=[view]),
    ],
    ids=["itself", "slice", "cast", "readonly", "array", "views of it", "buffer", "pickle"],
)
def test_whatever_leads_to_the_memory_keeps_it(
    ends: Ends, derive: Callable[[memoryview], object]
) -> None:
    view = ends.send(bytes(MB))
    derived = derive(view)
    del view
    gc.collect()
    assert ends.released == []
    del derived
    assert ends.released == [(0, False)]


def test_a_pool_makes_no_more_segments_than_it_may(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENTS", 3)
    views = [ends.send(bytes(MB)) for _ in range(3)]
    assert ends.pool.put(memoryview(bytes(MB))) is None
    views.pop()
    assert ends.pool.put(memoryview(bytes(MB))) is not None
    assert SEGMENTS == 64


def test_a_pool_takes_no_more_memory_than_it_may_but_for_one_buffer(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_BYTES", 3 * MB)
    first = ends.send(bytes(8 * MB))  # however big, where it is the only one
    assert ends.pool.put(memoryview(bytes(MB))) is None
    first.release()
    del first
    gc.collect()
    ends.pool.trim()
    views = [ends.send(bytes(MB)) for _ in range(2)]
    assert ends.pool.put(memoryview(bytes(2 * MB))) is None
    del views
    gc.collect()


def test_free_memory_past_the_bound_is_given_back_at_once(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FREE_BYTES", 2 * MB)
    views = [ends.send(bytes(MB)) for _ in range(4)]
    views.clear()
    assert sum(one.size for one in ends.pool._segments.values()) <= 2 * MB
    assert len(ends.dropped) == 2


def test_trimming_gives_back_what_is_free_and_nothing_else(ends: Ends) -> None:
    kept, dropped = ends.send(b"k" * MB), ends.send(b"d" * MB)
    del dropped
    ends.pool.trim()
    assert ends.dropped == [1]
    assert not ends.pool.empty
    assert bytes(kept[:1]) == b"k"
    del kept
    ends.pool.trim()
    assert ends.pool.empty


def test_memory_in_use_outlives_the_end_of_both_sides() -> None:
    ends = Ends()
    view = ends.send(b"v" * MB)
    ends.close()
    assert bytes(view[-1:]) == b"v"
    del view
    assert ends.released == []


def test_a_fork_has_the_memory_that_was_in_use_discarded(ends: Ends) -> None:
    view = ends.send(b"v" * MB)
    pid = os.fork()
    if not pid:
        try:
            right = bytes(view[:1]) == b"v"
            del view
            os._exit(0 if right and ends.released == [] else 1)  # it is the parent's to release
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    del view
    assert ends.released == [(0, True)]
    assert ends.dropped == [0]


@pytest.mark.parametrize(
    ("entry", "with_fd"),
    [
        (SegmentRef(0, 10, False), False),
        (SegmentRef(0, 10, True), False),
        (SegmentRef(0, MB + 1, True), True),
        (SegmentRef(0, 0, True), True),
    ],
    ids=["unknown", "no descriptor", "longer than it is", "empty"],
)
def test_an_entry_that_can_not_be_is_refused(ends: Ends, entry: SegmentRef, with_fd: bool) -> None:
    fd = segments._new_memory(MB) if with_fd else -1
    with pytest.raises(SegmentError):
        ends.shelf.lease(entry, fd)


def test_a_segment_in_use_is_not_given_out_again(ends: Ends) -> None:
    view = ends.send(bytes(MB))
    with pytest.raises(SegmentError, match="in use"):
        ends.shelf.lease(SegmentRef(0, 10, False), -1)
    with pytest.raises(SegmentError, match="second time"):
        ends.shelf.lease(SegmentRef(0, 10, True), os.dup(0))
    del view


def test_releasing_what_is_not_in_use_is_refused(ends: Ends) -> None:
    with pytest.raises(SegmentError):
        ends.pool.release(5, discard=False)
    view = ends.send(bytes(MB))
    del view
    with pytest.raises(SegmentError):
        ends.pool.release(0, discard=False)


def test_the_memory_can_not_be_cut_off_under_its_receiver() -> None:
    fd = segments._new_memory(MB)
    try:
        if not hasattr(os, "memfd_create"):
            pytest.skip("only a memfd can be sealed")
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def test_without_memfd_a_file_without_a_name_does(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    view = ends.send(b"x" * MB)
    assert view == b"x" * MB
    del view


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from(["send", "drop", "trim"]), st.integers(0, 9))))
def test_what_is_in_use_is_intact_whatever_happens(steps: list[Step]) -> None:
    ends = Ends()
    live: list[tuple[bytes, memoryview]] = []
    for count, (step, pick) in enumerate(steps):
        if step == "send":
            data = bytes([count % 256]) * (4096 * (1 + pick))
            live.append((data, ends.send(data)))
        elif step == "drop" and live:
            del live[pick % len(live)]
        elif step == "trim":
            ends.pool.trim()
        assert all(view == data for data, view in live)
        assert sum(one.leased for one in ends.pool._segments.values()) == len(live)
    live.clear()
    ends.pool.trim()
    assert ends.pool.empty
    ends.close()


# ------------------------------------------------------------------ hostile frames


def test_a_release_of_what_was_never_sent_is_refused() -> None:
    with buffer_exchange() as one, pytest.raises(MalformedFrameError):
        one.hear(Frame(Kind.RELEASE, 7))


@pytest.mark.parametrize("new", [False, True])
def test_memory_that_was_never_passed_is_refused(new: bool) -> None:
    with buffer_exchange() as one, pytest.raises(MalformedFrameError):
        one.lease(SegmentRef(7, 100, new).pack())


@pytest.fixture
def pair() -> Iterator[tuple[DuplexStream, DuplexStream]]:
    ours, theirs = duplex_pair()
    with contextlib.closing(ours), contextlib.closing(theirs):
        yield ours, theirs


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_descriptors_are_taken_by_their_number(pair: tuple[DuplexStream, DuplexStream]) -> None:
    ours, theirs = pair
    with open(os.devnull) as first, open(os.__file__) as second:
        for number, file in ((1, first), (2, second)):
            assert ours.send_fd(number, file.fileno())
        for number, file in ((1, first), (2, second)):
            taken = theirs.receive_fd(number)
            assert os.path.samestat(os.fstat(taken), os.fstat(file.fileno()))
            assert not os.get_inheritable(taken)
            os.close(taken)
    assert theirs.receive_fd(3) == -1


def test_of_the_descriptors_that_nobody_asked_for_none_is_kept(
    pair: tuple[DuplexStream, DuplexStream],
) -> None:
    ours, theirs = pair
    before = open_descriptors()
    with open(os.devnull) as file:
        for number in (1, 1, 2, 3, 5):
            assert ours.send_fd(number, file.fileno())
    taken = theirs.receive_fd(3)
    assert open_descriptors() == before + 1
    os.close(taken)
    assert theirs.receive_fd(4) == -1, "5 came in its place"
    assert theirs.receive_fd(5) == -1, "and is closed"
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("message", "count"),
    [(b"\1" + bytes(7), 2), (b"\1" + bytes(7), 20), (b"\1" + bytes(7), 0), (b"\1", 1), (b"\2", 9)],
    ids=["two", "twenty", "none", "a short number", "both"],
)
def test_odd_offers_of_descriptors_leave_at_most_the_one_that_was_asked_for(
    pair: tuple[DuplexStream, DuplexStream], message: bytes, count: int
) -> None:
    before = open_descriptors()
    with open(os.devnull) as file:
        socket.send_fds(pair[0]._socket, [message], [file.fileno()] * count)
    taken = pair[1].receive_fd(1)
    assert (taken >= 0) == (len(message) == 8 and count > 0)
    assert open_descriptors() == before + (taken >= 0)
    if taken >= 0:
        os.close(taken)


def test_descriptors_on_a_stream_without_pipes_are_not_taken() -> None:
    ours, theirs = socket_pair()
    with contextlib.closing(ours), contextlib.closing(theirs), open(os.devnull) as file:
        before = open_descriptors()
        socket.send_fds(ours._socket, [bytes(8)], [file.fileno()] * 3)
        assert theirs.receive_fd(0) == -1
        assert theirs.read(10) == bytes(8), "those are bytes of frames"
        assert open_descriptors() == before


def test_a_segment_that_comes_a_second_time_is_refused_and_closed(
    pair: tuple[DuplexStream, DuplexStream],
) -> None:
    ours, theirs = pair
    with contextlib.closing(BufferExchange(theirs)) as exchange:
        fd = segments._new_memory(MB)
        for _ in range(2):
            assert ours.send_fd(1, fd)
        os.close(fd)
        view = exchange.lease(SegmentRef(1, MB, True).pack())
        before = open_descriptors()
        with pytest.raises(MalformedFrameError, match="a second time"):
            exchange.lease(SegmentRef(1, MB, True).pack())
        assert open_descriptors() == before
        del view


def test_more_segments_than_a_sender_has_are_refused(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "RECEIVED", 2)
    views = [ends.send(bytes(MB)) for _ in range(2)]
    before = open_descriptors()
    with pytest.raises(SegmentError, match="one too many"):
        ends.shelf.lease(SegmentRef(7, MB, True), segments._new_memory(MB))
    assert open_descriptors() == before
    assert RECEIVED == 2 * SEGMENTS
    del views


def test_a_segment_that_is_not_sealed_is_copied_so_that_it_may_be_cut_off(ends: Ends) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * MB)
        file.flush()
        view = ends.shelf.lease(SegmentRef(1, MB, True), os.dup(file.fileno()))
        ends.shelf._released = lambda number, discard: None
        os.ftruncate(file.fileno(), 0)
        assert view == b"x" * MB, "to read a map of it would end this process"
        del view
        with pytest.raises(SegmentError, match="it ends after 0 bytes"):
            ends.shelf.lease(SegmentRef(1, MB, False), -1)
        file.write(b"y" * MB)
        os.pwrite(file.fileno(), b"y" * MB, 0)
        view = ends.shelf.lease(SegmentRef(1, MB, False), -1)
        assert view == b"y" * MB
        del view


@pytest.mark.parametrize("path", ["/dev/zero", os.devnull, os.path.dirname(__file__)])
def test_a_descriptor_that_is_no_memory_is_refused(ends: Ends, path: str) -> None:
    before = open_descriptors()
    with pytest.raises(SegmentError, match="can't be mapped: it is no memory"):
        ends.shelf.lease(SegmentRef(1, 1, True), os.open(path, os.O_RDONLY))
    assert open_descriptors() == before


def test_a_descriptor_that_nobody_took_goes_with_the_line() -> None:
    before = open_descriptors()
    ours, theirs = duplex_pair()
    with open(os.devnull) as file:
        assert ours.send_fd(1, file.fileno())
        assert theirs.receive_fd(2) == -1
        theirs.close()
    ours.close()
    assert open_descriptors() == before


def test_where_the_descriptor_can_not_be_passed_on_the_buffer_goes_through_the_pipe() -> None:
    ours, theirs = duplex_pair()
    one, data = BufferExchange(ours), bytes(SHARED)
    before = len(list_segments())
    ours._socket.close()
    parts = one.encode(Frame(Kind.CALL, 1, b"", [data]))
    assert sum(map(len, parts)) > SHARED
    assert len(list_segments()) == before
    one.close()
    ours.close()
    theirs.close()


# ------------------------------------------------------------------ between processes


@remote
class Painter:
    """Takes and gives pictures."""

    def __init__(self) -> None:
        self.picture: Any = None

    def take(self, picture: Any) -> tuple[int, bool]:
        return int(picture.flat[-1]), bool(picture.flags.writeable)

    def keep(self, picture: Any) -> None:
        self.picture = picture

    def kept(self) -> int:
        return int(self.picture.flat[0])

    def give(self, value: int) -> Any:
        return np.full(2 * MB, value, np.uint8)

    def segments(self) -> int:
        return len(list_segments())


def list_segments() -> list[str]:
    with open("/proc/self/maps") as maps:
        mine = [line for line in maps if " rw-s " in line and "(deleted)" in line]
    return [line for line in mine if _size_of(line) >= MB]  # a black box is small


def _size_of(line: str) -> int:
    begin, end = (int(one, 16) for one in line.split()[0].split("-"))
    return end - begin


def picture(value: int) -> Any:
    return np.full(2 * MB, value, np.uint8)


def test_arrays_of_all_sizes_arrive_whole_writable_and_apart(launch: Launch) -> None:
    with Painter.options(**launch).spawn() as painter:
        for size in [1, 1000, SHARED - 1, SHARED, SHARED + 1, 5 * MB]:
            for value in range(4):
                mine = np.full(size, value, np.uint8)
                assert painter.take(mine) == (value, True)
                back = painter.passto(_echo, mine)
                back[0] = 99
                assert back.shape == (size,)
                assert mine[0] == value


def _echo(painter: object, value: Any) -> Any:
    return value


def test_what_the_object_keeps_is_not_overwritten_by_what_comes_later(launch: Launch) -> None:
    with Painter.options(**launch).spawn() as painter:
        painter.take(picture(0))
        painter.keep(picture(1))
        for value in range(2, 6):
            painter.take(picture(value))
        assert painter.kept() == 1


def test_results_that_are_kept_stay_as_they_were(launch: Launch) -> None:
    with Painter.options(**launch).spawn() as painter:
        results = [painter.give(value) for value in range(10)]
        assert [(int(one[0]), int(one[-1])) for one in results] == [(v, v) for v in range(10)]
        del results[::2]
        more = [painter.give(value) for value in range(20, 25)]
        assert [int(one[0]) for one in results] == [1, 3, 5, 7, 9]
        assert [int(one[0]) for one in more] == list(range(20, 25))


@pytest.mark.engines(only=["process", "ray"], reason="only a process can be killed")
def test_a_result_outlives_the_actor_that_sent_it(launch: Launch) -> None:
    painter = Painter.options(**launch).spawn()
    painter.give(0)
    result = painter.give(7)
    painter.kill_()
    painter.join_()
    assert int(result[-1]) == 7
    result[:] = 8
    painter.stop_()
    assert int(result[0]) == 8
    del result  # nobody is there to be told


def test_a_child_keeps_a_result_that_its_parent_has_dropped() -> None:
    with Painter.options(start_method="fork").spawn() as painter:
        painter.give(0)
        result = painter.give(7)
        with process("fork", _is_seven, result) as child:
            del result
            for value in range(3):
                painter.give(value)
            child.join(10)
            assert child.exitcode == 0


def _is_seven(result: Any) -> None:
    assert int(result[0]) == int(result[-1]) == 7


def test_memory_that_nobody_uses_is_given_back() -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("mappings can't be listed here")
    before = len(list_segments())
    with Painter.options(start_method="fork").spawn() as painter:
        for value in range(4):
            painter.take(picture(value))
            assert painter.give(value)[0] == value
        assert len(list_segments()) > before
        assert painter.segments() > before
        until(lambda: len(list_segments()) == before)
        until(lambda: painter.segments() == before)


def test_where_descriptors_can_not_be_passed_big_buffers_go_through_the_socket(
    over_tcp: None, launch: Launch
) -> None:
    before = len(list_segments())
    with Painter.options(**launch).spawn() as painter:
        for value in range(4):
            assert painter.take(picture(value)) == (value, True)
        assert len(list_segments()) == before


def test_many_big_arrays_at_once_mix_with_small_calls(launch: Launch) -> None:
    with Painter.options(**launch).spawn() as painter:
        futures = [
            painter.future_.take(picture(value)) if value % 3 else painter.future_.give(value)
            for value in range(60)
        ]
        for value, future in enumerate(futures):
            result = future.result()
            assert (result[0] if value % 3 else int(result[-1])) == value
