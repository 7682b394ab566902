"""What the error of a death tells: stacks, last words, the call that ran, and lack of memory."""

import contextlib
import errno
import os
import signal
import sys
from typing import Any

import pytest

from remoteobj import ActorDiedError, util
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import LAST_OUTPUT, START_PARTS, StartPart, fail_start, recorder_lock
from tests.tools import Call
from tests.watching.millers import NO_OUTPUT, NO_RECORDER, PROCESSES, Miller


@pytest.mark.engines(skip={**PROCESSES, **NO_OUTPUT})
def test_a_crash_in_c_comes_with_its_stacks_and_the_memory_that_was_used(launch: Launch) -> None:
    miller: Any = Miller.options(**launch).spawn()
    with pytest.raises(ActorDiedError, match="SIGSEGV") as caught:
        miller.crash()
    assert caught.value.last_stack is not None
    assert "Segmentation fault" in caught.value.last_stack
    assert "in crash" in caught.value.last_stack
    if launch["start_method"] != "forkserver":  # there it is the child of another process
        assert caught.value.peak_memory is not None
        assert caught.value.peak_memory > 1 << 20
    assert caught.value.out_of_memory is False
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip={**PROCESSES, **NO_OUTPUT})
@pytest.mark.parametrize("count", [3, 5000])
def test_the_last_words_on_stderr_are_kept(launch: Launch, count: int) -> None:
    miller: Any = Miller.options(**launch).spawn()
    with pytest.raises(ActorDiedError, match="exited with code 7") as caught:
        miller.complain(count)
    output = caught.value.last_output
    assert output is not None
    assert output.splitlines()[-1] == f"complaint {count - 1}"
    assert len(output) <= LAST_OUTPUT
    miller.kill_()
    miller.stop_()


def test_the_last_words_steer_no_terminal_and_stay_as_they_were() -> None:
    def say_and_die(miller: Any) -> None:
        sys.stderr.write("\x1b[2Jall is well\n")
        os._exit(7)

    miller: Any = Miller.spawn()
    with pytest.raises(ActorDiedError) as caught:
        miller.passto(say_and_die)
    assert str(caught.value).endswith("Its last output:\n\\x1b[2Jall is well")
    assert caught.value.last_output == "\x1b[2Jall is well\n"
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip={**PROCESSES, **NO_RECORDER})
@pytest.mark.parametrize("large", [b"", bytes(1 << 20)])
def test_what_it_was_running_is_told_also_where_another_had_called(
    launch: Launch, gate: Gate, large: bytes
) -> None:
    def call(miller: Any) -> None:
        with contextlib.suppress(ActorDiedError):
            miller.grind(gate, large)

    miller: Any = Miller.options(**launch).spawn()
    with util.process(call, miller):
        gate.wait_for_arrival()
        os.kill(miller.pid_, signal.SIGKILL)
    assert miller.join_(10)
    with pytest.raises(ActorDiedError, match=r"SIGKILL, while it ran \?\.grind\(") as caught:
        miller.crash()
    assert caught.value.running == "?.grind(...)"
    assert not caught.value.maybe_executed
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
def test_one_that_dies_idle_was_running_nothing(launch: Launch) -> None:
    miller: Any = Miller.options(**launch).spawn()
    miller.ground.get_()
    os.kill(miller.pid_, signal.SIGKILL)
    with pytest.raises(ActorDiedError) as caught:
        miller.crash()
    assert caught.value.running is None
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip={**PROCESSES, **NO_RECORDER})
def test_of_calls_within_calls_it_was_running_the_outer_one_once_the_inner_is_over(
    launch: Launch, gate: Gate
) -> None:
    miller: Any = Miller.options(**launch).spawn()
    with Miller.options(**launch).spawn() as other:
        call = Call(miller.by_way_of, other, miller, gate)
        gate.wait_for_arrival()
        os.kill(miller.pid_, signal.SIGKILL)
        call.wait()
    assert isinstance(call.error, ActorDiedError)
    assert call.error.running == "?.by_way_of(...)"
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip={**PROCESSES, **NO_RECORDER})
def test_of_a_stream_it_was_running_the_method(launch: Launch, gate: Gate) -> None:
    miller: Any = Miller.options(**launch).spawn()
    call = Call(list, miller.sacks(gate))
    gate.wait_for_arrival()
    os.kill(miller.pid_, signal.SIGKILL)
    call.wait()
    assert isinstance(call.error, ActorDiedError)
    assert call.error.running == "?.sacks(...)"
    miller.kill_()
    miller.stop_()


def test_a_print_by_a_signal_handler_within_a_print_hangs_nobody() -> None:
    def write(miller: Any) -> int:
        handled: list[int] = []

        def tick(*_: object) -> None:
            handled.append(sys.stderr.write("tick"))

        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            while len(handled) < 200:
                with contextlib.suppress(RuntimeError):  # by the buffer below: it was re-entered
                    sys.stderr.write("work")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return len(handled)

    with Miller.spawn() as miller:
        assert miller.with_(timeout=15).passto(write) >= 200


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_words_of_a_child_are_not_the_actors_and_its_lock_is_not_the_childs() -> None:
    def fork_in_a_note(miller: Any) -> int:
        stream: Any = sys.stderr
        with recorder_lock(stream):  # as another thread of it may
            child = os.fork()
            if not child:
                sys.stderr.write("the child's words")
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def have_another(miller: Any) -> None:
        with Miller.options(start_method="fork").spawn() as inner:
            inner.passto(lambda _: print("inner words", file=sys.stderr))

    miller: Any = Miller.options(start_method="fork").spawn()
    assert miller.with_(timeout=10).passto(fork_in_a_note) == 0
    miller.passto(have_another)
    with pytest.raises(ActorDiedError) as caught:
        miller.complain(1)
    assert caught.value.last_output == "complaint 0\n"
    miller.kill_()


def test_a_stderr_whose_write_gives_nothing_stays_as_good_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Quiet:
        def write(self, text: str) -> None:
            pass

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Quiet())
    with Miller.options(start_method="fork").spawn() as miller:
        assert miller.passto(lambda _: print("hello", file=sys.stderr)) is None


def test_a_function_that_dies_has_its_certificate_too() -> None:
    def end() -> None:
        print("no more", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ActorDiedError, match="SIGKILL") as caught, util.process(end):
        pass
    assert caught.value.last_output == "no more\n"


@pytest.mark.parametrize("part", START_PARTS)
def test_a_start_that_fails_half_way_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, part: StartPart
) -> None:
    fail_start(monkeypatch, part, OSError(errno.EMFILE, "too many open files"))
    with pytest.raises(OSError, match="too many") as caught:
        Miller.options(start_method="fork").spawn()
    assert "ulimit -n" in caught.value.__notes__[0], "it says what to do"
