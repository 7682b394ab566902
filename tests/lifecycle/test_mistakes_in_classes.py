"""What is wrong with a class as it is written is said when it is decorated."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import options, remote

Role = Callable[[Callable[..., Any]], Callable[..., Any]]
ROLES = [remote.work, remote.cleanup]


@pytest.mark.parametrize("role", ROLES)
def test_a_generator_is_no_loop_and_no_cleanup(role: Role) -> None:
    with pytest.raises(TypeError, match=r"loop is a generator.*never run"):

        class Bad:
            @role
            def loop(self) -> Iterator[int]:
                yield 1


@pytest.mark.parametrize("role", ROLES)
def test_nor_is_an_asynchronous_generator(role: Role) -> None:
    with pytest.raises(TypeError, match="loop is a generator"):

        class Bad:
            @role
            async def loop(self) -> Any:
                yield 1


def test_a_state_is_taken_in_one_step() -> None:
    with pytest.raises(TypeError, match=r"save is `async def`.*a plain method"):

        class Bad:
            @remote.checkpoint
            async def save(self) -> None: ...


def test_a_loop_that_awaits_needs_no_second_thread_for_calls() -> None:
    with pytest.raises(TypeError, match='leave requests="thread" out'):

        class Bad:
            @remote.work(requests="thread")
            async def loop(self) -> None: ...


@pytest.mark.parametrize("role", ROLES)
def test_it_is_called_with_no_arguments(role: Role) -> None:
    with pytest.raises(TypeError, match="loop takes arguments"):

        class Bad:
            @role
            def loop(self, n: int) -> None: ...

    with pytest.raises(TypeError, match="loop takes arguments"):

        class Worse:
            @role
            def loop(self, *, n: int) -> None: ...

    with pytest.raises(TypeError, match="not even self"):

        class Worst:
            @role
            def loop() -> None: ...  # pyright: ignore[reportSelfClsParameterName]

    class Good:
        @role
        def loop(self, n: int = 1, *, m: int = 2) -> None: ...


@pytest.mark.parametrize("role", ROLES)
def test_a_function_outside_of_any_class_has_no_role(role: Role) -> None:
    def loop() -> None: ...

    with pytest.raises(TypeError, match=r"outside of any class.*util\.process"):
        role(loop)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "wrapper", [staticmethod, classmethod, property, functools.cache, functools.cached_property]
)
def test_only_a_plain_method_has_a_role(role: Role, wrapper: Any) -> None:
    def loop(self: object) -> None: ...

    loop.__qualname__ = "Bad.loop"
    with pytest.raises(TypeError, match="is for a plain method"):
        role(wrapper(loop))
    with pytest.raises(TypeError, match=r"Bad\.loop is marked, and is no plain method"):
        remote(type("Bad", (), {"loop": wrapper(role(loop))}))


def test_a_method_has_one_role() -> None:
    with pytest.raises(TypeError, match="is marked as work already, and can't be cleanup"):

        class Bad:
            @remote.cleanup
            @remote.work
            def loop(self) -> None: ...


class Base:
    @remote.work
    def loop(self) -> None: ...

    @remote.cleanup
    def close(self) -> None: ...


@pytest.mark.parametrize("role", ["work", "cleanup"])
def test_a_class_has_one_loop_and_one_cleanup(role: str) -> None:
    mark: Callable[[Any], Any] = getattr(remote, role)

    class Heir(Base):
        @mark
        def another(self) -> None: ...

    message = rf"2 methods marked @remote\.{role}.*another.*let that one call the others"
    with pytest.raises(TypeError, match=message):
        remote(Heir)
    with pytest.raises(TypeError, match=message):
        options(engine="thread").spawn(Heir)


def test_a_method_that_overrides_a_marked_one_is_no_second_one() -> None:
    @remote
    class Overriding(Base):
        @remote.work
        def loop(self) -> None: ...

        @remote.cleanup
        def close(self) -> None: ...

    @remote
    class Unmarked(Base):
        def loop(self) -> None: ...

    with Overriding.options(engine="thread").spawn(), Unmarked.options(engine="thread").spawn():
        pass


@pytest.mark.parametrize("name", ["_default", "_proxy"])
def test_a_method_has_no_parameter_that_is_an_option_of_calls(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(
        f"class Plain:\n def f(self, x, {name}=1): pass\n"
        f"class Keyword:\n def f(self, *, {name}): pass\n"
        f"class Static:\n @staticmethod\n def f({name}): pass\n"
        f"class Called:\n def __call__(self, {name}): pass\n"
        f"class Heir(Plain): pass\n"
        f"class Private:\n def _f(self, {name}): pass\n def __init__(self, {name}): pass\n"
        f"class Positional:\n def f(self, {name}, /): return {name}\n",
        scope,
    )
    for bad in ("Plain", "Keyword", "Static", "Called", "Heir"):
        with pytest.raises(TypeError, match=f"has a parameter '{name}'.*rename it"):
            remote(scope[bad])
        assert not hasattr(scope[bad], "spawn"), "a class that is refused is left as it is"
    remote(scope["Private"])
    with remote(scope["Positional"]).options(engine="thread").spawn() as actor:
        assert actor.f(4) == 4
