"""Records of `logging` from actors, as their owner's handlers see them."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import pytest

from remoteobj import ActorDiedError, remote, util
from tests.conftest import Launch
from tests.forks import code_of, in_child
from tests.tools import Scripts, until

LOGGER = "tests.of_actors"
LOST = " records of this actor are lost: its owner did not take them in time"


class Unsendable:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "<unsendable>"


@remote
class Talker:
    def __init__(self, word: str = "") -> None:
        if word:
            logging.getLogger(LOGGER).info("born: %s", word)

    def say(self, *words: str, level: int = logging.INFO) -> None:
        for word in words:
            logging.getLogger(LOGGER).log(level, "says %s", word)

    def fail(self) -> None:
        try:
            raise KeyError("lost")
        except KeyError:
            logging.getLogger(LOGGER).exception("it failed")

    def say_oddly(self) -> None:
        odd = Unsendable()
        extra = {"number": 7, "odd": odd, "big": bytes(1 << 21)}
        logging.getLogger(LOGGER).info("odd: %s", odd, extra=extra)
        logging.getLogger(LOGGER).info("%d", "no number")

    def have_other_say(self, launch: Launch) -> str:
        with Talker.options(**launch).spawn() as other:
            other.say("from within")
            return str(other.name_)

    def say_last_words(self, count: int) -> None:
        self.say(*map(str, range(count)))
        os.kill(os.getpid(), signal.SIGKILL)

    def handlers(self) -> int:
        root = logging.getLogger()
        return len(root.handlers) + len(logging.getLogger(LOGGER).handlers)

    def keep_own(self) -> list[str]:
        """What a handler of its own sees."""
        seen: list[str] = []

        class Own(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                seen.append(record.getMessage())

        logging.getLogger(LOGGER).addHandler(Own())
        self.say("to both")
        return seen

    def have_a_child_say(self, expected: str, **levels: int) -> int:
        """Whether a child process, which is no actor, writes that and no more: 0 if so."""

        def child() -> bool:
            with redirect_stderr(io.StringIO()) as written:
                for word, level in levels.items():
                    self.say(word, level=level)
            return written.getvalue() == expected

        return code_of(in_child(child))

    def say_in_threads(self, threads: int, each: int) -> None:
        def run(number: int) -> None:
            for count in range(each):
                logging.getLogger(LOGGER).info("%d %d", number, count)

        running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    @remote.cleanup
    def close(self) -> None:
        logging.getLogger(f"{LOGGER}.cleanup").warning("cleaned up")


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The records of the logger of these tests, and of those below."""
    with caplog.at_level(logging.INFO, LOGGER):
        yield caplog


def words(seen: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in seen.records if record.name == LOGGER]


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def talkers(request: pytest.FixtureRequest) -> Any:
    return Talker.options(start_method=request.param)


def test_each_record_reaches_the_owner_once_and_in_order_with_the_name_of_its_actor(
    talkers: Any, seen: pytest.LogCaptureFixture
) -> None:
    with talkers.options(name="talker").spawn("hello") as talker:
        talker.say(*map(str, range(50)))
        pid = talker.pid_
    assert words(seen) == ["born: hello", *(f"says {number}" for number in range(50))]
    assert {record.processName for record in seen.records} == {"talker"}
    assert {record.process for record in seen.records} == {pid}
    assert [r.getMessage() for r in seen.records if r.name == f"{LOGGER}.cleanup"] == ["cleaned up"]


def test_what_an_exception_was_arrives_whole(talkers: Any, seen: pytest.LogCaptureFixture) -> None:
    with talkers.spawn() as talker:
        talker.fail()
    (record,) = (one for one in seen.records if one.name == LOGGER)
    assert record.exc_info is not None
    kind, error, traceback = record.exc_info
    assert (kind, error and error.args) == (KeyError, ("lost",))
    assert traceback is not None
    assert "in fail" in seen.text


def test_what_was_logged_before_a_kill_is_handled_after_it(
    talkers: Any, seen: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ActorDiedError), talkers.spawn() as talker:
        talker.say_last_words(20)
    assert words(seen) == [f"says {number}" for number in range(20)]


def test_records_of_an_actor_of_an_actor_arrive_once_under_its_own_name(
    talkers: Any, seen: pytest.LogCaptureFixture
) -> None:
    with talkers.options(name="outer").spawn() as talker:
        inner = talker.have_other_say({"name": "inner"})
    assert inner == "inner"
    assert words(seen) == ["says from within"]
    assert {r.processName for r in seen.records if r.name == LOGGER} == {"inner"}


def test_the_owner_s_levels_decide_at_the_start_and_when_a_record_arrives(
    talkers: Any, seen: pytest.LogCaptureFixture
) -> None:
    with talkers.spawn() as talker:
        talker.say("too low", level=logging.DEBUG)
        talker.say("enough")
        until(lambda: words(seen) == ["says enough"])
        seen.set_level(logging.ERROR, LOGGER)
        talker.say("too low now")
        talker.say("high", level=logging.ERROR)
    assert words(seen) == ["says enough", "says high"]


def say_and_yield() -> Iterator[int]:
    logging.getLogger(LOGGER).info("from a function")
    yield 1
    logging.getLogger(LOGGER).info("and its end")


def test_records_of_a_function_in_a_process_arrive_too(
    seen: pytest.LogCaptureFixture, start_method: str
) -> None:
    with util.process(say_and_yield, start_method_=start_method) as process:
        assert list(process.result) == [1]
    assert words(seen) == ["from a function", "and its end"]


def test_the_option_leaves_logging_as_it_is(talkers: Any, seen: pytest.LogCaptureFixture) -> None:
    with talkers.options(logging=False).spawn() as talker:
        talker.say("to nobody here")
    assert words(seen) == []


def test_handlers_of_a_fork_s_owner_are_silent_there_and_those_of_its_own_work(
    seen: pytest.LogCaptureFixture,
) -> None:
    assert logging.getLogger().handlers, "pytest has some"
    with Talker.options(start_method="fork").spawn() as talker:
        assert talker.handlers() == 1, "what sends to the owner"
        assert talker.keep_own() == ["says to both"]
    assert words(seen) == ["says to both"]


def test_a_process_that_an_actor_forks_writes_its_warnings_and_errors_alone(
    seen: pytest.LogCaptureFixture,
) -> None:
    with Talker.options(start_method="fork").spawn() as talker:
        levels = {"told": logging.INFO, "warned": logging.WARNING}
        assert talker.have_a_child_say("says warned\n", **levels) == 0
    assert words(seen) == []


def test_a_logger_that_tells_no_other_reaches_its_own_handlers_alone() -> None:
    own, told = logging.getLogger(f"{LOGGER}.own"), []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.processName)

    handler = Handler()
    own.addHandler(handler)
    own.propagate = False
    own.setLevel(logging.INFO)
    try:
        with Talker.options(start_method="fork", name="own").spawn() as talker:
            talker.passto(lambda _: logging.getLogger(f"{LOGGER}.own").info("x"))
    finally:
        own.removeHandler(handler)
        own.propagate = True
    assert told == ["own"]


def test_what_can_t_be_sent_of_a_record_is_told_in_words(
    talkers: Any, seen: pytest.LogCaptureFixture
) -> None:
    with talkers.spawn() as talker:
        talker.say_oddly()
    odd, wrong = (one for one in seen.records if one.name == LOGGER)
    assert odd.getMessage() == "odd: <unsendable>"
    assert (vars(odd)["number"], vars(odd)["odd"]) == (7, "<unsendable>")
    assert vars(odd)["big"] == bytes(1 << 21), "what can be sent is, however big it is"
    assert "no number" in wrong.getMessage()


def test_threads_of_an_actor_log_at_once_and_each_keeps_its_order(
    seen: pytest.LogCaptureFixture,
) -> None:
    with Talker.spawn() as talker:
        talker.say_in_threads(4, 200)
    told = [tuple(map(int, word.split())) for word in words(seen)]
    assert sorted(told) == [(thread, count) for thread in range(4) for count in range(200)]
    for thread in range(4):
        assert [count for number, count in told if number == thread] == list(range(200))


def test_an_actor_is_asked_and_answers_while_it_logs(seen: pytest.LogCaptureFixture) -> None:
    with Talker.spawn() as talker:
        logged = talker.future_.say_in_threads(2, 500)
        states = [talker.status_().state for _ in range(50)]
        logged.result()
    assert set(states) <= {"running", "idle"}
    assert len(words(seen)) == 1000


@contextmanager
def stuck_handler(name: str = LOGGER) -> Iterator[threading.Event]:
    """A handler that does not return until the event is set."""
    go_on = threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            go_on.wait(30)

    handler = Stuck()
    logging.getLogger(name).addHandler(handler)
    try:
        yield go_on
    finally:
        go_on.set()
        logging.getLogger(name).removeHandler(handler)


def test_a_handler_that_hangs_holds_up_no_call_and_no_end(seen: pytest.LogCaptureFixture) -> None:
    with stuck_handler() as go_on:
        with Talker.spawn() as talker:
            talker.say("a", "b")
            assert talker.handlers() == 1
            assert talker.future_.handlers().result() == 1
        go_on.set()
        until(lambda: len(words(seen)) == 2)


def test_a_handler_that_hangs_at_the_last_record_holds_up_no_end(
    seen: pytest.LogCaptureFixture,
) -> None:
    last = f"{LOGGER}.cleanup"
    with stuck_handler(last) as go_on:
        with Talker.spawn() as talker:
            talker.say("a")
        assert not go_on.is_set()
        go_on.set()
        until(lambda: last in {record.name for record in seen.records})
    assert words(seen) == ["says a"]


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_owner_that_takes_no_records_holds_an_actor_up_for_a_moment_and_is_told_what_is_lost(
    seen: pytest.LogCaptureFixture, goes_on: bool
) -> None:
    long = "x" * 4096

    def told() -> list[str]:
        return [one.getMessage() for one in seen.records if one.name == "remoteobj"]

    with stuck_handler() as go_on, Talker.spawn() as talker:
        talker.say(*[long] * 500)
        go_on.set()
        if goes_on:
            until(told)  # although it logs nothing more
            talker.say("again")
    handled = [one.getMessage() for one in seen.records if one.name.startswith(LOGGER)]
    lost = sum(int(word.removesuffix(LOST)) for word in told())
    assert lost > 0
    assert len(handled) + lost == 500 + goes_on + 1, "with that of the cleanup"
    assert "says again" in handled or not goes_on


PROGRAM = """
import logging, sys
from remoteobj import remote

@remote
class Quiet:
    def loaded(self):
        return "logging" in sys.modules
    def log(self):
        import logging
        logging.getLogger("a.b").warning("late")

if __name__ == "__main__":
    logging.basicConfig(format="%(processName)s %(name)s %(message)s", stream=sys.stdout)
    with Quiet.options(name="quiet", start_method="spawn", main="import").spawn() as quiet:
        print(quiet.loaded())
        quiet.log()
"""


def test_a_process_imports_logging_only_if_its_own_code_does(script: Scripts) -> None:
    source = PROGRAM.replace("import logging, sys\n", "import sys\n").replace(
        'if __name__ == "__main__":\n', 'if __name__ == "__main__":\n    import logging\n'
    )
    program = script(source)
    ended = program.finish()
    assert ended.out.splitlines() == ["False", "quiet a.b late"], ended.err


def test_an_owner_that_knows_no_logging_has_no_thread_for_it() -> None:
    threads = {thread.name for thread in threading.enumerate()}
    with Talker.options(logging=False).spawn() as talker:
        talker.handlers()
        assert {one.name for one in threading.enumerate()} - threads <= {"remoteobj-reactor"}
    assert sys.modules["logging"] is logging


PROGRAM_OF_TWO = """
import sys
from remoteobj import remote

@remote
class Inner:
    def log(self):
        import logging
        logging.getLogger("a.b").warning("from within")

@remote
class Outer:
    def have_inner_log(self):
        before = "logging" in sys.modules
        with Inner.options(name="inner", start_method="spawn", main="import").spawn() as inner:
            inner.log()
        return before

if __name__ == "__main__":
    import logging
    logging.basicConfig(format="%(processName)s %(name)s %(message)s", stream=sys.stdout)
    with Outer.options(start_method="spawn", main="import").spawn() as outer:
        print(outer.have_inner_log())
"""


def test_an_actor_that_does_not_log_itself_passes_on_what_its_own_actors_log(
    script: Scripts,
) -> None:
    ended = script(PROGRAM_OF_TWO).finish()
    assert sorted(ended.out.splitlines()) == ["False", "inner a.b from within"], ended.err
