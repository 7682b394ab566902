"""The contexts of `Except` and `LocalExcept`: what each records, lets pass or swallows."""

import enum
from typing import Any

import numpy as np
import pytest

from remoteobj import LocalExcept
from tests.catching.catchers import Catcher, catch, texts
from tests.internals import ANY


def test_an_exception_is_recorded_and_goes_on(exc: Catcher) -> None:
    with pytest.raises(ValueError, match="no!") as caught:
        with exc("work"):
            raise ValueError("no!")
    assert texts(exc, "work") == ["no!"]
    if isinstance(exc, LocalExcept):
        assert exc.last() is caught.value


def test_it_is_recorded_before_it_goes_on(exc: Catcher) -> None:
    try:
        with exc("work"):
            raise ValueError("no!")
    except ValueError:
        assert texts(exc) == ["no!"]


def test_raises_false_swallows_it(exc: Catcher) -> None:
    with exc("work", raises=False):
        raise ValueError("no!")
    assert texts(exc, "work") == ["no!"]


def test_a_context_may_say_otherwise_than_the_whole() -> None:
    exc = LocalExcept(raises=False)
    with pytest.raises(KeyError):
        with exc("work", raises=True):
            raise KeyError
    with exc:
        raise KeyError


def test_entering_gives_the_catcher(exc: Catcher) -> None:
    with exc as bare, exc("name") as named:
        assert bare is named is exc


def test_an_exception_of_another_type_goes_on_unrecorded() -> None:
    exc = LocalExcept(ValueError, TypeError, raises=False)
    with pytest.raises(KeyError):
        with exc:
            raise KeyError
    with exc:
        raise TypeError("a")
    with exc(types=KeyError):
        raise KeyError("b")
    assert [type(error) for error in exc] == [TypeError, KeyError]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_passes_unless_it_is_asked_for(kind: type[BaseException]) -> None:
    exc = LocalExcept(raises=False)
    with pytest.raises(kind):
        with exc:
            raise kind
    assert not exc
    with exc(types=kind):
        raise kind
    assert [type(error) for error in exc] == [kind]


@pytest.mark.parametrize("wrong", [int, "ValueError", ValueError("an instance"), (ValueError, 3)])
def test_types_that_are_no_exception_classes_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="no exception class"):
        LocalExcept()(types=wrong)
    with pytest.raises(TypeError, match="no exception class"):
        LocalExcept(wrong)


@pytest.mark.parametrize("wrong", [ValueError, 3, ("a",), np.zeros(3), ANY])
def test_a_group_that_is_no_string_is_refused(wrong: Any, exc: Catcher) -> None:
    for use in (exc, exc.__getitem__):
        with pytest.raises(TypeError, match="a group is a string or None"):
            use(wrong)


def test_a_group_may_be_any_string(exc: Catcher) -> None:
    class Name(enum.StrEnum):
        WORK = "work"

    for group in ("", "-", "*", "=", "é\ud800", "work"):
        catch(exc, group, KeyError(group))
        assert [error.args for error in exc[group]] == [(group,)]
    assert exc[Name.WORK] == exc["work"]
    assert exc[None] == []
