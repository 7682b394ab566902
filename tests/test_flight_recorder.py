"""What is kept of an actor's last words, in memory that it shares with its owner."""

from remoteobj._engines.flight_recorder import OUTPUT, FlightRecorder


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
