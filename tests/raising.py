"""Exceptions of all kinds, and whether one that has travelled is still what it was."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st


def shown(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc))


def raised(exc: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise exc from cause
    except BaseException as error:
        return error


def fail_by(func: Callable[[], object]) -> BaseException:
    try:
        func()
    except BaseException as error:
        assert error.__traceback__ is not None
        return error.with_traceback(error.__traceback__.tb_next)  # without this function
    pytest.fail("it did not fail")


def deep(n: int) -> int:
    empty: dict[str, int] = {}
    return deep(n - 1) if n else empty["k" + str(n)] + 1


class Misfit(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"failed {code}")
        self.code = code


class Slotted(Exception):
    __slots__ = ("__private", "inner", "never")

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.__private = 1


@st.composite
def trees(draw: st.DrawFn) -> BaseException:
    made: list[BaseException] = []
    simple = st.sampled_from(
        [ValueError, KeyError, OSError, Misfit, SystemExit, Slotted, ZeroDivisionError]
    )
    flag = st.booleans()
    for i in range(draw(st.integers(1, 8))):
        exceptions = [exc for exc in made if isinstance(exc, Exception)]
        grouped = draw(flag)
        if exceptions and grouped:
            group = draw(st.lists(st.sampled_from(exceptions), min_size=1, max_size=3))
            exc: BaseException = ExceptionGroup(f"group {i}", group)
        else:
            exc = draw(simple)(i)
        if draw(flag):
            exc = raised(exc)
        for note in draw(st.lists(st.text(), max_size=2)):
            exc.add_note(note)
        made.append(exc)
    for exc in made:  # links in any direction, to itself too
        other = st.none() | st.sampled_from(made)
        exc.__cause__, exc.__context__ = draw(other), draw(other)
        exc.__suppress_context__ = draw(flag)
        vars(exc)["other"] = draw(other)
    return made[-1]


def assert_same_tree(root: BaseException, got: Any) -> None:
    """Takes the links of both apart when it is done."""
    pairs: list[tuple[Any, Any]] = [(root, got)]
    same: dict[int, int] = {}
    for exc, got in pairs:  # grows meanwhile
        if exc is None:
            assert got is None
        elif id(exc) in same:
            assert same[id(exc)] == id(got)
        else:
            same[id(exc)] = id(got)
            assert_alike(exc, got)
            pairs += [
                (getattr(exc, name), getattr(got, name))
                for name in ("__cause__", "__context__", "other")
            ]
            members = getattr(exc, "exceptions", ()), getattr(got, "exceptions", ())
            pairs += zip(*members, strict=True)
    for links in pairs:
        for exc in filter(None, links):
            exc.__cause__ = exc.__context__ = exc.other = None


def assert_alike(exc: BaseException, got: BaseException) -> None:
    assert type(got) is type(exc)
    assert str(got) == str(exc)
    if not isinstance(exc, BaseExceptionGroup):
        assert got.args == exc.args
    assert got.__suppress_context__ == exc.__suppress_context__
    assert getattr(got, "__notes__", []) == getattr(exc, "__notes__", [])
    assert list(vars(got)) == list(vars(exc)) or "__notes__" in vars(exc)
    assert traceback.format_tb(got.__traceback__) == traceback.format_tb(exc.__traceback__)
