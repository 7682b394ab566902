"""What is kept of an actor's last words, in memory that it shares with its owner."""

import os
import random

import pytest

from remoteobj._engines.flight_recorder import (
    LONGEST_ERROR,
    OUTPUT,
    STACKS,
    FlightRecorder,
    Outcome,
)


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
def test_of_a_box_that_was_cut_off_the_rest_is_read(size: int) -> None:
    box = FlightRecorder()
    box.note(b"output")
    box.note_outcome(Outcome.FAILED, b"error")
    os.ftruncate(box._fd, size)
    assert box.running() is None
    assert box.outcome()[0] in (Outcome.FAILED, Outcome.NONE)
    assert len(box.output()) <= OUTPUT
    assert box.stacks() == ""
    box.close()


def test_a_box_in_which_anything_is_written_is_read_all_the_same() -> None:
    box = FlightRecorder()
    for seed in range(50):
        os.pwrite(box._fd, random.Random(seed).randbytes(STACKS), 0)
        box.running()
        outcome, error = box.outcome()
        assert outcome in Outcome
        assert len(error) <= LONGEST_ERROR
        assert len(box.output()) <= OUTPUT
    box.close()
