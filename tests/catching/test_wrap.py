"""`wrap` puts a function, each step of a generator, or a coroutine in a context."""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from remoteobj import LocalExcept
from tests.catching.catchers import Catcher, texts


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
