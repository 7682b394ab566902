"""`Except` and `LocalExcept`: what is caught is recorded once, in order, and nothing is lost."""

import asyncio
import copy
import enum
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from multiprocessing import resource_sharer
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj._catching import store
from remoteobj._catching.catchers import ANY, Except, LocalExcept
from remoteobj._catching.journal import Journal, Projection
from tests.tools import finish, run, start

Catcher = Except | LocalExcept


@pytest.fixture(params=[Except, LocalExcept])
def exc(request: pytest.FixtureRequest) -> Iterator[Catcher]:
    exc: Catcher = request.param()
    yield exc
    exc.close()


@pytest.fixture
def shared() -> Iterator[Except]:
    exc = Except()
    yield exc
    exc.close()


def catch(exc: Catcher, group: str | None, error: BaseException, **options: Any) -> None:
    with exc(group, raises=False, types=BaseException, **options):
        raise error


def texts(exc: Catcher, group: Any = ANY) -> list[str]:
    return [str(error) for error in (exc.all() if group is ANY else exc.group(group))]


# ------------------------------------------------------------------ contexts


def test_an_exception_is_recorded_and_goes_on(exc: Catcher) -> None:
    with pytest.raises(ValueError, match="no!") as caught:
        with exc("work"):
            raise ValueError("no!")
    assert texts(exc, "work") == ["no!"]
    if isinstance(exc, LocalExcept):
        assert exc.last() is caught.value


def test_it_is_recorded_before_it_goes_on(exc: Catcher) -> None:
    try:
        with exc("work"):
            raise ValueError("no!")
    except ValueError:
        assert texts(exc) == ["no!"]


def test_raises_false_swallows_it(exc: Catcher) -> None:
    with exc("work", raises=False):
        raise ValueError("no!")
    assert texts(exc, "work") == ["no!"]


def test_a_context_may_say_otherwise_than_the_whole() -> None:
    exc = LocalExcept(raises=False)
    with pytest.raises(KeyError):
        with exc("work", raises=True):
            raise KeyError
    with exc:
        raise KeyError


def test_entering_gives_the_catcher(exc: Catcher) -> None:
    with exc as bare, exc("name") as named:
        assert bare is named is exc


def test_an_exception_of_another_type_goes_on_unrecorded() -> None:
    exc = LocalExcept(ValueError, TypeError, raises=False)
    with pytest.raises(KeyError):
        with exc:
            raise KeyError
    with exc:
        raise TypeError("a")
    with exc(types=KeyError):
        raise KeyError("b")
    assert [type(error) for error in exc] == [TypeError, KeyError]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_passes_unless_it_is_asked_for(kind: type[BaseException]) -> None:
    exc = LocalExcept(raises=False)
    with pytest.raises(kind):
        with exc:
            raise kind
    assert not exc
    with exc(types=kind):
        raise kind
    assert [type(error) for error in exc] == [kind]


@pytest.mark.parametrize("wrong", [int, "ValueError", ValueError("an instance"), (ValueError, 3)])
def test_types_that_are_no_exception_classes_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="no exception class"):
        LocalExcept()(types=wrong)
    with pytest.raises(TypeError, match="no exception class"):
        LocalExcept(wrong)


@pytest.mark.parametrize("wrong", [ValueError, 3, ("a",), np.zeros(3), ANY])
def test_a_group_that_is_no_string_is_refused(wrong: Any, exc: Catcher) -> None:
    for use in (exc, exc.__getitem__):
        with pytest.raises(TypeError, match="a group is a string or None"):
            use(wrong)


def test_a_group_may_be_any_string(exc: Catcher) -> None:
    class Name(enum.StrEnum):
        WORK = "work"

    for group in ("", "-", "*", "=", "é\ud800", "work"):
        catch(exc, group, KeyError(group))
        assert [error.args for error in exc[group]] == [(group,)]
    assert exc[Name.WORK] == exc["work"]
    assert exc[None] == []


# ------------------------------------------------------------------ nested contexts


def test_nested_contexts_record_once_by_the_innermost(exc: Catcher) -> None:
    with exc(raises=False):
        with exc("work"):
            with exc("part"):
                raise ValueError("no!")
    assert (texts(exc), texts(exc, "part")) == (["no!"], ["no!"])


def test_catch_once_false_records_at_every_level() -> None:
    exc = LocalExcept(catch_once=False)
    with exc(raises=False):
        with exc("work"):
            with exc("work"):
                raise ValueError("no!")
    assert (len(exc), len(exc["work"]), len(exc[None])) == (3, 2, 1)


def test_the_page_of_the_first_version(exc: Catcher) -> None:
    with exc(raises=False):
        try:
            with exc("init"):
                pass
            with exc("work"):
                raise ValueError("work")
        finally:
            with exc("cleanup"):
                raise KeyError("cleanup")
    assert [type(error) for error in exc] == [ValueError, KeyError]
    assert len(exc["work"]) == len(exc["cleanup"]) == 1


def test_an_exception_that_goes_on_after_another_was_swallowed_is_known(exc: Catcher) -> None:
    with pytest.raises(ValueError, match="work"):
        with exc:
            try:
                with exc("work"):
                    raise ValueError("work")
            finally:
                try:
                    with exc("cleanup"):
                        raise KeyError("cleanup")
                except KeyError:
                    pass
    assert len(exc) == 2


def test_an_exception_that_none_inside_recorded_is_not_taken_for_known(exc: Catcher) -> None:
    with exc(raises=False):
        try:
            raise ValueError("not in an inner context")
        finally:
            try:
                with exc("cleanup"):
                    raise KeyError
            except KeyError:
                pass
    assert [type(error) for error in exc] == [KeyError, ValueError]


def test_the_same_object_raised_again_later_is_recorded_again(exc: Catcher) -> None:
    error = ValueError("one object")
    for _ in range(3):
        catch(exc, "work", error)
    assert texts(exc, "work") == ["one object"] * 3


def test_an_error_that_the_outer_does_not_catch_stays_known_to_the_one_beyond(exc: Catcher) -> None:
    with exc(raises=False):
        with exc("types", types=KeyError):
            with exc("work"):
                raise ValueError
    assert (len(exc), len(exc["work"])) == (1, 1)


def test_another_catcher_in_between_records_for_itself() -> None:
    one, two = LocalExcept(), LocalExcept()
    with one(raises=False), two("b"), one("a"):
        raise ValueError
    assert (len(one["a"]), len(one), len(two["b"]), len(two)) == (1, 1, 1, 1)


def test_a_copy_in_the_process_records_in_the_same_place(shared: Except) -> None:
    other = copy.copy(shared), copy.deepcopy(shared)
    with shared(raises=False), other[0]("b"), other[1]("a"):
        raise ValueError("no!")
    for each in (shared, *other):
        assert repr(each) == "<Except a=1>"


def test_contexts_of_tasks_that_take_turns_do_not_mix(exc: Catcher) -> None:
    async def work(name: str, turns: int) -> None:
        with exc(name, raises=False):
            with exc(f"{name}-inner"):
                for _ in range(turns):
                    await asyncio.sleep(0)
                raise ValueError(name)

    async def main() -> None:
        await asyncio.gather(*(work(str(number), number) for number in range(4)))

    asyncio.run(main())
    assert texts(exc) == ["0", "1", "2", "3"]
    assert all(texts(exc, f"{n}-inner") == [str(n)] for n in range(4))


def test_contexts_of_generators_that_end_out_of_order_lose_nothing(exc: Catcher) -> None:
    def steps(name: str) -> Generator[None]:
        with exc(name, raises=False):
            yield
            raise ValueError(name)

    first, second = steps("a"), steps("b")
    next(first)
    next(second)
    with exc(raises=False):
        list(first)
        with exc("c"):
            raise ValueError("c")
    list(second)
    assert texts(exc) == ["a", "c", "b"]
    assert (texts(exc, "a"), texts(exc, "b"), texts(exc, "c")) == (["a"], ["b"], ["c"])


def test_threads_have_contexts_of_their_own(exc: Catcher) -> None:
    begin = threading.Barrier(4)

    def work(name: str) -> None:
        with exc(raises=False):
            begin.wait()
            for _ in range(50):
                catch(exc, name, ValueError(name))
            with exc(name):
                raise ValueError(name)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts(exc, str(number)) for number in range(4)] == [[str(n)] * 51 for n in range(4)]


# ------------------------------------------------------------------ asking


def test_groups_are_told_apart(exc: Catcher) -> None:
    for group, number in [("a", 1), (None, 2), ("b", 3), ("a", 4)]:
        catch(exc, group, ValueError(number))
    assert texts(exc) == ["1", "2", "3", "4"]
    assert (texts(exc, "a"), texts(exc, None), texts(exc, "c")) == (["1", "4"], ["2"], [])
    assert (str(exc.first()), str(exc.last()), str(exc.get())) == ("1", "4", "4")
    assert (str(exc.first("a")), str(exc.last("a")), str(exc.get("a"))) == ("1", "4", "4")
    assert (str(exc.first(None)), str(exc.last(None))) == ("2", "2")
    assert (exc.first("c"), exc.last("c"), exc.get("c", 0)) == (None, None, 0)
    assert exc["a"] == exc.group("a")
    assert list(exc) == exc.all()
    assert (len(exc), bool(exc), "a" in exc, None in exc, "c" in exc) == (
        4,
        True,
        True,
        True,
        False,
    )
    assert exc.last() in exc
    assert ValueError(4) not in exc
    assert repr(exc) == f"<{type(exc).__name__} a=2 (unnamed)=1 b=1>"


def test_nothing_caught_is_empty_and_false(exc: Catcher) -> None:
    assert (len(exc), bool(exc), exc.all(), exc.last(), exc.get("a")) == (0, False, [], None, None)
    assert repr(exc) == f"<{type(exc).__name__}>"


def test_it_is_the_same_object_each_time(exc: Catcher) -> None:
    catch(exc, "work", ValueError("no!"))
    last = exc.last()
    catch(exc, "work", KeyError())
    assert exc.first() is last is exc["work"][0]


def test_asking_never_compares_exceptions(exc: Catcher) -> None:
    class Odd(Exception):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        def __bool__(self) -> bool:
            raise AssertionError("asked for its truth")

        __hash__ = None  # type: ignore[assignment]

    with exc(raises=False), exc("a"):
        raise Odd(np.zeros(3))
    assert exc.last() in exc
    with pytest.raises(Exception, match="0"):
        exc.raise_any()


def test_clear_forgets_one_group_or_all(exc: Catcher) -> None:
    for group in ("a", None, "b"):
        catch(exc, group, ValueError(group))
    exc.clear("a")
    assert texts(exc) == ["None", "b"]
    exc.clear(None)
    assert texts(exc) == ["b"]
    catch(exc, "a", ValueError("again"))
    exc.clear()
    assert texts(exc) == []
    exc.raise_any()


# ------------------------------------------------------------------ raising


def test_raise_any_raises_the_last_of_what_it_is_asked_for(exc: Catcher) -> None:
    catch(exc, "work", ValueError("work"))
    catch(exc, "cleanup", KeyError("cleanup"))
    exc.raise_any("init")
    exc.raise_any(None)
    with pytest.raises(ValueError, match="work"):
        exc.raise_any("work")
    with pytest.raises(KeyError, match="cleanup") as raised:
        exc.raise_any()
    assert raised.value is exc.last()
    catch(exc, None, OSError("unnamed"))
    with pytest.raises(OSError, match="unnamed"):
        exc.raise_any(None)


def fail_deep_down() -> None:
    raise ValueError("deep down")


def test_each_raise_has_the_traceback_from_where_it_was_caught(exc: Catcher) -> None:
    with exc("work", raises=False):
        fail_deep_down()
    lengths = set()
    for _ in range(3):
        with pytest.raises(ValueError, match="deep down") as raised:
            exc.raise_any("work")
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[-1] == "fail_deep_down"
        assert names.count("fail_deep_down") == 1
        lengths.add(len(names))
    assert len(lengths) == 1


def contexts(error: BaseException | None) -> list[type]:
    found = []
    while error is not None:
        found.append(type(error))
        error = error.__context__
    return found


def test_what_the_caller_handles_is_chained_and_the_own_context_kept(exc: Catcher) -> None:
    with exc("work", raises=False):
        try:
            raise KeyError("there, first")
        except KeyError:
            raise ValueError("there")  # noqa: B904 - the context is what this is about
    for kind in (OSError, TypeError):
        with pytest.raises(ValueError, match="there") as raised:
            try:
                raise kind("here")
            except kind:
                exc.raise_any()
        assert contexts(raised.value) == [ValueError, KeyError, kind]
    with pytest.raises(ValueError, match="there") as raised:
        exc.raise_any()
    assert contexts(raised.value) == [ValueError, KeyError]


def test_raising_while_handling_the_same_exception_makes_no_cycle(exc: Catcher) -> None:
    catch(exc, "work", ValueError("no!"))
    with pytest.raises(ValueError, match="no!"):
        try:
            exc.raise_any()
        except ValueError:
            exc.raise_any()
    with pytest.raises(ValueError, match="no!") as raised:
        try:
            exc.raise_any()
        except ValueError as error:
            try:
                raise KeyError from error
            except KeyError:
                exc.raise_any()
    assert len(contexts(raised.value)) < 4


def test_raising_while_handling_its_own_context_makes_no_cycle(exc: Catcher) -> None:
    with exc("work", raises=False):
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904 - the context is what this is about
    last = exc.last()
    assert last is not None
    first = last.__context__
    assert first is not None
    with pytest.raises(ValueError, match="second") as raised:
        try:
            raise first
        except KeyError:
            exc.raise_any()
    assert contexts(raised.value) == [ValueError, KeyError]


def test_two_threads_that_unpack_at_once_get_the_same_object(
    shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch(shared, "work", ValueError("no!"))
    inner: list[BaseException | None] = []
    unpack = store.unpack_error

    def overtaken(data: bytes) -> BaseException:
        monkeypatch.undo()
        inner.append(shared.last())  # as another thread may, while this one is unpacking
        return unpack(data)

    monkeypatch.setattr(store, "unpack_error", overtaken)
    assert shared.last() is inner[0]


# ------------------------------------------------------------------ wrap, results


def test_wrap_runs_the_function_in_the_context(exc: Catcher) -> None:
    def divide(a: int, *, by: int) -> float:
        "Divides."
        return a / by

    wrapped = exc.wrap(divide)
    assert (wrapped.__name__, wrapped.__doc__) == ("divide", "Divides.")
    assert wrapped(6, by=2) == 3
    assert exc.get_result("none") == "none"
    with pytest.raises(ZeroDivisionError):
        wrapped(1, by=0)
    assert len(exc[None]) == 1
    assert exc("work", raises=False).wrap(divide, result=True)(1, by=0) is None
    assert len(exc["work"]) == 1
    assert exc("work").wrap(divide, result=True)(6, by=3) == exc.get_result() == 2


def test_wrap_makes_methods_too() -> None:
    class Some:
        exc = LocalExcept()

        def __init__(self) -> None:
            self.value = 3

        @exc("get").wrap
        def get(self, more: int) -> int:
            return self.value + more

    assert Some().get(4) == 7
    with pytest.raises(TypeError):
        Some().get("x")  # type: ignore[arg-type]
    assert len(Some.exc["get"]) == 1


def test_wrap_is_around_each_step_of_a_generator(exc: Catcher) -> None:
    seen: list[object] = []

    def steps() -> Generator[int, object, str]:
        try:
            try:
                seen.append((yield 1))
            except KeyError as error:
                seen.append(error)
            yield 2
        finally:
            seen.append("closed")
        return "end"

    wrapped = exc("steps").wrap(steps, result=True)
    generator = wrapped()
    assert (next(generator), generator.send("sent")) == (1, 2)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert (stop.value.value, exc.get_result(), len(exc)) == ("end", "end", 0)
    generator = wrapped()
    next(generator)
    assert generator.throw(KeyError("thrown")) == 2
    with pytest.raises(OSError, match="through"):
        generator.throw(OSError("through"))
    assert texts(exc) == texts(exc, "steps") == ["through"]
    generator = wrapped()
    next(generator)
    generator.close()
    assert [str(each) for each in seen] == ["sent", "closed", "'thrown'", "closed", "closed"]
    assert len(exc) == 1


def test_a_wrapped_generator_whose_exception_is_swallowed_ends(exc: Catcher) -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise ValueError("no!")

    assert list(exc(raises=False).wrap(steps)()) == [1]
    assert texts(exc) == ["no!"]


def test_what_the_consumer_of_a_wrapped_generator_does_is_its_own(exc: Catcher) -> None:
    generator = exc("steps").wrap(lambda: (n for n in range(3)))()
    with pytest.raises(ValueError, match="the consumer's"):
        with exc("consumer"):
            for _ in generator:
                raise ValueError("the consumer's")
    assert repr(exc).endswith(" consumer=1>")


def test_wrap_is_around_a_coroutine(exc: Catcher) -> None:
    async def work(fail: bool) -> str:
        await asyncio.sleep(0)
        if fail:
            raise ValueError("no!")
        return "done"

    wrapped = exc("work").wrap(work, result=True)
    assert asyncio.run(wrapped(False)) == exc.get_result() == "done"
    with pytest.raises(ValueError, match="no!"):
        asyncio.run(wrapped(True))
    assert texts(exc, "work") == ["no!"]


def test_an_async_generator_is_passed_on_as_it_is(exc: Catcher) -> None:
    async def steps() -> AsyncIterator[int]:
        yield 1

    async def main() -> list[int]:
        return [each async for each in exc.wrap(steps)()]

    assert asyncio.run(main()) == [1]


def test_a_result_is_set_read_popped_and_cleared(exc: Catcher) -> None:
    assert exc.get_result() is None
    assert exc.pop_result("none") == "none"
    for value in (None, [1], {"a": np.arange(100_000)}):
        exc.set_result(value)
        assert exc.get_result("none") is exc.get_result()
    exc.get_result()["a"][0] = 7  # not read-only
    assert exc.pop_result()["a"][:2].tolist() == [7, 1]
    assert exc.get_result("none") == "none"
    exc.set_result(None)
    assert exc.get_result("none") is None
    exc.clear_result()
    assert exc.get_result("none") == "none"


def test_clearing_exceptions_keeps_the_result_and_the_other_way_round(exc: Catcher) -> None:
    catch(exc, None, ValueError())
    exc.set_result(1)
    exc.clear()
    assert exc.get_result() == 1
    catch(exc, None, ValueError())
    exc.clear_result()
    assert len(exc) == 1


def test_a_result_that_cannot_be_sent_is_refused_and_nothing_else_is_lost(shared: Except) -> None:
    shared.set_result(1)
    with pytest.raises(TypeError, match="result"):
        shared.set_result(threading.Lock())
    assert shared.get_result() == 1


def test_of_many_that_pop_one_result_one_gets_it(shared: Except) -> None:
    others = [copy.copy(shared) for _ in range(3)]
    for round_ in range(30):
        shared.set_result(round_)
        begin = threading.Barrier(4)
        got: list[Any] = []

        def pop(one: Except, begin: Any = begin, got: list[Any] = got) -> None:
            begin.wait()
            got.append(one.pop_result())

        threads = [threading.Thread(target=pop, args=(one,)) for one in [shared, *others]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [each for each in got if each is not None] == [round_]


# ------------------------------------------------------------------ logging


def test_log_writes_what_is_caught_when_it_is_caught(
    exc: Catcher, caplog: pytest.LogCaptureFixture
) -> None:
    catch(exc, "quiet", ValueError("not this"))
    catch(exc, "work", ValueError("no!"), log=True)
    catch(exc, None, KeyError("k"), log=logging.getLogger("mine"), log_tb=False)
    assert caplog.record_tuples == [
        ("remoteobj", logging.ERROR, "work: ValueError: no!"),
        ("mine", logging.ERROR, "KeyError: 'k'"),
    ]
    assert caplog.records[0].exc_info
    assert caplog.records[1].exc_info is None


def test_log_tracebacks_writes_all_that_was_caught(
    exc: Catcher, caplog: pytest.LogCaptureFixture
) -> None:
    with exc("work", raises=False):
        fail_deep_down()
    catch(exc, "other", KeyError("k"))
    exc.log_tracebacks("work")
    assert [record.message for record in caplog.records] == ["work: ValueError: deep down"]
    assert "in fail_deep_down" in caplog.text
    exc.log_tracebacks()
    assert len(caplog.records) == 3


def test_log_error_writes_one(caplog: pytest.LogCaptureFixture) -> None:
    LocalExcept(log=logging.getLogger("mine")).log_error(ValueError("no!"), "work")
    assert caplog.record_tuples == [("mine", logging.ERROR, "work: ValueError: no!")]


# ------------------------------------------------------------------ when recording fails


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("failure", [OSError("disk full"), MemoryError("memory full")])
def test_what_cannot_be_recorded_goes_on_and_says_why(
    raises: bool, failure: Exception, shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise failure

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(ValueError, match="no!") as raised:
        with shared("work", raises=raises):
            raise ValueError("no!")
    monkeypatch.undo()
    (note,) = raised.value.__notes__
    assert "could not record" in note
    assert repr(failure) in note
    assert len(shared) == 0


def test_what_the_inner_could_not_record_the_outer_tries_again(
    shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, failures = Journal.append, iter([OSError("full just now")])

    def once(self: Journal, *args: Any) -> None:
        for failure in failures:
            raise failure
        append(self, *args)

    monkeypatch.setattr(Journal, "append", once)
    with shared("outer", raises=False), shared("inner", raises=False):
        raise ValueError("no!")
    assert repr(shared) == "<Except outer=1>"


def test_a_closed_except_can_be_read_and_records_no_more() -> None:
    exc = Except(raises=False)
    catch(exc, "work", ValueError("before"))
    exc.close()
    exc.close()
    with pytest.raises(ValueError, match="after") as raised:
        catch(exc, "work", ValueError("after"))
    assert "closed" in raised.value.__notes__[0]
    assert texts(exc) == ["before"]


def test_an_exception_that_cannot_be_pickled_is_recorded_as_text(shared: Except) -> None:
    class Locked(Exception):
        def __init__(self) -> None:
            super().__init__("has a lock")
            self.lock = threading.Lock()

    catch(shared, "work", Locked())
    last = shared.last()
    assert "Locked" in f"{type(last)} {last}"


def test_ctrl_c_while_reading_loses_and_doubles_nothing(
    shared: Except, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        catch(shared, "work", ValueError(number))
    advance = Projection.advance

    def interrupted(self: Projection[Any], step: Callable[[Any], Any]) -> Any:
        def half(state: Any) -> Any:
            step(state)
            raise KeyboardInterrupt

        return advance(self, half)

    monkeypatch.setattr(Projection, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shared.all()
    monkeypatch.undo()
    assert texts(shared) == ["0", "1", "2"]


# ------------------------------------------------------------------ several processes


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
    exc.set_result(exc._options.types)
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


def test_an_exception_of_200_mb_blocks_nobody(shared: Except) -> None:
    assert run("fork", catch, shared, "large", ValueError("x" * (200 << 20))) == 0
    catch(shared, "small", KeyError())
    assert len(shared) == 2
    large = shared.first("large")
    assert large is not None
    assert len(large.args[0]) == 200 << 20


def test_many_small_exceptions_block_nobody(shared: Except) -> None:
    assert run("fork", catch_in_a_row, shared, 20_000) == 0
    assert len(shared) == 20_000
    assert str(shared.last()) == "19999"


def catch_in_a_row(exc: Except, count: int) -> None:
    for number in range(count):
        catch(exc, "work", ValueError(number))


# ------------------------------------------------------------------ one face


GROUPS = st.sampled_from(["a", "b", None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("catch"), GROUPS),
        st.tuples(st.just("clear"), st.sampled_from(["a", None, ANY])),
        st.tuples(st.just("set_result"), st.integers()),
        st.tuples(st.sampled_from(["clear_result", "pop_result"]), st.just(None)),
        st.tuples(st.just("look"), GROUPS),
    ),
    max_size=20,
)


@given(STEPS)
def test_both_answer_alike_and_so_does_a_copy_that_reads_late(steps: list[Any]) -> None:
    local, shared = LocalExcept(), Except()
    late = copy.copy(shared)
    rebuild, args = cast("Any", shared._store.__reduce__())  # as in another process
    late._store = rebuild(*args)
    for number, (step, arg) in enumerate(steps):
        for exc in (local, shared):
            if step == "catch":
                catch(exc, arg, ValueError(number))
            elif step in ("clear", "set_result"):
                getattr(exc, step)(arg)
        if step == "pop_result":
            assert local.pop_result() == shared.pop_result()
        elif step == "clear_result":
            for exc in (local, shared):
                exc.clear_result()
        elif step == "look":
            assert texts(local, arg) == texts(shared, arg)
            assert local.get_result() == shared.get_result()
    for group in ("a", "b", None, ANY):
        assert texts(local, group) == texts(shared, group) == texts(late, group)
    assert local.get_result() == shared.get_result() == late.get_result()
