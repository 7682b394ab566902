"""`raise_any` raises what was caught: which, with which traceback, in which chain."""

import traceback

import pytest

from tests.catching.catchers import Catcher, catch, contexts, fail_deep_down


def test_raise_any_raises_the_last_of_what_it_is_asked_for(exc: Catcher) -> None:
    catch(exc, "work", ValueError("work"))
    catch(exc, "cleanup", KeyError("cleanup"))
    exc.raise_any("init")
    exc.raise_any(None)
    with pytest.raises(ValueError, match="work"):
        exc.raise_any("work")
    with pytest.raises(KeyError, match="cleanup") as raised:
        exc.raise_any()
    assert raised.value is exc.last()
    catch(exc, None, OSError("unnamed"))
    with pytest.raises(OSError, match="unnamed"):
        exc.raise_any(None)


def test_each_raise_has_the_traceback_from_where_it_was_caught(exc: Catcher) -> None:
    with exc("work", raises=False):
        fail_deep_down()
    lengths = set()
    for _ in range(3):
        with pytest.raises(ValueError, match="deep down") as raised:
            exc.raise_any("work")
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[-1] == "fail_deep_down"
        assert names.count("fail_deep_down") == 1
        lengths.add(len(names))
    assert len(lengths) == 1


def test_what_the_caller_handles_is_chained_and_the_own_context_kept(exc: Catcher) -> None:
    with exc("work", raises=False):
        try:
            raise KeyError("there, first")
        except KeyError:
            raise ValueError("there")  # noqa: B904 - the context is what this is about
    for kind in (OSError, TypeError):
        with pytest.raises(ValueError, match="there") as raised:
            try:
                raise kind("here")
            except kind:
                exc.raise_any()
        assert contexts(raised.value) == [ValueError, KeyError, kind]
    with pytest.raises(ValueError, match="there") as raised:
        exc.raise_any()
    assert contexts(raised.value) == [ValueError, KeyError]


def test_raising_while_handling_the_same_exception_makes_no_cycle(exc: Catcher) -> None:
    catch(exc, "work", ValueError("no!"))
    with pytest.raises(ValueError, match="no!"):
        try:
            exc.raise_any()
        except ValueError:
            exc.raise_any()
    with pytest.raises(ValueError, match="no!") as raised:
        try:
            exc.raise_any()
        except ValueError as error:
            try:
                raise KeyError from error
            except KeyError:
                exc.raise_any()
    assert len(contexts(raised.value)) < 4


def test_raising_while_handling_its_own_context_makes_no_cycle(exc: Catcher) -> None:
    with exc("work", raises=False):
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904 - the context is what this is about
    last = exc.last()
    assert last is not None
    first = last.__context__
    assert first is not None
    with pytest.raises(ValueError, match="second") as raised:
        try:
            raise first
        except KeyError:
            exc.raise_any()
    assert contexts(raised.value) == [ValueError, KeyError]
