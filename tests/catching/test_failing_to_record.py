"""What can't be recorded, or is interrupted while it is read, is not lost."""

import threading

import pytest

from remoteobj import Except
from tests.catching.catchers import catch, texts
from tests.internals import at_each, interrupt_reading


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("failure", [OSError("disk full"), MemoryError("memory full")])
def test_what_cannot_be_recorded_goes_on_and_says_why(
    raises: bool, failure: Exception, shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise failure

    at_each("record", full, monkeypatch)
    with pytest.raises(ValueError, match="no!") as raised:
        with shared("work", raises=raises):
            raise ValueError("no!")
    monkeypatch.undo()
    (note,) = raised.value.__notes__
    assert "could not record" in note
    assert repr(failure) in note
    assert len(shared) == 0


def test_what_the_inner_could_not_record_the_outer_tries_again(
    shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OSError("full just now")])

    def fail_once() -> None:
        for failure in failures:
            raise failure

    at_each("record", fail_once, monkeypatch)
    with shared("outer", raises=False), shared("inner", raises=False):
        raise ValueError("no!")
    assert repr(shared) == "<Except outer=1>"


def test_a_closed_except_can_be_read_and_records_no_more() -> None:
    exc = Except(raises=False)
    catch(exc, "work", ValueError("before"))
    exc.close()
    exc.close()
    with pytest.raises(ValueError, match="after") as raised:
        catch(exc, "work", ValueError("after"))
    assert "closed" in raised.value.__notes__[0]
    assert texts(exc) == ["before"]


def test_an_exception_that_cannot_be_pickled_is_recorded_as_text(shared: Except) -> None:
    class Locked(Exception):
        def __init__(self) -> None:
            super().__init__("has a lock")
            self.lock = threading.Lock()

    catch(shared, "work", Locked())
    last = shared.last()
    assert "Locked" in f"{type(last)} {last}"


def test_ctrl_c_while_reading_loses_and_doubles_nothing(
    shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        catch(shared, "work", ValueError(number))
    interrupt_reading(KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        shared.all()
    monkeypatch.undo()
    assert texts(shared) == ["0", "1", "2"]
