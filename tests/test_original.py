"""What the first version documented, section by section; it all holds here."""

import multiprocessing as mp
import operator
import os
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import remoteobj
from remoteobj import ActorDiedError, util
from tests.internals import close_connection, spy_on_calls

FORK = mp.get_context("fork")


@contextmanager
def started(target: Callable[..., Any], *args: Any, **options: Any) -> Iterator[Any]:
    """A process of the user's own; it must end by itself, and well."""
    process = FORK.Process(target=target, args=args, **options)
    process.start()
    try:
        yield process
        process.join(10)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()


def closed(*proxies: Any) -> None:
    for proxy in proxies:
        close_connection(proxy)


# --- at a glance -----------------------------------------------------------------------------


class Speaker:
    """Serves itself from a loop of its own."""

    def __init__(self) -> None:
        self.remote: Any = remoteobj.Proxy(self)
        self.done = False

    def say_hi(self) -> str:
        return f"hi from {mp.current_process().name}"

    def run(self) -> None:
        with self.remote.listen_():
            while not self.done:
                # With a limit: the last request may have run in the background before.
                self.remote.process_requests(0.01)


def test_a_method_called_here_runs_in_the_process_of_the_object() -> None:
    speaker = Speaker()
    with started(speaker.run, name="Speaker-7") as process:
        speaker.remote.wait_until_listening(process)
        assert speaker.remote.say_hi() == "hi from Speaker-7"
        speaker.remote.done = True
    closed(speaker.remote)


def rows_then_error(count: int) -> Iterator[int]:
    yield from range(count)
    raise ValueError(f"error from {mp.current_process().name}")


def test_a_process_gives_what_it_yields_and_then_its_exception() -> None:
    seen: list[Any] = []
    with pytest.raises(ValueError, match=r"error from rows_then_error-\d+"):
        with util.process(rows_then_error, 4) as process:
            for item in process.result:
                seen.append(item)  # noqa: PERF402  (what came before the error is compared)
    assert seen == [0, 1, 2, 3]


class InitError(Exception):
    pass


class WorkError(Exception):
    pass


class CleanupError(Exception):
    pass


def staged(exc: Any, fail: tuple[str, ...]) -> None:
    errors = {"init": InitError, "work": WorkError, "cleanup": CleanupError}

    def stage(name: str) -> None:
        if name in fail:
            raise errors[name](name)

    with exc(raises=False):
        try:
            with exc("init"):
                stage("init")
            with exc("work"):
                stage("work")
        finally:
            with exc("cleanup"):
                stage("cleanup")


def staged_here(fail: tuple[str, ...]) -> Any:
    exc = remoteobj.LocalExcept()
    staged(exc, fail)
    return exc


def staged_there(fail: tuple[str, ...]) -> Any:
    exc = remoteobj.Except()
    with started(staged, exc, fail):
        pass
    return exc


STAGES: list[tuple[tuple[str, ...], type[Exception] | None]] = [
    ((), None),
    (("init",), InitError),
    (("work",), WorkError),
    (("cleanup",), CleanupError),
    (("work", "cleanup"), CleanupError),
    (("init", "work"), InitError),
]


@pytest.mark.parametrize("stages", [staged_here, staged_there])
@pytest.mark.parametrize(("fail", "last"), STAGES)
def test_exceptions_are_kept_in_the_group_in_which_they_were_raised(
    stages: Callable[[tuple[str, ...]], Any],
    fail: tuple[str, ...],
    last: type[Exception] | None,
) -> None:
    exc = stages(fail)
    reached = {"init", "cleanup"} | (set() if "init" in fail else {"work"})
    for name, kind in [("init", InitError), ("work", WorkError), ("cleanup", CleanupError)]:
        if name in fail and name in reached:
            with pytest.raises(kind):
                exc.raise_any(name)
        else:
            exc.raise_any(name)  # nothing there: no-op
    if last is None:
        exc.raise_any()
    else:
        with pytest.raises(last):
            exc.raise_any()


# --- the full example ------------------------------------------------------------------------


class Tick:
    """Counts while it is on, in steps that the test gives."""

    count = 0
    on, stop = False, False

    def __init__(self) -> None:
        self.remote: Any = remoteobj.Proxy(self)
        self.step = FORK.Semaphore(0)
        self.stepped = FORK.Semaphore(0)

    def toggle(self, state: bool = True) -> None:
        self.on = state

    def run(self) -> None:
        with self.remote.listen_(bg=True):
            while not self.stop and self.remote.listening_:
                self.step.acquire()
                if self.on:
                    self.count += 1
                self.stepped.release()


def test_an_object_can_be_watched_and_steered_while_it_runs() -> None:
    obj = Tick()

    def steps(count: int) -> None:
        for _ in range(count):
            obj.step.release()
            obj.stepped.acquire(timeout=10)

    with started(obj.run) as process:
        obj.remote.wait_until_listening(process)
        obj.remote.toggle(True)
        before = obj.remote.count.get_()
        steps(3)
        assert obj.remote.count.get_() == before + 3

        obj.remote.toggle(False)
        before = obj.remote.count.get_()
        steps(3)
        assert obj.remote.count.get_() == before

        obj.remote.toggle(True)
        steps(1)
        assert obj.remote.count.__ == before + 1

        obj.remote.stop = True
        obj.step.release()
    assert obj.count == 0  # the one here is another
    closed(obj.remote)


# --- basic usage -----------------------------------------------------------------------------


class Idk(list[Any]):
    something = 5
    another: list[Any] = []  # noqa: RUF012  (a class attribute is what is documented)
    leaving = False

    remote: Any


def serve(obj: Any) -> None:
    with obj.remote:
        while not obj.leaving:
            obj.remote.process_requests(None)


@pytest.fixture
def idk() -> Iterator[Any]:
    """The proxy of a list that lives in another process."""
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj)
    with started(serve, obj) as process:
        obj.remote.wait_until_listening(process)
        yield obj.remote
        obj.remote.leaving = True
    closed(obj.remote)


def test_methods_are_called_and_parts_are_proxies(idk: Any) -> None:
    idk.append(5)
    assert len(idk) == 1
    assert isinstance(idk.another.append, remoteobj.Proxy)
    idk.another.append(6)
    assert idk.another.__ == [6]
    assert isinstance(idk[0], remoteobj.Proxy)
    assert isinstance(idk.another[0], remoteobj.Proxy)
    assert idk.another[0].__ == 6


def test_a_value_is_got_in_three_ways(idk: Any) -> None:
    idk.append(5)
    assert remoteobj.get(idk[0]) == 5
    assert idk[0].__ == 5
    assert idk[0].get_() == 5


def test_keys_and_attributes_are_set_on_the_remote_object(idk: Any) -> None:
    idk.append(5)
    idk[0] = 6
    idk.something = 10
    assert (idk[0].__, idk.something.__) == (6, 10)


def test_str_is_local_and_passto_reaches_the_real_one(idk: Any) -> None:
    assert re.fullmatch(r"<Remote <Idk object at 0x[0-9a-f]+> : \(\?\)>", str(idk))
    assert repr(idk) == str(idk)
    assert str(idk.a[0]).endswith(" : (?.a[0])>")
    idk.append("there")
    assert idk.passto(str) == "['there']"
    assert str(idk.passto(len)) == "1"


@pytest.mark.parametrize("name", ["_hidden", "__dict__", "__class__"])
def test_names_that_begin_with_an_underscore_are_the_proxys_own(idk: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(idk, name, 1)
    with pytest.raises(AttributeError):
        operator.attrgetter("_hidden")(idk)
    assert type(idk) is remoteobj.Proxy


def serve_by_hand(obj: Any) -> None:
    served = 0
    with obj.remote:
        while not obj.leaving:
            served += obj.remote.process_requests(None)
    assert served == 6


def test_a_loop_of_its_own_runs_requests_only_when_it_says_so() -> None:
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj)
    with started(serve_by_hand, obj) as process:
        obj.remote.wait_until_listening(process)
        for i in range(5):
            obj.remote.append(i)
        obj.remote.leaving = True
    closed(obj.remote)


def test_after_the_listening_has_ended_calls_fail_or_give_their_default_at_once() -> None:
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj)
    with started(serve, obj) as process:
        obj.remote.wait_until_listening(process)
        assert obj.remote.listening_
        obj.remote.leaving = True
    assert not obj.remote.listening_
    assert obj.remote.something.get_(default="asdf") == "asdf"
    assert remoteobj.get(obj.remote.something, default=False) is False
    with pytest.raises(RuntimeError):
        obj.remote.something.get_()
    with pytest.raises(RuntimeError):
        obj.remote.append(1)
    closed(obj.remote)


def serve_in_background(obj: Any, go: Any) -> None:
    with obj.remote.listen_():
        go.wait(10)


def test_listening_in_a_background_thread_needs_no_processing() -> None:
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj)
    go = FORK.Event()
    with started(serve_in_background, obj, go) as process:
        obj.remote.wait_until_listening(process)
        obj.remote.append(1)
        assert len(obj.remote) == 1
        assert obj.remote.passto(in_main_thread) is False
        go.set()
    closed(obj.remote)


def in_main_thread(_: Any) -> bool:
    return threading.current_thread() is threading.main_thread()


def take_over(obj: Any) -> None:
    with obj.remote.listen_(bg=None):
        while not obj.leaving:
            obj.remote.process_requests(None)


def test_the_first_processing_takes_over_from_the_background_thread() -> None:
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj)
    with started(take_over, obj) as process:
        obj.remote.wait_until_listening(process)
        # The loop may not have called for the first time when it first answers.
        wait_for(lambda: obj.remote.passto(in_main_thread))
        assert [obj.remote.passto(in_main_thread) for _ in range(5)] == [True] * 5
        obj.remote.leaving = True
    closed(obj.remote)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


# --- the table of operations -----------------------------------------------------------------


def test_a_call_evaluates_unless_a_proxy_is_asked_for(idk: Any) -> None:
    idk.append(5)
    assert idk.index(5) == 0
    part = idk.copy(_proxy=True)
    assert isinstance(part, remoteobj.Proxy)
    assert part[0].__ == 5


def test_an_eager_proxy_gives_proxies_for_all_calls() -> None:
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj, eager_proxy=True)
    with started(serve, obj) as process:
        obj.remote.wait_until_listening(process)
        obj.remote.append(5).get_()
        part = obj.remote.copy()
        assert isinstance(part, remoteobj.Proxy)
        assert part[0].__ == 5
        obj.remote.leaving = True
    closed(obj.remote)


def test_items_and_attributes_are_deleted_at_once(idk: Any) -> None:
    idk.extend([1, 2])
    del idk[0]
    assert idk.copy() == [2]
    idk.something = 7
    del idk.something
    assert idk.something.__ == 5
    with pytest.raises(IndexError):
        del idk[9]


def test_contains_and_len_are_evaluated(idk: Any) -> None:
    idk.extend([1, 2])
    assert (1 in idk, 9 in idk, len(idk)) == (True, False, 2)
    assert (bool(idk), list(idk)) == (True, [1, 2])


def test_passto_takes_further_arguments(idk: Any) -> None:
    idk.extend([2, 1])
    assert idk.passto(sorted, reverse=True) == [2, 1]
    assert idk.passto(lambda obj, x, y=0: (list(obj), x, y), 3, y=4) == ([2, 1], 3, 4)


# --- enhanced processes ----------------------------------------------------------------------


def remote_func(gate: Any, x: int, y: int) -> int:
    gate.wait(10)
    return x * y


def test_a_process_has_a_plain_signature_a_name_and_a_result() -> None:
    gate = FORK.Event()
    with util.process(remote_func, gate, 5, y=2, start_method_="fork") as process:
        assert isinstance(process, mp.process.BaseProcess)
        assert re.fullmatch(r"remote_func-\d+", process.name)
        assert process.daemon
        assert process.is_alive()
        assert process.result is None  # it has not returned
        gate.set()
    assert not process.is_alive()
    assert process.result == 10


def test_a_process_is_named_after_its_function_and_counted_per_function() -> None:
    def counted_for_this_test() -> None: ...

    names = [util.process(counted_for_this_test).name for _ in range(2)]
    assert names == ["counted_for_this_test-1", "counted_for_this_test-2"]


def test_the_arguments_of_the_process_end_in_an_underscore() -> None:
    def give(name: str, daemon: bool) -> tuple[str, bool, str]:
        return name, daemon, mp.current_process().name

    with util.process(give, name="theirs", daemon=False, name_="ours", daemon_=True) as process:
        pass
    assert process.result == ("theirs", False, "ours")
    with pytest.raises(ValueError, match="group"):
        util.process(give, group_=1)  # type: ignore[arg-type]


def test_start_gives_the_process_itself() -> None:
    process = util.process(pow, 2, 3)
    assert process.start() is process
    process.join()
    assert process.result == 8


def count(x: int, y: int) -> Iterator[int]:
    yield from range(x, y)


def test_what_a_process_yields_comes_through_its_result() -> None:
    with util.process(count, 5, 10) as process:
        generator = process.result
        assert next(generator) == 5
        assert list(generator) == [6, 7, 8, 9]


def test_joining_does_not_wait_for_items_that_nobody_reads() -> None:
    with util.process(count, 0, 1000) as process:
        pass
    assert not process.is_alive()
    assert list(process.result) == list(range(1000))


def raise_value_error() -> None:
    raise ValueError("!!!")


def test_leaving_raises_the_exception_of_the_process() -> None:
    with pytest.raises(ValueError, match="!!!") as caught:
        with util.process(raise_value_error):
            pass
    assert "in raise_value_error" in "".join(traceback.format_exception(caught.value))


def test_a_process_that_need_not_raise_keeps_its_exception() -> None:
    with util.process(raise_value_error, raises_=False) as process:
        pass
    assert process.result is None
    with pytest.raises(ValueError, match="!!!"):
        process.exc.raise_any()


def test_an_except_of_ones_own_is_told() -> None:
    exc = remoteobj.Except()
    with util.process(raise_value_error, raises_=False, exc_=exc):
        pass
    with pytest.raises(ValueError, match="!!!"):
        exc.raise_any()


def test_a_process_that_dies_without_a_word_raises_that() -> None:
    with pytest.raises(ActorDiedError, match="code 7"):
        with util.process(os._exit, 7):
            pass


# --- sending exceptions ----------------------------------------------------------------------


def raise_two(catch: Any) -> None:
    try:
        with catch:
            raise ValueError("!!!")
    except ValueError:
        pass
    try:
        with catch("hi"):
            raise TypeError("hi")
    except TypeError:
        pass


@pytest.mark.parametrize("types", [(), (ValueError, TypeError)], ids=["all", "some"])
def test_exceptions_are_raised_again_by_group(types: tuple[type[Exception], ...]) -> None:
    catch = remoteobj.Except(*types)
    with started(raise_two, catch):
        pass
    with pytest.raises(TypeError, match="hi"):
        catch.raise_any("hi")
    with pytest.raises(TypeError, match="hi"):
        catch.raise_any()  # the last of all
    with pytest.raises(ValueError, match="!!!"):
        catch.raise_any(None)
    catch.raise_any("nothing by that name")


def test_only_exceptions_of_the_types_that_were_named_are_caught() -> None:
    catch = remoteobj.LocalExcept(ValueError, raises=False)
    with pytest.raises(TypeError):
        with catch:
            raise TypeError("not mine")
    catch.raise_any()
    with catch:
        raise ValueError("mine")
    with pytest.raises(ValueError, match="mine"):
        catch.raise_any()


def test_an_exception_caught_elsewhere_brings_its_traceback() -> None:
    catch = remoteobj.Except()
    with started(raise_two, catch):
        pass
    with pytest.raises(TypeError) as caught:
        catch.raise_any("hi")
    assert "in raise_two" in "".join(traceback.format_exception(caught.value))


def test_local_exceptions_have_the_same_face() -> None:
    catch = remoteobj.LocalExcept(raises=True)
    with pytest.raises(ValueError, match="!!!"):
        with catch:
            raise ValueError("!!!")
    with catch("hi", raises=False):
        raise TypeError("hello")
    with pytest.raises(TypeError, match="hello"):
        catch.raise_any("hi")
    with pytest.raises(TypeError, match="hello"):
        catch.raise_any()


@pytest.mark.parametrize("kind", [remoteobj.Except, remoteobj.LocalExcept])
def test_an_except_records_and_lets_go_on_unless_told_otherwise(kind: Any) -> None:
    catch = kind()
    with pytest.raises(ValueError, match="on"):
        with catch("group"):
            raise ValueError("on")
    with catch("group", raises=False):
        raise ValueError("swallowed")
    assert [str(error) for error in catch.group("group")] == ["on", "swallowed"]


@pytest.mark.parametrize("once", [True, False])
def test_nested_groups_record_once_or_at_every_level(once: bool) -> None:
    catch = remoteobj.LocalExcept(catch_once=once)
    with catch("outer", raises=False):
        with catch("inner"):
            raise ValueError("v")
    assert len(catch.group("inner")) == 1
    assert len(catch.group("outer")) == (0 if once else 1)


# --- how it works ----------------------------------------------------------------------------


def test_without_a_listener_there_is_a_runtime_error_or_the_default() -> None:
    proxy: Any = remoteobj.Proxy(Idk())
    assert proxy.something.get_(default=False) is False
    with pytest.raises(RuntimeError):
        proxy.something.get_()


def test_waiting_for_a_process_that_dies_first_does_not_hang() -> None:
    proxy: Any = remoteobj.Proxy(Idk())
    process = FORK.Process(target=os._exit, args=(4,), name="doomed")
    process.start()
    with pytest.raises(ActorDiedError, match="doomed"):
        proxy.wait_until_listening(process)
    assert proxy.wait_until_listening(process, fail=False) is False
    process.join()
    process.close()


def test_an_object_called_from_its_own_process_is_evaluated_directly() -> None:
    obj = Idk()
    obj.remote = remoteobj.Proxy(obj)
    go = threading.Event()
    listening = threading.Event()

    def run() -> None:
        with obj.remote.listen_(bg=True):
            listening.set()
            go.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    assert listening.wait(10)
    unsendable = threading.Lock()
    obj.remote.append(unsendable)
    assert obj.remote[0].__ is unsendable
    assert obj == [unsendable]
    go.set()
    thread.join()


# --- advanced --------------------------------------------------------------------------------


class A:
    def __init__(self) -> None:
        self.remote: Any = remoteobj.Proxy(self)

    def asdf(self) -> int:
        return 5


class B(A):
    x = 0
    leaving = False

    def asdf(self) -> int:
        return 6

    def chain(self) -> "B":
        self.x += 1
        return self


@pytest.fixture
def b() -> Iterator[B]:
    obj = B()
    with started(serve, obj) as process:
        obj.remote.wait_until_listening(process)
        yield obj
        obj.remote.leaving = True
    closed(obj.remote)


def test_super_calls_the_method_of_the_base_class(b: B) -> None:
    assert b.remote.asdf() == 6
    assert b.remote.super.asdf() == 5  # which is what super() gives; the page says 6 by mistake


def test_methods_that_return_self_chain(b: B) -> None:
    assert b.remote.x.__ == 0
    assert b.remote.chain().chain().chain().x.__ == 3
    assert b.remote.chain() is b.remote
    assert b.x == 0
    assert b.chain().chain().chain().x == 3


# --- the end of listening --------------------------------------------------------------------


class Closing:
    """Stops while requests are still waiting."""

    def __init__(self, fulfill: bool) -> None:
        self.remote: Any = remoteobj.Proxy(self, fulfill_final=fulfill)
        self.busy = FORK.Event()
        self.go_on = FORK.Event()
        self.sent = FORK.Semaphore(0)

    def hold(self) -> None:
        self.busy.set()
        self.go_on.wait(10)
        self.remote.stop_listen_()

    def number(self) -> int:
        return 5

    def run(self) -> None:
        with self.remote.listen_(bg=True):
            self.go_on.wait(10)
            while self.remote.listening_:
                time.sleep(0.001)


@pytest.mark.parametrize("fulfill", [True, False])
def test_requests_that_wait_at_the_end_are_fulfilled_or_refused(
    fulfill: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = Closing(fulfill)
    outcomes: list[Any] = []
    sent = threading.Semaphore(0)

    def ask() -> None:
        try:
            outcomes.append(obj.remote.number())
        except RuntimeError as error:
            outcomes.append(type(error))

    with started(obj.run) as process:
        obj.remote.wait_until_listening(process)
        spy_on_calls(monkeypatch, lambda size: sent.release())
        threads = [threading.Thread(target=obj.remote.hold)]
        threads[0].start()
        assert obj.busy.wait(10)
        sent.acquire()
        for _ in range(3):
            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        for _ in range(3):
            assert sent.acquire(timeout=10)  # now they wait over there
        obj.go_on.set()
        for thread in threads:
            thread.join()
    assert outcomes == [5 if fulfill else remoteobj.NotListeningError] * 3
    assert obj.remote.number(_default="none") == "none"
    closed(obj.remote)
