"""The tree of errors: what each is, what it says, and that it survives every way of travelling."""

import copy
import pickle
from collections.abc import Callable
from signal import SIGSEGV, Signals

import pytest

from remoteobj import errors
from remoteobj.errors import (
    ActorDiedError,
    CallTimeoutError,
    DeadlockError,
    ExitReport,
    NameTakenError,
    NotListeningError,
    RemoteError,
    RemoteObjError,
    RestartLimitError,
    SpawnTimeoutError,
    UnsendableError,
)
from tests.internals import sent, sent_error

EXAMPLES: list[RemoteObjError] = [
    RemoteObjError("a"),
    NotListeningError("b"),
    ActorDiedError(
        "c",
        report=ExitReport(exitcode=-SIGSEGV, last_stack="File x", last_output="bye"),
        maybe_executed=False,
    ),
    ActorDiedError.from_exit(ExitReport("counter", exitcode=3, last_stack="File x")),
    SpawnTimeoutError("d"),
    CallTimeoutError("e", remote_stack="File y", queued_ahead=["?.a()", "?.b()"]),
    UnsendableError("f", path="args[0]['lock']"),
    DeadlockError("g"),
    RestartLimitError("i", reports=[ExitReport("counter", exitcode=-9)]),
    NameTakenError("j"),
    RemoteError("h", type_name="lab.Jam", remote_traceback="Traceback ..."),
]

WAYS: dict[str, Callable[[RemoteObjError], BaseException]] = {
    "copy": copy.copy,
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "pickle-0": lambda error: pickle.loads(pickle.dumps(error, 0)),
    "codec": sent,
    "outcome": sent_error,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_arrives_with_its_attributes(
    error: RemoteObjError, way: Callable[[RemoteObjError], BaseException]
) -> None:
    got = way(error)
    assert type(got) is type(error)
    assert got.args == error.args
    assert str(got) == str(error)
    assert vars(got) == vars(error)


def test_every_error_of_the_tree_is_among_the_examples() -> None:
    assert {type(error).__name__ for error in EXAMPLES} == set(errors.__all__) - {
        "ExitReason",
        "ExitReport",
    }


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (NotListeningError, RuntimeError),
        (ActorDiedError, RuntimeError),
        (SpawnTimeoutError, TimeoutError),
        (CallTimeoutError, TimeoutError),
        (UnsendableError, TypeError),
        (DeadlockError, RuntimeError),
        (RestartLimitError, RuntimeError),
        (NameTakenError, ValueError),
        (RemoteError, Exception),
    ],
)
def test_each_error_is_also_the_builtin_that_people_catch(
    cls: type[RemoteObjError], builtin: type[Exception]
) -> None:
    assert issubclass(cls, RemoteObjError)
    assert issubclass(cls, builtin)


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [
        (-9, "was killed by SIGKILL"),
        (-250, "was killed by signal 250"),
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (None, "died"),
    ],
)
def test_a_death_says_how(exitcode: int | None, words: str) -> None:
    assert str(ActorDiedError.from_exit(ExitReport("cam", exitcode=exitcode))) == f"cam {words}"


def test_a_death_takes_its_signal_from_the_exit_code() -> None:
    terminated, failed = ExitReport("x", exitcode=-15), ExitReport("x", exitcode=1)
    assert ActorDiedError("x", report=terminated).signal is Signals.SIGTERM
    assert ActorDiedError.from_exit(terminated).signal is Signals.SIGTERM
    assert ActorDiedError("x", report=failed).signal is None


@pytest.mark.parametrize(
    ("maybe", "words"), [(True, "may have been executed"), (False, "was not executed")]
)
def test_a_death_says_whether_the_call_may_have_been_executed(maybe: bool, words: str) -> None:
    error = ActorDiedError.from_exit(ExitReport("cam", exitcode=1), maybe_executed=maybe)
    assert str(error).endswith(f"the call {words}")


def test_a_death_says_what_it_failed_with() -> None:
    failed = ExitReport("camera-1", reason="failed", error=OSError("unplugged"))
    error = ActorDiedError.from_exit(failed, maybe_executed=False)
    assert str(error) == "camera-1 failed with OSError: unplugged; the call was not executed"
    assert error.__cause__ is failed.error


def test_a_death_shows_the_last_stack_and_output() -> None:
    report = ExitReport("cam", exitcode=1, last_stack="in f\n", last_output="hi\n")
    error = ActorDiedError.from_exit(report)
    assert str(error).endswith("\n\nIts last stack:\nin f\n\nIts last output:\nhi")


HOSTILE = "\x1b]0;title\x07\x1b[2Ja\tb\nc\x9b31m\x7f\r\x00\x85d"
SHOWN = "\\x1b]0;title\\x07\\x1b[2Ja\tb\nc\\x9b31m\\x7f\\x0d\\x00\\x85d"


def test_a_message_names_ten_of_the_calls_ahead_and_counts_the_others() -> None:
    ahead = [f"?.step{number}(...)" for number in range(1200)]
    error = CallTimeoutError.while_running("late", running=None, queued_ahead=ahead)
    assert str(error).endswith("it has to run " + ", ".join(ahead[:10]) + " and 1,190 more")
    assert error.queued_ahead == tuple(ahead)


def test_what_an_actor_has_said_steers_no_terminal_of_who_reads_the_error() -> None:
    report = ExitReport("cam", exitcode=1, last_stack=HOSTILE, last_output=HOSTILE, running=HOSTILE)
    error = ActorDiedError.from_exit(report, maybe_executed=True)
    assert str(error).count(SHOWN) == 3
    assert SHOWN in str(report)
    timeout = CallTimeoutError.while_running("late", running=HOSTILE, remote_stack=HOSTILE)
    assert str(timeout).count(SHOWN) == 2
    for text in (str(error), str(report), str(timeout), repr(report), repr(error)):
        assert all(char.isprintable() or char in "\n\t" for char in text)
    assert error.last_output == report.last_output == HOSTILE
    assert timeout.remote_stack == HOSTILE


def test_a_remote_error_shows_the_remote_traceback() -> None:
    assert str(RemoteError("m", remote_traceback="T\n")) == "m\n\nRemote traceback:\nT"
    assert str(RemoteError("m")) == "m"
