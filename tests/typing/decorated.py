"""A decorated class, to both checkers: it stays the class that it was."""

from typing import assert_type

from remoteobj import Handle, current, options, remote, spawn


@remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    @remote.work(requests="loop")
    def loop(self) -> None:
        while current().listening_:
            current().process_requests(timeout=None)

    @remote.cleanup
    def close(self) -> None: ...

    @remote.checkpoint
    def save(self) -> int:
        return self.value

    @remote.restore
    def load(self, value: int) -> None:
        self.value = value


@remote(name="better", daemon=False)
class Better(Counter):
    def double(self) -> int:
        return self.add(self.value)


def its_objects_are_ordinary_ones() -> None:
    assert_type(Counter(10), Counter)
    assert_type(Counter(10).add(1), int)
    assert_type(Better().double(), int)
    assert_type(Counter().save(), int)
    Counter().load("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    counter: Counter = Better(3)
    assert isinstance(counter, Better)
    assert_type(counter.double(), int)
    Counter("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Better().loop(1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def it_is_spawned_as_any_other() -> None:
    assert_type(spawn(Counter, 10), Handle[Counter])
    with options(name="c").spawn(Better, start=1) as better:
        assert_type(better.double(), int)
    spawn(Counter, "x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def to_pyright_a_decorator_can_not_add_a_name() -> None:
    Counter.spawn(10)  # pyright: ignore[reportAttributeAccessIssue]
    Better.options(name="c")  # pyright: ignore[reportAttributeAccessIssue]


def what_the_decorator_takes_is_checked() -> None:
    remote(nam="c")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    remote(checkpoint_every=0.0, checkpoint_path="state")
    remote(checkpoint_every="1 s")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    remote(daemon=3)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    remote.work(requests="process")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
