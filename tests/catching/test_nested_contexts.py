"""Contexts within contexts, tasks, generators and threads: each exception is recorded once."""

import asyncio
import copy
import threading
from collections.abc import Generator

import pytest

from remoteobj import Except, LocalExcept
from tests.catching.catchers import Catcher, catch, texts


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
