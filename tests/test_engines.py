"""The seam between an actor and the place where it lives: the contract that every engine keeps."""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from remoteobj._engines.contract import Instance, LaunchSpec, OwnerLink, ProgramFailedError
from remoteobj._engines.registry import engine_named
from remoteobj._pickling.exceptions import pack_error
from remoteobj._protocol.frames import encode
from remoteobj._protocol.messages import Frame, Kind
from remoteobj._wire.channel import ChannelClosedError, StreamChannel
from tests.conftest import Launch

NO_THREAD = {
    "inline": "has no thread in which a program could run",
    "ray": "finds a program by the address that only the one of an actor has",
}


class Thing:
    """What the user gave."""

    def __init__(self, word: str) -> None:
        self.word = word


class Echo:
    """Says a word and its process, then waits until it is told to end: to fail, by a CAST."""

    def __init__(self, thing: Thing) -> None:
        self._thing = thing

    def run(self, link: OwnerLink) -> None:
        data, control = StreamChannel(link.data), StreamChannel(link.control)
        data.write(encode(Frame(Kind.VALUE, os.getpid(), self._thing.word.encode())))
        del self._thing
        control.wait(None)
        with contextlib.suppress(ChannelClosedError):  # its owner has let go of it
            if control.take()[0].kind == Kind.CAST:
                raise ProgramFailedError(pack_error(ValueError("told to fail")))

    def begin(self, link: OwnerLink) -> Callable[[], None]:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def parts(self) -> Iterable[tuple[str, object]]:
        return [("thing", self._thing)]

    @staticmethod
    def describe(request: bytes) -> str:
        return "an echo"


@contextlib.contextmanager
def ending(instance: Instance) -> Iterator[Instance]:
    """Whatever becomes of it in a test, it does not outlive it."""
    try:
        yield instance
    finally:
        with contextlib.suppress(ChannelClosedError):
            instance.control.write(encode(Frame(Kind.STOP, 0)))
        assert instance.wait(10)
        instance.release()


def spec_of(launch: Launch, thing: Thing) -> LaunchSpec:
    return LaunchSpec(Echo(thing), "echo", start_method=launch.get("start_method"))


def said_by(instance: Instance) -> Frame:
    instance.data.wait(None)
    return instance.data.take()[0]


@pytest.mark.engines(skip=NO_THREAD)
def test_what_was_launched_can_be_launched_again(launch: Launch) -> None:
    engine, spec = engine_named(launch["engine"]), spec_of(launch, Thing("hi"))
    with ending(engine.launch(spec)) as first, ending(engine.launch(spec)) as second:
        words = [said_by(one) for one in (first, second)]
        assert [word.payload for word in words] == [b"hi", b"hi"]
        assert [word.call_id for word in words] == [first.pid, second.pid]
        assert (first.pid != second.pid) == (launch["engine"] == "process")
    with ending(engine.launch(spec)) as third:
        assert said_by(third).payload == b"hi"


@pytest.mark.engines(skip=NO_THREAD)
def test_an_instance_keeps_nothing_of_what_it_was_launched_by(launch: Launch) -> None:
    thing = Thing("hi")
    gone = weakref.ref(thing)
    spec = spec_of(launch, thing)
    with ending(engine_named(launch["engine"]).launch(spec)) as instance:
        assert said_by(instance).payload == b"hi"
        del spec, thing
        assert gone() is None


@pytest.mark.engines(skip=NO_THREAD)
@pytest.mark.parametrize(("kind", "reason"), [(Kind.STOP, "stopped"), (Kind.CAST, "failed")])
def test_a_program_says_by_its_end_how_it_ended(launch: Launch, kind: int, reason: str) -> None:
    told: list[Any] = []
    spec = spec_of(launch, Thing("hi"))
    with ending(engine_named(launch["engine"]).launch(spec)) as instance:
        instance.control.write(encode(Frame(kind, 0)))
        assert instance.wait(10)
        instance.on_exit(told.append)
        assert told == [instance.exit_report()] or reason == "failed"
        assert told[0].reason == reason
        assert repr(told[0].error) == (
            "None" if reason == "stopped" else "ValueError('told to fail')"
        )
