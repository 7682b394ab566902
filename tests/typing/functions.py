"""What needs no plugin: the functions of the face."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar, Unpack, assert_type, overload

from remoteobj import (
    Except,
    Handle,
    LocalExcept,
    Proxy,
    RestartLimitError,
    Spawner,
    SpawnOptions,
    Stream,
    Supervisor,
    awaitable,
    current,
    future,
    get,
    options,
    spawn,
)

T = TypeVar("T")


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.names: dict[str, int] = {}

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def rows(self, *, upto: int) -> Iterator[int]:
        yield from range(upto)

    async def add_slowly(self, n: int = 1) -> int:
        return self.add(n)

    async def rows_slowly(self, *, upto: int) -> AsyncIterator[int]:
        for i in range(upto):
            yield i

    def each_of(self, items: list[T]) -> T:
        return items[0]

    @overload
    def find(self, what: int) -> str: ...
    @overload
    def find(self, what: str) -> int: ...
    def find(self, what: int | str) -> int | str:
        return what


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


def made(value: int, *, twice: bool = False) -> Counter:
    return Counter(2 * value if twice else value)


# --- spawn -----------------------------------------------------------------------------------


def what_is_spawned_is_a_handle_and_with_gives_the_object() -> None:
    handle = spawn(Counter, 10)
    assert_type(handle, Handle[Counter])
    with handle as counter:
        assert_type(counter, Counter)
        assert_type(counter.add(1), int)
        assert_type(counter.value, int)
        counter.add("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        counter.ad(1)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        counter.value.__  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    assert_type(handle.pid_, int)
    assert_type(handle.exc_, Except)


async def so_it_is_with_async_with() -> None:
    async with spawn(Counter) as counter:
        assert_type(counter, Counter)


def arguments_are_those_of_the_factory() -> None:
    spawn(Counter, start=1)
    spawn(made, 1, twice=True)
    spawn(Counter, "x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    spawn(Counter, begin=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    spawn(made)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    spawn(Counter())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType, reportCallIssue]


def any_factory_will_do() -> None:
    assert_type(spawn(made, 1), Handle[Counter])
    assert_type(spawn(lambda: Counter(3)), Handle[Counter])
    assert_type(spawn(Box[int], 1), Handle[Box[int]])
    with spawn(bytearray, 3) as buffer:
        assert_type(buffer, bytearray)


# --- options ---------------------------------------------------------------------------------


def options_are_checked_by_name_and_type() -> None:
    spawner = options(name="c", daemon=False, spawn_timeout=None)
    assert_type(spawner, Spawner)
    assert_type(spawner.options(exc=Except()), Spawner)
    assert_type(spawner.spawn(Counter, 10), Handle[Counter])
    spawner.spawn(Counter, "x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    options(nam="c")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    spawner.options(nam="c")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    options(daemon="no")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def options_are_passed_on(**kwargs: Unpack[SpawnOptions]) -> Handle[Counter]:
    chosen: SpawnOptions = {"start_method": "spawn"}
    loose: dict[str, Any] = {"wait": False}
    options(**loose)
    options(**chosen)
    return options(**kwargs).spawn(Counter)


# --- get, future, awaitable ------------------------------------------------------------------


def get_gives_what_the_part_is(counter: Counter, proxy: Proxy) -> None:
    assert_type(get(counter.value), int)
    assert_type(get(counter.names["a"]), int)
    assert_type(get(counter.value, None), int | None)
    assert_type(get(counter.value, lambda: "none"), int | str)
    assert_type(get(counter.value, default_local=True), int)
    assert_type(get(proxy.value), Any)
    assert_type(get(5), int)
    assert_type(get(counter.add_slowly(1)), int)
    assert_type(get(counter.rows_slowly(upto=3)), Iterator[int])


def a_future_is_one_of_what_the_method_returns(counter: Counter) -> None:
    assert_type(future(counter.add)(1), Future[int])
    assert_type(future(counter.add)(n=1).result(), int)
    assert_type(get(future(counter.add_slowly)(1).result()), int)
    assert_type(future(counter.rows)(upto=3), Future[Iterator[int]])
    assert_type(future(counter.each_of)([""]), Future[str])
    later: Callable[[int], Future[int]] = future(counter.add)
    later(1)
    future(counter.add)("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    future(counter.add)(m=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    future(counter.add(1))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    future(counter.value)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def what_is_awaited_is_what_the_method_returns(counter: Counter) -> None:
    assert_type(await awaitable(counter.add)(1), int)
    assert_type(get(await awaitable(counter.add_slowly)(1)), int)
    assert_type(await awaitable(counter.each_of)([""]), str)
    async for slow_row in awaitable(counter.rows_slowly)(upto=3):
        assert_type(slow_row, int)
    call: Awaitable[int] = awaitable(counter.add)(1)
    task: Coroutine[Any, Any, int] = awaitable(counter.add)(1)
    await call
    await task
    assert_type(await awaitable(counter.rows)(upto=3), Iterator[int])
    async for row in awaitable(counter.rows)(upto=3):
        assert_type(row, int)
    async for _ in awaitable(counter.add)(1):  # type: ignore[misc] # pyright: ignore[reportGeneralTypeIssues]
        pass
    await awaitable(counter.add)("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    awaitable(counter.value)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def of_a_handle_everything_is_allowed(handle: Handle[Counter]) -> None:
    assert_type(handle.add(1), Any)
    assert_type(handle.value.__, Any)
    assert_type(handle.future_.add(1), Any)
    assert_type(handle.status_().done, int)


def within_an_actor_there_is_its_proxy() -> None:
    assert_type(current(), Proxy)
    assert_type(current().listening_, bool)
    assert_type(current().process_requests(timeout=None), int)


# --- streams ---------------------------------------------------------------------------------


async def a_stream_is_one_of_its_items(handle: Handle[Counter]) -> None:
    rows: Stream[int] = handle.rows(upto=3)
    assert_type(next(rows), int)
    assert_type(list(rows), list[int])
    assert_type(rows.send("more"), int)
    assert_type(rows.throw(ValueError()), int)
    assert_type(await rows.asend("more"), int)
    assert_type(await anext(rows), int)
    async for row in rows:
        assert_type(row, int)
    wider: Stream[float] = rows
    wider.close()
    wrong: Stream[str] = rows  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    del wrong


# --- exceptions by group ---------------------------------------------------------------------


def contexts_give_whose_they_are() -> None:
    exc, local = Except(ValueError, OSError), LocalExcept(raises=False)
    with exc("work", types=OSError) as same, local as same_local, local("b") as same_named:
        assert_type(same, Except)
        assert_type(same_local, LocalExcept)
        assert_type(same_named, LocalExcept)
    assert_type(exc["work"], list[BaseException])
    assert_type(exc.last("work"), BaseException | None)
    assert_type(exc.get("work", "well"), BaseException | str)
    assert_type(exc.wrap(made)(1), Counter)
    assert_type(list(exc), list[BaseException])
    Except("work")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    exc.wrap(made)("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    exc("work", raise_=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


# ------------------------------------------------------------------ supervisors


def of_supervisors() -> None:
    with Supervisor("one-for-all", max_restarts=5, within=10.0, stop_timeout=1.0) as supervisor:
        assert_type(supervisor, Supervisor)
        counter = supervisor.spawn(Counter, 3)
        assert_type(counter, Handle[Counter])
        assert_type(supervisor.options(restart="always").spawn(Counter), Handle[Counter])
        below = supervisor.supervisor("rest-for-one", restart="never")
        assert_type(below, Supervisor)
        assert_type(supervisor.children, list[Handle[Any] | Supervisor])
        assert_type(supervisor.error, RestartLimitError | None)
        assert_type(supervisor.wait(1.0), bool)
    Supervisor("one_for_one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor.spawn(Counter, "three")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor.options(backoff=1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
