"""What is kept of an actor's last words, in memory that it shares with its owner."""

import mmap
import os
import random
import sys
import threading
from typing import Any

import pytest

from remoteobj._engines import recorder_slots
from remoteobj._engines.flight_recorder import (
    LONGEST_ERROR,
    OUTPUT,
    PLACES,
    STACKS,
    FlightRecorder,
    Outcome,
)
from remoteobj._engines.recorder_slots import HEAD
from tests.tools import Call, until


def test_the_black_box_keeps_the_end_of_what_is_noted() -> None:
    box = FlightRecorder()
    assert box.output() == box.stacks() == ""
    box.note(b"ab")
    box.note(b"c" * OUTPUT)
    assert box.output() == "c" * OUTPUT
    box.note(b"the end")
    assert box.output().endswith("cthe end")
    assert len(box.output()) == OUTPUT
    box.note(b"x" * (3 * OUTPUT) + b"!")
    assert box.output().endswith("x!")
    box.close()
    box.close()


@pytest.mark.parametrize("size", [0, 1, 255, 256, 260, 263, 264, 268, 300, OUTPUT, STACKS - 1])
def test_of_a_box_that_was_cut_off_the_rest_is_read(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_slots, "_seal", bool)
    box = FlightRecorder()
    box.note(b"output")
    box.note_outcome(Outcome.FAILED, b"error")
    os.ftruncate(box._fd, size)
    assert box.running() == []
    assert box.outcome()[0] in (Outcome.FAILED, Outcome.NONE)
    assert len(box.output()) <= OUTPUT
    assert box.stacks() == ""
    box.close()


def test_a_box_in_which_anything_is_written_is_read_all_the_same() -> None:
    box = FlightRecorder()
    for seed in range(50):
        os.pwrite(box._fd, random.Random(seed).randbytes(STACKS), box._start)
        box.running()
        outcome, error = box.outcome()
        assert outcome in Outcome
        assert len(error) <= LONGEST_ERROR
        assert len(box.output()) <= OUTPUT
    box.close()


def test_boxes_lie_in_one_file_and_none_gets_at_what_another_keeps() -> None:
    boxes = [FlightRecorder() for _ in range(3)]
    for index, box in enumerate(boxes):
        box.note(b"%d" % index * (2 * OUTPUT))
        box.note_outcome(Outcome.FAILED, b"error %d" % index)
        os.pwrite(box._fd, b"stack %d" % index, box._start + STACKS)
    for index, box in enumerate(boxes):
        assert set(box.output()) == {str(index)}
        assert box.outcome() == (Outcome.FAILED, b"error %d" % index)
        assert box.stacks() == f"stack {index}"
    for box in boxes:
        box.close()


def test_stacks_that_were_forgotten_are_not_read_again_and_take_no_memory() -> None:
    box = FlightRecorder()
    at = box._start + STACKS
    for round_ in range(50):
        at += os.pwrite(box._fd, b"%d" % round_ + b"." * (1 << 18), at)
        assert box.stacks().startswith(f"{round_}.")
        box.forget()
        assert box.stacks() == ""
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        assert os.fstat(box._fd).st_blocks * 512 < 1 << 18
    box.close()


def test_the_next_box_at_the_same_place_is_empty() -> None:
    first = FlightRecorder()
    kept = FlightRecorder()
    first.note(b"words")
    first.note_outcome(Outcome.FAILED, b"error")
    assert first._slot is not None
    first._slot.head[0] = 1
    os.pwrite(first._fd, b"x" * (1 << 17), first._start + STACKS)
    start = first._start
    first.close()
    second = FlightRecorder()
    assert second._start == start or not kept._start
    assert second.output() == second.stacks() == ""
    assert second.running() == []
    assert second.outcome() == (Outcome.NONE, b"")
    second.close()
    kept.close()


@pytest.mark.parametrize("inherited", [True, False])
def test_each_of_those_that_run_at_once_is_noted_until_it_ends(inherited: bool) -> None:
    owners = FlightRecorder(inherited)
    box = owners
    if not inherited:  # as one that is started anew: by the file alone
        box = FlightRecorder(False, (os.dup(owners._fd), owners._start))
        box._running = mmap.mmap(box._fd, HEAD, offset=box._start)
    else:
        assert owners._slot is not None
        box._running = owners._slot.head
    box.begins(b"outer")
    places = [box.joins(b"within %d" % number) for number in range(3)]
    names = [payload.rstrip(b"\0") for payload in owners.running()]
    assert names == [b"within 2", b"within 1", b"within 0", b"outer"], "the innermost first"
    box.leaves(places[1])
    box.ends()
    names = [payload.rstrip(b"\0") for payload in owners.running()]
    assert names == [b"within 2", b"within 0"]
    again = box.joins(memoryview(b"x" * 1000))
    assert again == places[1]
    assert max(map(len, owners.running())) < 256
    box._running = None
    if not inherited:
        os.close(box._fd)
    owners.close()


def test_more_than_there_are_places_for_are_not_noted_and_harm_nobody() -> None:
    box = FlightRecorder()
    places = [box.joins(b"%d" % number) for number in range(PLACES + 3)]
    assert places[PLACES:] == [-1] * 3
    assert len(box.running()) == PLACES
    for place in places:
        box.leaves(place)
    assert box.running() == []
    assert box.joins(b"one more") >= 0
    assert len(box.running()) == 1
    box.close()
    after = FlightRecorder()
    assert after.running() == []
    after.close()


def test_of_two_that_join_first_at_once_both_have_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = FlightRecorder()
    making, go_on = threading.Event(), threading.Event()
    make = mmap.mmap

    def slowly(*args: Any, **options: Any) -> Any:
        making.set()
        assert go_on.wait(10)
        return make(*args, **options)

    monkeypatch.setattr(mmap, "mmap", slowly)
    first = Call(box.joins, b"first")
    assert making.wait(10)
    second = Call(box.joins, b"second")
    until(lambda: second.is_in(FlightRecorder._first_place))
    go_on.set()
    places = {first.result(), second.result()}
    assert len(places) == 2
    assert min(places) >= 0
    for place in places:
        box.leaves(place)
    box.close()


def test_threads_note_at_once_without_a_lock() -> None:
    box = FlightRecorder()

    def note(name: int) -> None:
        for _ in range(300):
            place = box.joins(b"%d" % name)
            assert bytes(box._beside[place + 1 : place + 3]).rstrip(b"\0") == b"%d" % name
            box.leaves(place)

    calls = [Call(note, name) for name in range(4)]
    for call in calls:
        call.result()
    assert box.running() == []
    box.close()


def test_the_place_of_an_actor_that_may_still_be_there_is_no_others() -> None:
    kept, left = FlightRecorder(), FlightRecorder()
    start = left._start
    left.abandon()
    after = FlightRecorder()
    assert after._start != start or after._fd != kept._fd
    for box in (kept, after):
        box.close()


def test_there_is_no_file_when_there_is_no_box() -> None:
    box, dropped = FlightRecorder(), FlightRecorder()
    fd = box._fd
    del dropped
    box.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
