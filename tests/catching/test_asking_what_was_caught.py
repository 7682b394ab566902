"""Asking a catcher for what it caught, forgetting it, and having it logged."""

import logging

import numpy as np
import pytest

from remoteobj import Except, LocalExcept
from tests.catching.catchers import Catcher, catch, fail_deep_down, texts
from tests.internals import at_next_unpacking


def test_groups_are_told_apart(exc: Catcher) -> None:
    for group, number in [("a", 1), (None, 2), ("b", 3), ("a", 4)]:
        catch(exc, group, ValueError(number))
    assert texts(exc) == ["1", "2", "3", "4"]
    assert (texts(exc, "a"), texts(exc, None), texts(exc, "c")) == (["1", "4"], ["2"], [])
    assert (str(exc.first()), str(exc.last()), str(exc.get())) == ("1", "4", "4")
    assert (str(exc.first("a")), str(exc.last("a")), str(exc.get("a"))) == ("1", "4", "4")
    assert (str(exc.first(None)), str(exc.last(None))) == ("2", "2")
    assert (exc.first("c"), exc.last("c"), exc.get("c", 0)) == (None, None, 0)
    assert exc["a"] == exc.group("a")
    assert list(exc) == exc.all()
    assert (len(exc), bool(exc), "a" in exc, None in exc, "c" in exc) == (
        4,
        True,
        True,
        True,
        False,
    )
    assert exc.last() in exc
    assert ValueError(4) not in exc
    assert repr(exc) == f"<{type(exc).__name__} a=2 (unnamed)=1 b=1>"


def test_nothing_caught_is_empty_and_false(exc: Catcher) -> None:
    assert (len(exc), bool(exc), exc.all(), exc.last(), exc.get("a")) == (0, False, [], None, None)
    assert repr(exc) == f"<{type(exc).__name__}>"


def test_it_is_the_same_object_each_time(exc: Catcher) -> None:
    catch(exc, "work", ValueError("no!"))
    last = exc.last()
    catch(exc, "work", KeyError())
    assert exc.first() is last is exc["work"][0]


def test_asking_never_compares_exceptions(exc: Catcher) -> None:
    class Odd(Exception):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        def __bool__(self) -> bool:
            raise AssertionError("asked for its truth")

        __hash__ = None  # type: ignore[assignment]

    with exc(raises=False), exc("a"):
        raise Odd(np.zeros(3))
    assert exc.last() in exc
    with pytest.raises(Exception, match="0"):
        exc.raise_any()


def test_clear_forgets_one_group_or_all(exc: Catcher) -> None:
    for group in ("a", None, "b"):
        catch(exc, group, ValueError(group))
    exc.clear("a")
    assert texts(exc) == ["None", "b"]
    exc.clear(None)
    assert texts(exc) == ["b"]
    catch(exc, "a", ValueError("again"))
    exc.clear()
    assert texts(exc) == []
    exc.raise_any()


def test_two_threads_that_unpack_at_once_get_the_same_object(
    shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch(shared, "work", ValueError("no!"))
    inner: list[BaseException | None] = []

    def overtake() -> None:
        inner.append(shared.last())  # as another thread may, while this one is unpacking

    at_next_unpacking(overtake, monkeypatch)
    assert shared.last() is inner[0]


def test_log_writes_what_is_caught_when_it_is_caught(
    exc: Catcher, caplog: pytest.LogCaptureFixture
) -> None:
    catch(exc, "quiet", ValueError("not this"))
    catch(exc, "work", ValueError("no!"), log=True)
    catch(exc, None, KeyError("k"), log=logging.getLogger("mine"), log_tb=False)
    assert caplog.record_tuples == [
        ("remoteobj", logging.ERROR, "work: ValueError: no!"),
        ("mine", logging.ERROR, "KeyError: 'k'"),
    ]
    assert caplog.records[0].exc_info
    assert caplog.records[1].exc_info is None


def test_log_tracebacks_writes_all_that_was_caught(
    exc: Catcher, caplog: pytest.LogCaptureFixture
) -> None:
    with exc("work", raises=False):
        fail_deep_down()
    catch(exc, "other", KeyError("k"))
    exc.log_tracebacks("work")
    assert [record.message for record in caplog.records] == ["work: ValueError: deep down"]
    assert "in fail_deep_down" in caplog.text
    exc.log_tracebacks()
    assert len(caplog.records) == 3


def test_log_error_writes_one(caplog: pytest.LogCaptureFixture) -> None:
    LocalExcept(log=logging.getLogger("mine")).log_error(ValueError("no!"), "work")
    assert caplog.record_tuples == [("mine", logging.ERROR, "work: ValueError: no!")]
