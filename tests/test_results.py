"""Which results are values and which are streams, and what is said of one that fails on arrival."""

import csv
import io
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import Proxy, remote
from remoteobj.util import process
from tests.conftest import Launch


class Countdown:
    """An iterator whose class says nothing of pickling."""

    def __init__(self, n: int = 3) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if not self.n:
            raise StopIteration
        self.n -= 1
        return self.n


class Saved(Countdown):
    """One that is data: it says how it is pickled."""

    def __getstate__(self) -> Any:
        return {"n": self.n}


class Held(Saved):
    """One that says that it can't be."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


class BadOnArrival:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


class Frozen(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("frozen")


class FrozenOnArrival:
    def __reduce__(self) -> Any:
        return raise_frozen, ()


def raise_frozen() -> None:
    raise Frozen("no")


VALUES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: io.BytesIO(b"a\nb\n"),
    "text": lambda: io.StringIO("a\nb\n"),
    "saved": Saved,
}
STREAMS: dict[str, Callable[[], Any]] = {
    "list": lambda: iter([2, 1, 0]),
    "map": lambda: map(abs, [2, 1, 0]),
    "zip": lambda: (a for (a,) in zip([2, 1, 0])),
    "range": lambda: iter(range(2, -1, -1)),
    "reversed": lambda: reversed([0, 1, 2]),
    "deque": lambda: iter(deque([2, 1, 0])),
    "chain": lambda: itertools.chain([2], [1, 0]),
    "generator": lambda: (n for n in (2, 1, 0)),
    "csv": lambda: map(len, csv.reader(["a,b", "a", ""])),
    "iterator": Countdown,
    "held": Held,
}


@remote
class Source:
    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.buffer = io.BytesIO(b"a\nb\n")

    def value(self, name: str) -> Any:
        return VALUES[name]()

    def stream(self, name: str) -> Any:
        return STREAMS[name]()

    def file(self) -> Any:
        assert self.path is not None
        self.opened = open(self.path)  # noqa: SIM115
        return self.opened

    def bad(self) -> Any:
        return [BadOnArrival()]

    def frozen(self) -> Any:
        return FrozenOnArrival()

    def bad_items(self) -> Generator[Any, Any, None]:
        got = yield 1
        yield [BadOnArrival()] if got is None else got

    def take(self, value: Any) -> None:
        pass

    def itself(self, name: str) -> Any:
        return [name]


@remote
class OwnIterator(Countdown):
    pass


@pytest.fixture
def source(launch: Launch) -> Iterator[Any]:
    with Source.options(**launch).spawn() as source:
        yield source


# ------------------------------------------------------------------ values and streams


@pytest.mark.parametrize("name", VALUES)
def test_an_iterator_that_is_data_is_a_value(source: Any, name: str) -> None:
    got, here = source.value(name), VALUES[name]()
    assert type(got) is type(here)
    assert list(got) == list(here)


def test_data_can_be_used_as_what_it_is(source: Any) -> None:
    assert source.value("bytes").getvalue() == b"a\nb\n"
    assert source.future_.value("text").result().read() == "a\nb\n"
    assert source.buffer.__.getvalue() == b"a\nb\n"


@pytest.mark.parametrize("name", STREAMS)
def test_other_iterators_are_streams(source: Any, name: str) -> None:
    stream = source.stream(name)
    assert "Stream" in repr(stream)
    assert [len(one) if isinstance(one, list) else one for one in stream] == [2, 1, 0]


def test_an_open_file_is_a_stream_of_its_lines(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a\nb\n")
    with Source.options(**launch).spawn(tmp_path / "file") as source:
        assert list(source.file()) == ["a\n", "b\n"]
        source.opened.close()


def test_what_a_proxy_is_iterated_over_for_is_a_stream(source: Any) -> None:
    assert list(source.buffer) == [b"a\n", b"b\n"]
    assert source.buffer.read() == b""  # its own were read, and not those of a copy
    assert source.itself("iter") == ["iter"]
    assert source.get_().itself("a") == ["a"]


def test_an_object_that_is_its_own_iterator_can_be_iterated_over(launch: Launch) -> None:
    with OwnIterator.options(**launch).spawn() as countdown:
        assert list(countdown) == [2, 1, 0]


def test_a_plain_proxy_serves_the_same_streams() -> None:
    proxy: Any = Proxy({"io": io.StringIO("x\n"), "next": Countdown()})
    with proxy:
        assert proxy["io"].__.read() == "x\n"
        assert list(proxy["next"].__) == [2, 1, 0]


@pytest.mark.parametrize("name", VALUES)
def test_a_function_returns_data_as_a_value(start_method: str, name: str) -> None:
    child = process(made, name, start_method_=start_method)
    with child:
        pass
    assert list(child.result) == list(VALUES[name]())


def made(name: str) -> Any:
    return VALUES[name]()


# ------------------------------------------------------------------ what fails on arrival


def note_of(call: Callable[[], object], kind: type[Exception] = ValueError) -> str:
    with pytest.raises(kind) as caught:
        call()
    (note,) = caught.value.__notes__
    return str(note)


def test_a_result_that_fails_on_arrival_says_of_which_call_it_was(source: Any) -> None:
    said = "This was raised here, while the result of ?.bad(...) was unpickled."
    assert note_of(lambda: source.bad()) == said
    assert note_of(lambda: source.with_(timeout=60).bad()) == said
    assert note_of(lambda: source.future_.bad().result()) == said
    said = said.replace("bad", "frozen")
    assert note_of(lambda: source.frozen(), Frozen) == said


def test_an_item_that_fails_on_arrival_says_of_which_call_it_was(source: Any) -> None:
    stream = source.bad_items()
    assert next(stream) == 1
    said = "This was raised here, while an item of ?.bad_items(...) was unpickled."
    assert note_of(lambda: next(stream)) == said


def test_arguments_that_fail_on_arrival_say_so(source: Any) -> None:
    said = "This was raised in the actor, while the call was unpickled."
    assert note_of(lambda: source.take(BadOnArrival())) == said
    stream = source.bad_items()
    next(stream)
    said = "This was raised in the actor, while what it was sent was unpickled."
    assert note_of(lambda: stream.send(BadOnArrival())) == said


def test_what_the_call_itself_raises_has_no_such_note(source: Any) -> None:
    with pytest.raises(TypeError) as caught:
        source.take()
    assert not hasattr(caught.value, "__notes__")
