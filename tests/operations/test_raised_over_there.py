"""What an operation raises over there is raised here, with all that belongs to it."""

import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from remoteobj import ActorDiedError, RemoteError, UnsendableError
from tests.conftest import NO_CODES
from tests.operations.homes import APART, WIRED, homes
from tests.operations.things import about

ENDING = [SystemExit(3), KeyboardInterrupt("k"), GeneratorExit("g"), StopIteration("s")]


class Rich(Exception):
    """Has more to it than its arguments."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


def raise_richly(_: Any) -> None:
    empty: dict[str, int] = {}
    try:
        empty["missing"]
    except KeyError as missing:
        error = Rich(7, hint="look there")
        error.add_note("a note")
        raise error from missing


def test_an_exception_keeps_everything_that_belongs_to_it(thing: Any) -> None:
    with pytest.raises(Rich) as caught:
        thing.passto(raise_richly)
    error = caught.value
    assert (error.args, error.code, error.hint) == (("code 7",), 7, "look there")
    assert error.__notes__ == ["a note"]
    assert type(error.__cause__) is KeyError
    assert error.__cause__.args == ("missing",)


def test_the_traceback_shows_the_remote_file_and_line(thing: Any) -> None:
    with pytest.raises(Rich) as caught:
        thing.passto(raise_richly)
    text = "".join(traceback.format_exception(caught.value))
    line = raise_richly.__code__.co_firstlineno + 7
    assert f'File "{__file__}", line {line}, in raise_richly' in text
    assert "raise error from missing" in text
    assert "KeyError: 'missing'" in text
    assert "a note" in text


@homes(*APART)
def test_the_traceback_begins_with_the_callers_own_line(thing: Any) -> None:
    with pytest.raises(ValueError, match="v") as caught:
        thing.fail(ValueError("v"))
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[0].line == 'thing.fail(ValueError("v"))'
    assert frames[-1].name == "fail"


def test_groups_keep_their_members(thing: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        thing.fail(ExceptionGroup("both", [ValueError(1), TypeError("t")]))
    assert [(type(e), e.args) for e in caught.value.exceptions] == [
        (ValueError, (1,)),
        (TypeError, ("t",)),
    ]


def test_what_would_end_a_loop_arrives_as_a_remote_error(thing: Any) -> None:
    operations: list[Callable[[BaseException], object]] = [
        thing.fail,
        lambda error: thing.passto(make_failing, error),
    ]
    for error in ENDING:
        for operation in operations:
            with about(type(error).__name__):
                with pytest.raises(RemoteError) as caught:
                    operation(error)
                cause = caught.value.__cause__
                assert (type(cause), getattr(cause, "args", None)) == (type(error), error.args)
                assert thing.n.__ == 1


def make_failing(thing: Any, error: BaseException) -> None:
    thing.fail(error)


@homes(*WIRED)
def test_an_exception_with_an_attribute_that_cant_travel_arrives_as_its_own_type(
    thing: Any,
) -> None:
    def fail(_: Any) -> None:
        raise Rich(1, hint=threading.Lock())  # type: ignore[arg-type]

    with pytest.raises(Rich, match="code 1") as caught:
        thing.passto(fail)
    assert caught.value.code == 1
    with pytest.raises(UnsendableError, match=r"cannot pickle '_thread\.lock'"):
        caught.value.hint.upper()


@homes(*WIRED)
def test_an_exception_that_cant_be_rebuilt_arrives_as_text(thing: Any) -> None:
    def fail(_: Any) -> None:
        raise type("Local", (Rich,), {"lock": threading.Lock()})(1, hint="")

    with pytest.raises(RemoteError) as caught:
        thing.passto(fail)
    assert caught.value.type_name == f"{__name__}.Local"
    assert "in fail" in str(caught.value)
    assert "code 1" in str(caught.value)


OPERATION_ERRORS: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "attribute": (lambda thing: thing.missing.get_(), AttributeError),
    "call": (lambda thing: thing.n(), TypeError),
    "arguments": (lambda thing: thing.who(1), TypeError),
    "item": (lambda thing: thing["missing"].get_(), KeyError),
    "delete item": (lambda thing: thing.__delitem__("missing"), KeyError),
    "delete attribute": (lambda thing: delattr(thing, "missing"), AttributeError),
    "index": (lambda thing: thing.items["a"][99].get_(), IndexError),
    "len": (lambda thing: len(thing.n), TypeError),
    "in": (lambda thing: 1 in thing.n, TypeError),
    "iter": (lambda thing: iter(thing.n), TypeError),
    "passto": (lambda thing: thing.passto(lambda: None), TypeError),
}


def test_an_operation_that_fails_raises_what_it_would_raise_here(thing: Any) -> None:
    for name, (operation, kind) in OPERATION_ERRORS.items():
        with about(name):
            with pytest.raises(kind):
                operation(thing)
            assert thing.n.__ == 1


@homes("fork")
@pytest.mark.parametrize("closed", [False, True], ids=["at once", "after a closed stream"])
def test_the_call_in_which_an_actor_died_may_have_run(
    thing: Any, closed: bool, request: pytest.FixtureRequest
) -> None:
    if closed:
        stream = thing.rows(1000)
        next(stream)
        stream.close()
    with pytest.raises(ActorDiedError) as caught:
        thing.exit_now()
    assert caught.value.maybe_executed
    on_ray = request.node.callspec.params["home"] in NO_CODES
    assert caught.value.exitcode == (None if on_ray else 3)
