"""One `Except` in several processes: what each catches is there for all."""

import copy
import multiprocessing
import os
import pickle
import signal
import traceback
from multiprocessing import resource_sharer
from typing import Any

import pytest

from remoteobj import Except, LocalExcept
from tests.catching.catchers import catch, contexts, fail_deep_down, texts
from tests.internals import caught_types
from tests.tools import finish, run, start


def lifecycle(exc: Except) -> None:
    with exc(raises=False):
        try:
            with exc("init"):
                pass
            with exc("work"):
                fail_deep_down()
        finally:
            with exc("cleanup"):
                raise KeyError("cleanup")


def test_another_process_sends_its_exceptions_back(start_method: str, shared: Except) -> None:
    assert run(start_method, lifecycle, shared) == 0
    assert repr(shared) == "<Except work=1 cleanup=1>"
    with pytest.raises(ValueError, match="deep down") as raised:
        shared.raise_any("work")
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert names[-1] == "fail_deep_down"
    with pytest.raises(KeyError, match="cleanup") as last:
        shared.raise_any()
    assert contexts(last.value) == [KeyError, ValueError]
    shared.raise_any("init")


def options_there(exc: Except) -> None:
    with exc:
        raise ValueError("swallowed")
    exc.set_result(caught_types(exc))
    exc.clear("here")


def test_options_and_answers_go_both_ways(start_method: str) -> None:
    exc = Except(ValueError, raises=False)
    catch(exc, "here", KeyError())
    assert run(start_method, options_there, exc) == 0
    assert repr(exc) == "<Except (unnamed)=1>"
    assert exc.get_result() == (ValueError,)
    exc.close()


def add(a: int, b: int) -> int:
    return a + b


def test_a_wrapped_function_is_the_target_of_a_process(start_method: str, shared: Except) -> None:
    assert run(start_method, shared("add", raises=False).wrap(add, result=True), 1, "x") == 0
    assert [type(error) for error in shared["add"]] == [TypeError]
    assert run(start_method, shared.wrap(add, result=True), 1, 2) == 0
    assert shared.pop_result() == 3


def record_and_die(exc: Except) -> None:
    try:
        with exc("work"):
            raise ValueError("before the end")
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_caught_before_a_sigkill_is_there(start_method: str, shared: Except) -> None:
    assert run(start_method, record_and_die, shared) == -signal.SIGKILL
    assert texts(shared, "work") == ["before the end"]


def record_many(exc: Except, name: str, count: int, ready: Any, go: Any) -> None:
    ready.release()
    go.wait()
    for number in range(count):
        catch(exc, name, ValueError(number))


def test_eight_processes_catch_at_once_and_nothing_is_lost_or_doubled(
    start_method: str, shared: Except
) -> None:
    context = multiprocessing.get_context(start_method)
    ready, go, count = context.Semaphore(0), context.Event(), 500
    others = [
        start(start_method, record_many, shared, str(number), count, ready, go)
        for number in range(8)
    ]
    for _ in others:
        assert ready.acquire(timeout=20)
    go.set()
    assert [finish(process) for process in others] == [0] * 8
    for number in range(8):
        assert texts(shared, str(number)) == [str(each) for each in range(count)]


def fork_again(exc: Except, depth: int) -> None:
    catch(exc, str(depth), ValueError(depth))
    if depth:
        assert run("fork", fork_again, exc, depth - 1) == 0


def test_children_of_children_record_in_the_same_place(shared: Except) -> None:
    assert run("fork", fork_again, shared, 3) == 0
    assert texts(shared) == ["3", "2", "1", "0"]


def test_a_child_forked_inside_a_context_does_not_disturb_it(shared: Except) -> None:
    with shared("outer", raises=False):
        assert run("fork", catch, shared, "inner", ValueError("child")) == 0
        raise ValueError("parent")
    assert (texts(shared, "inner"), texts(shared, "outer")) == (["child"], ["parent"])


def receive(channel: Any) -> None:
    with channel:
        lifecycle(channel.recv())


def test_it_can_be_sent_to_a_process_that_runs_already(start_method: str, shared: Except) -> None:
    ours, theirs = multiprocessing.get_context(start_method).Pipe()
    process = start(start_method, receive, theirs)
    theirs.close()
    try:
        with ours:
            ours.send(shared)
            assert finish(process) == 0
    finally:
        resource_sharer.stop()
    assert repr(shared) == "<Except work=1 cleanup=1>"


def test_an_exception_that_holds_its_own_except_is_recorded() -> None:
    class Owned(Exception):
        def __init__(self, owner: Except) -> None:
            self.owner = owner

    exc = Except()
    try:
        catch(exc, "work", Owned(exc))
        catch(exc, "work", ValueError("after"))
        assert len(exc["work"]) == 2
        assert repr(vars(exc["work"][0])["owner"]) == "<Except work=2>"
    finally:
        resource_sharer.stop()


def test_a_local_except_says_that_it_cannot_leave() -> None:
    with pytest.raises(TypeError, match="use Except"):
        pickle.dumps(LocalExcept())
    exc = LocalExcept(raises=False)
    catch(copy.deepcopy(exc), "work", ValueError())
    assert len(exc) == 1


def test_an_exception_of_64_mb_blocks_nobody(shared: Except) -> None:
    assert run("fork", catch, shared, "large", ValueError("x" * (64 << 20))) == 0
    catch(shared, "small", KeyError())
    assert len(shared) == 2
    large = shared.first("large")
    assert large is not None
    assert len(large.args[0]) == 64 << 20


def test_many_small_exceptions_block_nobody(shared: Except) -> None:
    assert run("fork", catch_in_a_row, shared, 5_000) == 0
    assert len(shared) == 5_000
    assert str(shared.last()) == "4999"


def catch_in_a_row(exc: Except, count: int) -> None:
    for number in range(count):
        catch(exc, "work", ValueError(number))
