"""Faults 13 to 26: values and exceptions that do not travel, or do harm where they arrive."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteobj import Except, RemoteError, UnsendableError, util
from tests.faults._actors import DEATH, ORPHAN, Subject
from tests.faults._table import fault
from tests.faults.conftest import Within
from tests.internals import Decoder, Frame, Kind, MalformedFrameError, encode, spy_on_calls
from tests.tools import Scripts, ended, until_gone

ROOT = Path(__file__).parents[2]


@pytest.fixture
def actor() -> Iterator[Any]:
    with ended(Subject.spawn()) as handle:
        yield handle
        assert handle.echo("the next answer") == "the next answer"


class Unsendable:
    def __reduce__(self) -> Any:
        raise ValueError("stays here")


class Trap:
    """Raises where it is unpickled."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return spring, (self.kind,)


def spring(kind: type[BaseException]) -> None:
    raise kind("it is a trap")


# ------------------------------------------------------------------ values


@fault(
    13,
    "An argument that cannot be pickled",
    sees="the call raises `UnsendableError` with the path to the part; nothing is sent",
)
def test_13_an_argument_that_can_not_be_pickled_is_refused_and_nothing_is_sent(
    actor: Any, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    spy_on_calls(monkeypatch, sent.append)
    for culprit in (threading.Lock(), Unsendable()):
        with within(DEATH), pytest.raises(UnsendableError) as caught:
            actor.note({"parts": [culprit]})
        assert caught.value.path == "args[0]['parts'][0]"
    assert sent == []
    assert actor.notes.get_() == []


@fault(
    14,
    "An argument that cannot be unpickled in the actor",
    sees="only this call raises the error",
)
def test_14_an_argument_that_fails_to_unpickle_fails_its_call_alone(
    actor: Any, within: Within
) -> None:
    with within(DEATH), pytest.raises(ValueError, match="it is a trap"):
        actor.note(Trap(ValueError))
    assert actor.notes.get_() == []


@fault(
    15,
    "Unpickling that raises `SystemExit` or `KeyboardInterrupt`, on either side",
    sees="`RemoteError` with that exception as its cause; neither process ends",
)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_15_unpickling_that_exits_fails_its_call_alone_on_either_side(
    actor: Any, kind: type[BaseException], within: Within
) -> None:
    with within(DEATH), pytest.raises(RemoteError) as caught:
        actor.note(Trap(kind))
    assert type(caught.value.__cause__) is kind
    with within(DEATH), pytest.raises(RemoteError) as caught:
        actor.passto(lambda _: Trap(kind))
    assert type(caught.value.__cause__) is kind


@fault(
    16,
    "A result that cannot be pickled",
    sees="`UnsendableError` with the name of its type and the path to the part",
)
def test_16_a_result_that_can_not_be_pickled_is_named(actor: Any, within: Within) -> None:
    with within(DEATH), pytest.raises(UnsendableError, match=r"_thread\.lock") as caught:
        actor.lock()
    assert caught.value.path == "result['locks'][0]"


class Unspeakable(Exception):
    """Holds what can't be pickled."""

    def __init__(self) -> None:
        super().__init__("unspeakable")
        self.lock = threading.Lock()


@fault(
    17,
    "An exception that cannot be pickled",
    sees=(
        "that exception; a part that cannot be pickled gives the reason when it is used, and "
        "a note names it"
    ),
)
def test_17_an_exception_that_can_not_be_pickled_arrives_as_its_own_type(
    actor: Any, within: Within
) -> None:
    with within(DEATH), pytest.raises(Unspeakable, match="unspeakable") as caught:
        actor.throw(Unspeakable)
    with pytest.raises(UnsendableError, match=r"'lock' of the exception is not here"):
        caught.value.lock.acquire()
    assert caught.value.__notes__[0].startswith("lock is a stand-in: it can't be pickled")


class Misfit(Exception):
    """To call its class with its `args` fails."""

    def __init__(self, tray: int, *, pages: int) -> None:
        super().__init__(f"tray {tray} is short of {pages} pages")
        self.tray, self.pages = tray, pages


@fault(
    18,
    "An exception whose `__init__` does not fit its `args`",
    sees="that exception, complete",
)
def test_18_an_exception_whose_init_does_not_fit_its_args_arrives_whole(
    actor: Any, within: Within
) -> None:
    with within(DEATH), pytest.raises(Misfit) as caught:
        actor.throw(lambda: Misfit(2, pages=7))
    assert vars(caught.value) == {"tray": 2, "pages": 7}
    assert caught.value.args == ("tray 2 is short of 7 pages",)


def frames_of(error: BaseException | None) -> list[str]:
    """The functions in an exception's traceback."""
    assert error is not None
    names, traceback = [], error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


@fault(
    19,
    (
        "An exception with cause, context, notes and members, of a class that was made after "
        "the start"
    ),
    sees="all of them, each with its traceback; `except` with its class catches it",
)
def test_19_all_that_belongs_to_an_exception_arrives(start_method: str, within: Within) -> None:
    with Subject.options(start_method=start_method).spawn() as actor:

        class LateError(Exception):
            pass

        def deep(_: object) -> None:
            try:
                raise KeyError("missing")
            except KeyError:
                try:
                    raise OSError("the cause")
                except OSError as cause:
                    error = LateError("late")
                    error.add_note("a note")
                    raise error from cause

        def grouped(_: object) -> None:
            members: list[Exception] = []
            for one in (deep, lambda _: 1 / 0):
                try:
                    one(None)
                except Exception as error:
                    members.append(error)
            raise ExceptionGroup("both", members)

        with within(DEATH), pytest.raises(LateError) as caught:
            actor.passto(deep)
        assert type(caught.value) is LateError
        assert caught.value.__notes__ == ["a note"]
        assert frames_of(caught.value)[-1] == "deep"
        assert repr(caught.value.__cause__) == "OSError('the cause')"
        assert frames_of(caught.value.__cause__) == ["deep"]
        assert caught.value.__cause__ is not None
        assert repr(caught.value.__cause__.__context__) == "KeyError('missing')"
        with within(DEATH), pytest.raises(ExceptionGroup) as group:
            actor.passto(grouped)
        late, zero = group.value.exceptions
        assert type(late) is LateError
        assert type(zero) is ZeroDivisionError
        assert frames_of(late) == ["grouped", "deep"]
        assert frames_of(zero) == ["grouped", "<lambda>"]
        assert actor.ping() == "pong"


def recurse(_: object) -> Any:
    return recurse(_)


@fault(20, "A `RecursionError`", sees="that `RecursionError`, with its long traceback")
def test_20_a_recursion_error_arrives_with_its_traceback(actor: Any, within: Within) -> None:
    with within(DEATH), pytest.raises(RecursionError) as caught:
        actor.passto(recurse)
    assert frames_of(caught.value).count("recurse") > 500


@fault(21, "A `MemoryError`", sees="that `MemoryError`; the actor goes on")
def test_21_a_memory_error_arrives(actor: Any, within: Within) -> None:
    with within(DEATH), pytest.raises(MemoryError):
        actor.passto(lambda _: bytearray(1 << 62))


@fault(
    22,
    "A value whose unpickling kills the calling process",
    sees="the calling process dies and its actors end; see the page on errors",
)
def test_22_that_a_value_can_kill_who_unpickles_it_is_documented(
    script: Scripts, within: Within
) -> None:
    client = script("""
        class Deadly:
            def __reduce__(self):
                return os._exit, (5,)
        @remote
        class Actor:
            pass
        actor = Actor.spawn()
        say(actor.pid_)
        actor.passto(lambda _: Deadly())
    """)
    pid = int(client.line())
    with within(ORPHAN):
        assert client.finish() == (5, "", "")
    assert until_gone(pid, ORPHAN)
    text = " ".join((ROOT / "docs/guide/errors.md").read_text("utf-8").split())
    assert "A value whose unpickling kills the process" in text


# ------------------------------------------------------------------ what would end a loop


@fault(
    23,
    "A method raises `SystemExit`",
    sees=(
        "`RemoteError` with that exception, and its exit code, as its cause; neither process ends"
    ),
)
def test_23_system_exit_of_a_method_ends_nothing(start_method: str, within: Within) -> None:
    with Subject.options(start_method=start_method).spawn() as actor:
        with within(DEATH), pytest.raises(RemoteError, match="SystemExit: 3") as caught:
            actor.passto(lambda _: sys.exit(3))
        assert isinstance(caught.value.__cause__, SystemExit)
        assert caught.value.__cause__.code == 3
        assert actor.ping() == "pong"


@fault(
    24,
    "A method raises `KeyboardInterrupt`, `GeneratorExit` or `StopIteration`",
    sees=(
        "`RemoteError` with that exception as its cause; no loop of the actor or of the caller ends"
    ),
)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, StopIteration])
def test_24_what_would_end_a_loop_reaches_the_caller_wrapped(
    actor: Any, kind: type[BaseException], within: Within
) -> None:
    def rounds() -> Iterator[str]:
        for _ in range(3):
            try:
                actor.throw(lambda: kind("enough"))
            except RemoteError as error:
                assert type(error.__cause__) is kind
                yield "and on"

    with within(DEATH):
        assert list(rounds()) == ["and on"] * 3


# ------------------------------------------------------------------ large, and odd

HUGE = (1 << 31) + (1 << 26)
"""Past what a signed number of 32 bits can count."""


@fault(25, "A message of more than 2 GiB", sees="it arrives complete, in both directions")
@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["shared memory", "pipe"])
def test_25_more_than_two_gibibytes_arrive_whole(way: str, within: Within) -> None:
    kind: Callable[[int], Any] = bytes if way == "shared memory" else lambda n: "x" * n
    value = kind(HUGE)
    with Subject.spawn() as actor:
        with within(60.0):
            back = actor.echo(value)
        assert len(back) == HUGE
        assert back == value
        assert actor.ping() == "pong"


@fault(
    25,
    "A frame of more than 2 GiB, in the code of each side",
    sees="its length is written and read correctly",
)
def test_25_the_length_of_a_frame_is_not_cut_off_at_two_gibibytes(within: Within) -> None:
    class Long:
        """As long as it says, without the memory for it."""

        def __len__(self) -> int:
            return HUGE

    long: Any = Long()
    for payload, buffers in ((b"", [long]), (long, [])):
        head = bytes(encode(Frame(Kind.CALL, 1, payload, buffers))[0])
        # Where it is one too long, whoever reads it says what it has read, and takes no memory.
        with within(DEATH), pytest.raises(MalformedFrameError, match=f"^{HUGE} bytes are more"):
            Decoder(limit=HUGE - 1).feed(head)
        Decoder().feed(head)


@fault(
    26,
    "NumPy arrays as arguments, results, indices, defaults and records",
    sees=("the arrays; no comparison of arrays, which gives an array, is used as true or false"),
)
def test_26_arrays_may_stand_wherever_a_value_may(within: Within) -> None:
    array = np.arange(4)
    exc = Except()
    with Subject.options(exc=exc).spawn() as actor, within(DEATH):
        assert (actor.echo(array) == array).all()
        assert (actor.future_.echo(array).result() == array).all()
        assert (actor.echo({"key": [array, array]})["key"][1] == array).all()
        assert [(one == array).all() for one in actor.passto(lambda _: iter([array] * 3))]
        actor.grid = np.zeros(4)
        actor.grid[array > 1] = array[:2]
        assert actor.grid[array].__.tolist() == [0, 0, 0, 1]
        with pytest.raises(ValueError) as caught:
            actor.throw(lambda: ValueError(array))
        assert (caught.value.args[0] == array).all()
        exc.set_result(array)
        assert (exc.get_result() == array).all()
    assert actor.get_(default=array) is actor.with_(timeout=1).get_(default=array) is array
    assert actor.with_(default=array).echo(1) is array
    with util.process(lambda value: value, array) as returned:
        pass
    assert (returned.result == array).all()
    exc.close()
