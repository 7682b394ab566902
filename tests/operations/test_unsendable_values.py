"""A value that can't be pickled or unpickled fails its own call alone, and its path is named."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from remoteobj import RemoteError, UnsendableError
from tests.internals import reply_frame
from tests.operations.homes import WIRED, homes
from tests.operations.things import about, double

ENDING = [SystemExit(3), KeyboardInterrupt("k"), GeneratorExit("g"), StopIteration("s")]


class Sticky:
    """Can't be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError("stuck")


UNSENDABLE: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "args[0]": (lambda thing, bad: thing.echo(bad), "args[0]"),
    "args[1]['k'][0]": (lambda thing, bad: thing.give(1, {"k": [bad]}), "args[1]['k'][0]"),
    "keyword": (lambda thing, bad: thing.give(1, option=[bad]), "option[0]"),
    "value": (lambda thing, bad: setattr(thing, "x", {"y": bad}), "value['y']"),
    "item": (lambda thing, bad: thing.items.__setitem__("k", bad), "value"),
    "key": (lambda thing, bad: thing.items[bad].get_(), "key"),
    "in": (lambda thing, bad: bad in thing, "key"),
    "closure": (lambda thing, bad: thing.passto(lambda _: bad), "func closure variable 'bad'"),
    "passto": (lambda thing, bad: thing.passto(double, plus=bad), "plus"),
}


@pytest.mark.parametrize("bad", [threading.Lock(), Sticky()], ids=["lock", "hostile"])
def test_an_unsendable_argument_names_its_path_and_nothing_is_sent(
    thing: Any, sent: list[int], bad: Any
) -> None:
    for name, (operation, path) in UNSENDABLE.items():
        with about(name):
            sent.clear()
            with pytest.raises(UnsendableError) as caught:
                operation(thing, bad)
            assert caught.value.path == path
            assert caught.value.__cause__ is not None
            assert sent == []
            assert thing.n.__ == 1


def test_an_unsendable_result_is_its_callers_error_and_the_actor_lives_on(thing: Any) -> None:
    with pytest.raises(UnsendableError) as caught:
        thing.passto(lambda _: [1, {"lock": threading.Lock()}])
    assert caught.value.path == "result[1]['lock']"
    assert thing.n.__ == 1


def test_an_unsendable_attribute_can_still_be_used_over_there(thing: Any) -> None:
    thing.passto(lambda obj: setattr(obj, "lock", threading.Lock()))
    with pytest.raises(UnsendableError):
        thing.lock.get_()
    assert thing.lock.acquire() is True
    assert thing.lock.locked() is True


def test_an_unsendable_item_ends_its_stream_alone(thing: Any) -> None:
    def items(_: Any) -> Iterator[Any]:
        yield 1
        yield threading.Lock()

    stream = thing.passto(items)
    assert next(stream) == 1
    with pytest.raises(UnsendableError):
        next(stream)
    assert thing.n.__ == 1


def many_views(_: Any) -> Any:
    array = np.zeros(40_000, "u1")
    return [array[:] for _ in range(65_537)]


@homes("fork")
def test_a_result_of_very_many_arrays_does_not_end_the_actor(thing: Any) -> None:
    def answer(obj: Any) -> Any:
        # Where the reply would be written: its head alone tells.
        return len(reply_frame(many_views(obj))) > 0

    assert thing.passto(answer)
    assert thing.n.__ == 1


def unpickle_to(error: BaseException) -> Any:
    raise error


class Trap:
    """Raises where it is unpickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return unpickle_to, (self.error,)


class Unrepeatable(Exception):
    pass


@homes(*WIRED)
def test_a_bad_unpickle_over_there_fails_only_that_call(thing: Any) -> None:
    with pytest.raises(Unrepeatable, match="there"):
        thing.echo(Trap(Unrepeatable("there")))
    assert thing.n.__ == 1


def make_trap(_: Any, error: BaseException) -> Any:
    return Trap(error)


def make_traps(_: Any, error: BaseException) -> Iterator[Any]:
    yield 1
    yield Trap(error)
    yield 3


@homes(*WIRED)
def test_a_bad_unpickle_here_fails_only_that_call(thing: Any) -> None:
    with pytest.raises(Unrepeatable, match="here"):
        thing.passto(make_trap, Unrepeatable("here"))
    assert thing.n.__ == 1


def test_what_would_end_the_callers_loop_when_it_is_unpickled_arrives_wrapped(thing: Any) -> None:
    operations: list[Callable[[BaseException], object]] = [
        lambda error: thing.passto(make_trap, error),
        lambda error: thing.echo(Trap(error)),
    ]
    for error in ENDING:
        for operation in operations:
            with about(type(error).__name__):
                with pytest.raises(RemoteError) as caught:
                    operation(error)
                assert type(caught.value.__cause__) is type(error)
                assert thing.n.__ == 1


@homes(*WIRED)
def test_a_value_that_stops_iteration_when_it_is_unpickled_ends_no_stream(thing: Any) -> None:
    stream = thing.passto(make_traps, StopIteration("s"))
    assert next(stream) == 1
    with pytest.raises(RemoteError):
        next(stream)
