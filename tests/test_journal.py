"""The journal: whole records only, in one order, whoever writes and whoever is killed."""

import contextlib
import copy
import errno
import fcntl
import gc
import mmap
import multiprocessing
import os
import pickle
import resource
import signal
import struct
import threading
from collections.abc import Iterator
from multiprocessing import resource_sharer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj._catching.journal import START, Cursor, Journal, Record
from remoteobj._catching.projection import Projection
from tests.tools import finish, run, start

HEADER, TRAILER = 36, 8
CHUNK = 1 << 20


def records(journal: Journal) -> list[Record]:
    return journal.read()[0]


def bytes_of(kind: int, payload: bytes, journal: Journal) -> bytes:
    """One record as it stands in the file, to be written in part."""
    ident = os.urandom(7) + b"\0"
    header = struct.pack("<16sQ8sI", journal.key, len(payload), ident, kind)
    return header + payload + ident


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From here on, how many bytes every read asked for."""
    sizes: list[int] = []
    pread = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counting)
    return sizes


@pytest.fixture(params=["memfd", "file"])
def journal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    if request.param == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memfd")
    with contextlib.closing(Journal()) as journal:
        yield journal


# ------------------------------------------------------------------ one process


def test_records_are_read_in_the_order_in_which_they_were_appended(journal: Journal) -> None:
    journal.append(1, b"one")
    journal.append(2)
    journal.append(3, bytearray(b"a"), memoryview(b"bc"), b"")
    assert records(journal) == [(1, b"one"), (2, b""), (3, b"abc")]


def test_a_cursor_goes_on_where_it_was_and_leaves_others_alone(journal: Journal) -> None:
    journal.append(1, b"one")
    first, cursor = journal.read()
    journal.append(2, b"two")
    second, cursor = journal.read(cursor)
    assert (first, second) == ([(1, b"one")], [(2, b"two")])
    assert journal.read(cursor) == ([], cursor)
    assert len(records(journal)) == 2


def test_the_descriptor_is_closed_on_exec_and_always_appends(journal: Journal) -> None:
    assert not os.get_inheritable(journal.fileno())
    assert fcntl.fcntl(journal.fileno(), fcntl.F_GETFL) & os.O_APPEND


def test_memfd_that_is_forbidden_is_replaced_by_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object) -> int:
        raise PermissionError(errno.EPERM, "not in this sandbox")

    monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)
    journal = Journal()
    journal.append(1, b"one")
    assert records(journal) == [(1, b"one")]


@pytest.mark.parametrize("size", [CHUNK - HEADER - TRAILER + n for n in (-1, 0, 1)] + [3 * CHUNK])
def test_a_record_of_about_the_size_of_a_chunk_is_read(journal: Journal, size: int) -> None:
    for _ in range(2):
        journal.append(1, b"small")
        journal.append(2, b"x" * size)
    assert records(journal) == [(1, b"small"), (2, b"x" * size)] * 2


def test_a_record_of_more_parts_than_one_writev_takes_is_one_record(journal: Journal) -> None:
    journal.append(1, *[b"x" * 100] * 2000)
    assert records(journal) == [(1, b"x" * 200_000)]


def test_a_record_of_200_mb_is_read_without_reading_it_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = Journal()
    journal.append(1, bytes(200 << 20))
    journal.append(2, b"after")
    sizes = count_reads(monkeypatch)
    (large, small), _ = journal.read()
    assert (large[0], len(large[1]), small) == (1, 200 << 20, (2, b"after"))
    assert sum(sizes) < 203 << 20


def test_a_hundred_thousand_records_are_read_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    for number in range(100_000):
        journal.append(number, b"small")
    sizes = count_reads(monkeypatch)
    assert records(journal) == [(number, b"small") for number in range(100_000)]
    assert len(sizes) < 20


def test_threads_append_and_read_at_once_and_lose_nothing() -> None:
    journal = Journal()
    begin = threading.Barrier(5)
    read: list[Record] = []

    def write(number: int) -> None:
        begin.wait()
        for count in range(500):
            journal.append(number, count.to_bytes(2, "big") * (1 + count % 200))

    def follow() -> None:
        begin.wait()
        cursor = START
        while len(read) < 4 * 500:
            found, cursor = journal.read(cursor)
            read.extend(found)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=follow))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        mine = [payload for kind, payload in read if kind == number]
        assert mine == [count.to_bytes(2, "big") * (1 + count % 200) for count in range(500)]


# ------------------------------------------------------------------ torn records


def test_a_record_that_is_not_whole_yet_is_read_when_it_is(journal: Journal) -> None:
    whole = bytes_of(5, b"payload", journal)
    journal.append(1, b"one")
    cursor = START
    for piece in (whole[:10], whole[10:40], whole[40:-1]):
        os.write(journal.fileno(), piece)
        _, cursor = journal.read(cursor)
    assert records(journal) == [(1, b"one")]
    os.write(journal.fileno(), whole[-1:])
    assert journal.read(cursor)[0] == [(5, b"payload")]


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 35, 36, 37, 60, -9, -8, -1])
@pytest.mark.parametrize("following", [b"", b"after", b"x" * 500])
def test_a_record_torn_anywhere_hides_none_that_follow(cut: int, following: bytes) -> None:
    journal = Journal()
    journal.append(1, b"before")
    os.write(journal.fileno(), bytes_of(2, b"torn" * 50, journal)[:cut])
    _, cursor = journal.read()
    journal.append(3, following)
    journal.append(4, b"last")
    expected = [(3, following), (4, b"last")]
    assert records(journal) == [(1, b"before"), *expected]
    assert journal.read(cursor)[0] == expected


def test_a_torn_record_is_no_record_if_another_ends_where_it_should_have() -> None:
    journal = Journal()
    os.write(journal.fileno(), bytes_of(1, b"t" * 100, journal)[:-50])
    missing = 50 - HEADER - TRAILER
    journal.append(2, b"x" * missing)
    assert records(journal) == [(2, b"x" * missing)]


def test_a_cut_trailer_is_not_completed_by_the_beginning_of_the_next_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The worst luck: random bytes that are all the same.
    monkeypatch.setattr(os, "urandom", lambda size: b"\1" * size)
    for cut in range(1, TRAILER + 1):
        journal = Journal()
        journal.append(1, b"torn")
        os.ftruncate(journal.fileno(), os.fstat(journal.fileno()).st_size - cut)
        journal.append(2, b"after")
        assert records(journal) == [(2, b"after")]


@pytest.mark.parametrize("size", [200 << 20, 10])
@pytest.mark.parametrize("beyond", [*range(-17, 3), 100])
def test_a_marker_that_lies_across_two_chunks_is_found(size: int, beyond: int) -> None:
    journal = Journal()
    torn = struct.pack("<16sQ8sI", journal.key, size, bytes(8), 1)
    os.write(journal.fileno(), torn.ljust(CHUNK + beyond, b"x"))
    journal.append(2, b"after")
    assert records(journal) == [(2, b"after")]


def test_what_follows_a_huge_torn_record_is_read_before_its_size_is_reached() -> None:
    journal = Journal()
    os.write(journal.fileno(), bytes_of(1, bytes(200 << 20), journal)[: 5 * CHUNK + 7])
    journal.append(2, b"after")
    assert records(journal) == [(2, b"after")]


def test_a_large_record_that_grows_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    whole = bytes_of(1, bytes(40 * CHUNK), journal)
    sizes = count_reads(monkeypatch)
    found, cursor = journal.read()
    for begin in range(0, len(whole), CHUNK // 2):
        os.write(journal.fileno(), whole[begin : begin + CHUNK // 2])
        found, cursor = journal.read(cursor)
    assert found == [(1, bytes(40 * CHUNK))]
    # Per poll one chunk, to see what stands there, and what is new.
    assert sum(sizes) < 165 * CHUNK


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 30, 900, 70_000, CHUNK + 5]),
            st.one_of(st.none(), st.floats(0, 1, exclude_max=True)),  # cut here
            st.booleans(),  # read before the next
        ),
        max_size=12,
    )
)
def test_whole_records_are_read_exactly_whatever_is_torn_between_them(
    plan: list[tuple[int, float | None, bool]],
) -> None:
    journal = Journal()
    expected: list[Record] = []
    read: list[Record] = []
    cursor = START
    for number, (size, cut, look) in enumerate(plan):
        whole = bytes_of(number, bytes([number]) * size, journal)
        if cut is None:
            os.write(journal.fileno(), whole)
            expected.append((number, bytes([number]) * size))
        else:
            os.write(journal.fileno(), whole[: int(cut * len(whole))])
        if look:
            found, cursor = journal.read(cursor)
            read += found
            assert read == expected
    assert read + journal.read(cursor)[0] == expected
    assert records(journal) == expected


# ------------------------------------------------------------------ what can't be written


def test_a_record_too_large_for_one_write_is_refused_before_anything_is_written() -> None:
    journal = Journal()
    with mmap.mmap(-1, 0x7FFF_F000) as huge, pytest.raises(ValueError, match="too large"):
        journal.append(1, memoryview(huge))
    with pytest.raises(ValueError, match="32 bits"):
        journal.append(-1, b"")
    assert journal.read() == ([], START)


def write_beyond_the_limit(journal: Journal, sizes: list[int]) -> None:
    size = os.fstat(journal.fileno()).st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10_000, size + 10_000))
    for each in sizes:
        with pytest.raises(OSError, match=r"no room|too large"):
            journal.append(1, b"x" * each)


def test_a_writer_without_room_is_told_and_its_part_is_passed_over() -> None:
    journal = Journal()
    journal.append(1, b"before")
    assert run("fork", write_beyond_the_limit, journal, [100_000, 5]) == 0
    assert os.fstat(journal.fileno()).st_size > 10_000
    journal.append(2, b"after")
    assert records(journal) == [(1, b"before"), (2, b"after")]


# ------------------------------------------------------------------ several processes


def write_many(journal: Journal, number: int, count: int, ready: Any, go: Any) -> None:
    ready.release()
    go.wait()
    for each in range(count):
        journal.append(number, struct.pack("<I", each) * (1 + each % 300))


def test_eight_processes_write_at_once_and_nothing_is_lost_or_doubled(start_method: str) -> None:
    context = multiprocessing.get_context(start_method)
    journal, ready, go = Journal(), context.Semaphore(0), context.Event()
    count = 500
    writers = [start(start_method, write_many, journal, n, count, ready, go) for n in range(8)]
    for _ in writers:
        assert ready.acquire(timeout=20)
    go.set()
    assert [finish(writer) for writer in writers] == [0] * 8
    found = records(journal)
    assert len(found) == 8 * count
    for number in range(8):
        mine = [payload for kind, payload in found if kind == number]
        assert mine == [struct.pack("<I", each) * (1 + each % 300) for each in range(count)]


def write_and_die(journal: Journal) -> None:
    journal.append(1, b"written")
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_written_before_a_sigkill_is_there(start_method: str) -> None:
    journal = Journal()
    assert run(start_method, write_and_die, journal) == -signal.SIGKILL
    assert records(journal) == [(1, b"written")]


def write_large(journal: Journal) -> None:
    journal.append(1, bytes(300 << 20))


def test_a_writer_killed_in_mid_write_hides_nothing_of_the_others() -> None:
    journal = Journal()
    process = start("fork", write_large, journal)
    while os.fstat(journal.fileno()).st_size < 2 * CHUNK:
        assert process.is_alive()
    process.kill()
    finish(process)
    size = os.fstat(journal.fileno()).st_size
    journal.append(2, b"after")
    # The kernel may have finished the write before it looked at the signal.
    whole = [1] if size > 300 << 20 else []
    assert [kind for kind, _ in records(journal)] == [*whole, 2]


def fork_again(journal: Journal, depth: int) -> None:
    journal.append(depth, b"")
    if depth:
        pid = os.fork()
        if not pid:
            fork_again(journal, depth - 1)
            os._exit(0)
        os.waitpid(pid, 0)


def test_children_of_children_write_to_the_same_journal() -> None:
    journal = Journal()
    assert run("fork", fork_again, journal, 3) == 0
    assert records(journal) == [(3, b""), (2, b""), (1, b""), (0, b"")]


def receive(channel: Any) -> None:
    journal = channel.recv()
    journal.append(2, b"there")


def test_a_journal_can_be_sent_to_a_process_that_runs_already(start_method: str) -> None:
    journal = Journal()
    journal.append(1, b"here")
    context = multiprocessing.get_context(start_method)
    ours, theirs = context.Pipe()
    process = start(start_method, receive, theirs)
    theirs.close()
    try:
        ours.send(journal)
        assert finish(process) == 0
    finally:
        ours.close()
        resource_sharer.stop()
    assert records(journal) == [(1, b"here"), (2, b"there")]


# ------------------------------------------------------------------ its life


def test_the_descriptor_is_closed_with_the_last_that_uses_it() -> None:
    journal = Journal()
    fd = journal.fileno()
    again = copy.copy(journal), copy.deepcopy(journal)
    assert again == (journal, journal)
    del journal, again
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_closed_journal_refuses_and_closes_twice() -> None:
    journal = Journal()
    fd = journal.fileno()
    journal.close()
    journal.close()
    assert journal.closed
    assert repr(journal) == "<Journal closed>"
    for use in (journal.read, journal.fileno, lambda: journal.append(1, b"")):
        with pytest.raises(ValueError, match="closed"):
            use()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_journal_that_arrives_twice_has_one_descriptor_in_the_process() -> None:
    journal = Journal()
    try:
        first, second = (pickle.loads(pickle.dumps(journal)) for _ in range(2))
    finally:
        resource_sharer.stop()
    assert journal.fileno() == first.fileno() == second.fileno()
    first.close()
    second.append(1, b"still open")
    assert records(journal) == [(1, b"still open")]


def test_closing_while_another_thread_writes_does_not_close_the_file_under_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = Journal()
    urandom = os.urandom

    def close_first(size: int) -> bytes:
        journal.close()  # as another thread may, between the check and the write
        gc.collect()
        return urandom(size)

    fd = journal.fileno()
    monkeypatch.setattr(os, "urandom", close_first)
    journal.append(1, b"x" * 10)  # an OSError here if the descriptor were gone
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_marker_is_not_in_the_pickle() -> None:
    journal = Journal()
    try:
        assert journal.key not in pickle.dumps(journal)
    finally:
        resource_sharer.stop()


# ------------------------------------------------------------------ what they add up to


def test_a_step_that_a_signal_handler_overtook_runs_again() -> None:
    replay: Projection[tuple[int, str]] = Projection((0, ""))
    calls = []

    def step(state: tuple[int, str]) -> tuple[int, str]:
        calls.append(state)
        if len(calls) == 1:
            replay.advance(lambda inner: (inner[0] + 1, inner[1] + "h"))  # the handler
        return state[0] + 1, state[1] + "o"

    assert replay.advance(step) == (2, "ho")


def test_a_child_forked_while_another_thread_held_the_lock_can_go_on() -> None:
    replay = Projection(0)
    held, release = threading.Event(), threading.Event()

    def hold(state: int) -> int:
        held.set()
        release.wait(20)
        return state + 1

    thread = threading.Thread(target=replay.advance, args=(hold,))
    thread.start()
    held.wait(20)
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        os._exit(replay.advance(lambda state: state + 5))
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert replay.state == 1


def test_a_cursor_is_a_plain_value() -> None:
    assert Cursor(16, 16) == START
