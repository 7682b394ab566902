"""What `@remote` adds to a class, as mypy knows it by the plugin `remoteobj.mypy`."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, assert_type, overload

import remoteobj
from remoteobj import Handle, Proxy, get, remote

T = TypeVar("T")
C = TypeVar("C", bound="Counter")


@remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def serve(self) -> None:
        assert_type(self.remote, Proxy)
        assert_type(self.remote.process_requests(), int)

    @classmethod
    def at_ten(cls) -> "Handle[Counter]":
        cls.spawn("x")  # type: ignore[arg-type]
        return cls.spawn(10)


class Named(Counter):
    """Not decorated itself, and with a constructor of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def spawn_has_the_parameters_of_the_constructor() -> None:
    assert_type(Counter.spawn(10), Handle[Counter])
    assert_type(Counter.spawn(start=10), Handle[Counter])
    assert_type(Counter.at_ten(), Handle[Counter])
    with Counter.spawn() as counter:
        assert_type(counter, Counter)
        assert_type(get(counter.value), int)
        counter.add("x")  # type: ignore[arg-type]
        counter.ad(1)  # type: ignore[attr-defined]
    Counter.spawn("x")  # type: ignore[arg-type]
    Counter.spawn(begin=1)  # type: ignore[call-arg]
    Counter.spwan()  # type: ignore[attr-defined]


def a_subclass_has_its_own() -> None:
    assert_type(Named.spawn("a"), Handle[Named])
    Named.spawn(1)  # type: ignore[arg-type]
    Named.spawn()  # type: ignore[call-arg]


class Chosen(Named):
    """Has something else by the name of what the decorator added."""

    @classmethod
    def options(cls, number: int) -> list[int]:
        return [number]


def what_a_subclass_defines_anew_is_its_own(exactly: type[Chosen]) -> None:
    assert_type(Chosen.options(3), list[int])
    assert_type(exactly.options(3), list[int])
    assert_type(Chosen.spawn("a"), Handle[Chosen])


def so_has_what_options_give() -> None:
    spawner = Counter.options(name="c", daemon=False)
    assert_type(spawner.spawn(10), Handle[Counter])
    assert_type(spawner.options(wait=False).spawn(), Handle[Counter])
    assert_type(Named.options().spawn("a"), Handle[Named])
    spawner.spawn("x")  # type: ignore[arg-type]
    Named.options().spawn(1)  # type: ignore[arg-type]
    Counter.options(nam="c")  # type: ignore[call-arg]
    spawner.options(nam="c")  # type: ignore[call-arg]
    Counter.options(daemon="no")  # type: ignore[arg-type]


def what_is_known_of_a_class_by_its_type_alone(
    exactly: type[Counter], some: type[T], of_a_bound: type[C]
) -> None:
    assert_type(exactly.spawn(10), Handle[Counter])
    assert_type(of_a_bound.spawn(10), Handle[C])
    exactly.spawn("x")  # type: ignore[arg-type]
    some.spawn(10)  # type: ignore[attr-defined]


@remoteobj.remote(name="box")
class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


@remote
class Many:
    @overload
    def __init__(self, what: int) -> None: ...
    @overload
    def __init__(self, what: str, more: str) -> None: ...
    def __init__(self, what: int | str, more: str = "") -> None: ...


def generic_classes_and_overloaded_constructors_keep_what_they_are() -> None:
    assert_type(Box.spawn(1), Handle[Box[int]])
    assert_type(Box[str].spawn("a"), Handle[Box[str]])
    assert_type(Box.options().spawn(1), Handle[Box[Any]])
    assert_type(Many.spawn(1), Handle[Many])
    assert_type(Many.options().spawn("a", "b"), Handle[Many])
    Many.spawn("a")  # type: ignore[call-overload]
    Many.options().spawn("a")  # type: ignore[call-overload]


class Outer:
    @remote
    @dataclass
    class Point:
        x: int
        y: int = 0


def so_do_dataclasses_and_classes_within_classes() -> None:
    assert_type(Outer.Point.spawn(1, y=2), Handle[Outer.Point])
    Outer.Point.spawn("x")  # type: ignore[arg-type]


async def so_it_is_with_async_with() -> None:
    async with Counter.spawn(10) as counter:
        assert_type(counter, Counter)


@remote
class Session:
    """With names of its own."""

    def __init__(self) -> None:
        self.remote = "a host"

    def options(self, url: str) -> str:
        return url

    def spawn(self) -> int:
        return len(self.remote)


class LateSession(Counter):
    def spawn(self) -> str:
        return "a child"


def objects_keep_names_of_their_own() -> None:
    assert_type(Session().options("x"), str)
    assert_type(Session().spawn(), int)
    assert_type(LateSession().spawn(), str)
    assert_type(Session.spawn(), Handle[Session])
    assert_type(Session.options(name="s").spawn(), Handle[Session])
    LateSession.spawn(3)  # type: ignore[arg-type]  # it is a plain method, which takes a `self`


def a_class_within_a_function_too() -> None:
    @remote
    class Local:
        def __init__(self, size: int) -> None: ...

    assert_type(Local.spawn(3), Handle[Local])
    Local.spawn()  # type: ignore[call-arg]


class Plain:
    """Not decorated: the names are its own affair."""

    @classmethod
    def spawn(cls) -> int:
        return 5


def other_classes_are_left_alone() -> None:
    assert_type(Plain.spawn(), int)
    Plain.options()  # type: ignore[attr-defined]
