"""What a proxy tells of its object's class, and that whoever looks at one sends nothing."""

import contextlib
import copy
import dataclasses
import doctest
import functools
import inspect
import pickle
import pprint
import pydoc
import reprlib
import threading
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, ClassVar
from unittest import mock

import pytest

import remoteobj
from remoteobj import Proxy, each, options, remote, spawn
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.tools import Call

NO_THREAD = {"inline": "answers before anything else can happen"}


def logged(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


class Device:
    """Something that can be switched on."""

    def start(self, level: int = 1) -> bool:
        """Switch it on."""
        return level > 0

    def label(self) -> str:
        """What is written on it."""
        return "device"


@remote
class Player(Device):
    """Plays tapes."""

    volume: int
    kinds: ClassVar[list[str]] = ["tape"]
    louder = functools.partialmethod(Device.start, 2)
    fixed = functools.partial(max, 1)

    def __init__(self) -> None:
        self.tapes = ["a", "b"]
        self._secret = 1

    def __call__(self, track: int) -> int:
        return track

    def play(self, tape: "Tape", /, speed: float = 1.0, *, loop: bool = False) -> "Tape":
        """Play a tape."""
        self.playing = tape
        return tape

    def label(self) -> str:
        return "player"

    @logged
    def wind(self, to: int) -> str:
        """Wind it."""
        return f"at {to}"

    @staticmethod
    def formats(kind: str) -> list[str]:
        """What it can play."""
        return [kind]

    @classmethod
    def made_by(cls, year: int = 2000) -> str:
        """Who made it."""
        return f"{cls.__name__} of {year}"

    @functools.lru_cache  # noqa: B019 - one of the kinds of methods that there are
    def search(self, word: str) -> int:
        """Find a word."""
        return len(word)

    @functools.singledispatchmethod
    def eject(self, how: int) -> None:
        """Eject."""

    @property
    def position(self) -> int:
        """Where the tape is."""
        return 7

    class Tape:
        """A tape."""

        def __init__(self, minutes: int) -> None:
            self.minutes = minutes

    def wait(self, gate: Gate) -> None:
        gate.park()


Tape = Player.Tape
METHODS = ["play", "start", "wind", "formats", "made_by", "search", "Tape"]
PLAIN = "(*args, **kwargs)"
TABLE: Any = dict


def told(of: Any) -> tuple[object, ...]:
    """All that a method tells."""
    return (
        inspect.signature(of),
        of.__name__,
        of.__qualname__,
        of.__module__,
        inspect.getdoc(of),
        getattr(function := inspect.unwrap(of), "__func__", function),
    )


@pytest.fixture
def player(launch: Launch) -> Iterator[Any]:
    with Player.options(**launch).spawn() as handle:
        yield handle


@contextlib.contextmanager
def kept_busy(gate: Gate, launch: Launch) -> Iterator[Any]:
    """One that answers nothing; at the end it has been asked for nothing but what keeps it so."""
    with Player.options(**launch).spawn() as handle:
        call = Call(handle.wait, gate)
        gate.wait_for_arrival()
        try:
            yield handle
            status = handle.status_()
        finally:
            gate.open()
            call.result()
        assert (status.done, status.queued) == (0, ())


@pytest.fixture
def busy(gate: Gate) -> Iterator[Any]:
    with kept_busy(gate, {"start_method": "fork"}) as handle:
        yield handle


# ------------------------------------------------------------------ methods


@pytest.mark.engines(skip=NO_THREAD)
def test_a_busy_actor_s_methods_are_told_as_by_the_object_itself(
    launch: Launch, gate: Gate
) -> None:
    here = Player()
    with kept_busy(gate, launch) as player:
        for name in METHODS:
            assert told(getattr(player, name)) == told(getattr(here, name)), name
        names = {name for name in dir(here) if name[:1] != "_"} - {"remote"}
        assert names - {*dir(player)} == {"spawn", "options"}


def test_what_a_method_is_wrapped_around_is_that_of_the_class_or_else_the_class_s_function(
    busy: Any,
) -> None:
    assert busy.wind.__wrapped__ is inspect.unwrap(Player.wind)
    assert busy.play.__wrapped__ is Player.play
    assert inspect.getsource(busy.start) == inspect.getsource(Device.start)
    assert typing.get_type_hints(busy.play) == typing.get_type_hints(Player.play)


def test_help_shows_the_signature_and_the_doc_of_a_method(busy: Any) -> None:
    page = pydoc.plain(pydoc.render_doc(busy.play))
    assert "\nplay(" in page
    assert "speed: float = 1.0," in page
    assert "    Play a tape." in page
    assert "start(level: int = 1) -> bool\n    Switch it on." in pydoc.plain(
        pydoc.render_doc(busy.start)
    )
    assert "Plays tapes." in pydoc.render_doc(busy)
    assert "Where the tape is." in pydoc.render_doc(busy.position)


def test_a_method_without_a_doc_has_that_of_the_one_it_stands_in_place_of(busy: Any) -> None:
    assert busy.label.__doc__ == Device.label.__doc__
    assert busy.wait.__doc__ is None


def test_what_functools_makes_of_methods_is_told_as_what_it_is_made_of(busy: Any) -> None:
    assert (busy.louder.__name__, busy.louder.__doc__) == ("start", "Switch it on.")
    assert str(inspect.signature(busy.louder)) == "() -> bool"
    assert busy.fixed.__name__ == "max"
    assert str(inspect.signature(busy.eject)) == "(how: int) -> None"


def test_every_view_of_a_method_tells_the_same(busy: Any) -> None:
    of_class = told(busy.play)
    for view in (busy.future_, busy.async_, busy.cast_, busy.with_(timeout=1), copy.copy(busy)):
        assert told(view.play) == of_class
        assert told(view.attrs_("play")) == of_class
        assert {"play", "volume"} <= {*dir(view)}
    assert busy.super.label.__doc__ == "What is written on it."
    assert busy.super.label.__wrapped__ is Device.label
    assert {"label", "start"} <= {*dir(busy.super)}
    assert "play" not in dir(busy.super)
    assert str(inspect.signature(busy.super.play)) == PLAIN
    assert {"play", "map"} <= {*dir(each([busy]))}


def test_a_method_is_still_a_proxy_and_nothing_else_is_a_method(busy: Any) -> None:
    assert isinstance(busy.play, Proxy)
    assert type(busy.play) is Proxy
    assert inspect.isroutine(busy.play)
    for other in (busy, busy.position, busy.tapes, busy.kinds, busy.play.x, busy.tapes["a"]):
        assert not inspect.isroutine(other)
        assert other.__class__ is type(other)
        assert not hasattr(other, "__wrapped__")
    for kind in (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type):
        assert not isinstance(busy.play, kind)
    assert not inspect.iscoroutinefunction(busy.play)


@pytest.mark.engines(skip={"inline": "is in no other thread's reach"})
def test_to_look_at_a_method_changes_nothing_about_it(player: Any) -> None:
    tape = player.future_.play
    inspect.signature(tape)
    assert isinstance(tape("tape"), Future)
    assert player.play("tape", loop=True) == "tape"
    assert pickle.loads(pickle.dumps(player.play))("tape") == "tape"
    assert player.passto(lambda obj, method: method("tape"), player.play) == "tape"


# ------------------------------------------------------------------ what is not a method


def test_other_parts_have_a_plain_signature_and_no_name_of_their_own(busy: Any) -> None:
    for part in (busy.position, busy.tapes, busy.kinds, busy.no_such, busy.tapes["a"], busy.x.y):
        assert str(inspect.signature(part)) == PLAIN
    for part in (busy.position, busy.tapes, busy.kinds, busy.tapes["a"], busy):
        assert not hasattr(part, "__name__")
        assert not hasattr(part, "__qualname__")
    assert (busy.x.y.__name__, busy.x.y.__qualname__) == ("y", "y")
    assert busy.position.__doc__ == "Where the tape is."
    assert busy.tapes.__doc__ == Proxy.__doc__


def test_the_whole_object_has_the_doc_and_the_signature_of_its_class(busy: Any) -> None:
    assert (busy.__doc__, str(inspect.signature(busy))) == ("Plays tapes.", "(track: int) -> int")
    assert (busy.__class__, busy.__module__) == (type(busy), type(busy).__module__)


def test_the_classes_of_proxies_have_their_own_docs() -> None:
    assert str(Proxy.__doc__).startswith("Stands for an object")
    assert str(remoteobj.Handle.__doc__).startswith("A proxy that owns")
    assert str(inspect.signature(Proxy)).startswith("(obj: ")


def test_dir_lists_names_that_work_and_what_methods_set(busy: Any) -> None:
    names = dir(busy)
    assert names == sorted({*names})
    assert {"play", "start", "volume", "kinds", "tapes", "playing", "stop_", "passto"} <= {*names}
    assert not [name for name in names if name[:1] == "_"]
    assert not {"spawn", "options", "remote"} & {*names}, "of @remote, and not the object's"
    assert not {"stop_", "play"} & {*dir(busy.play)}
    assert "get_" in dir(busy.play)


def test_names_of_data_classes_and_slots_are_listed() -> None:
    @dataclasses.dataclass
    class Row:
        width: int

    class Slotted:
        __slots__ = ("left", "right")

    assert "width" in dir(Proxy(Row(1)))
    assert {"left", "right"} <= {*dir(Proxy(Slotted()))}


def test_the_object_may_be_a_class_or_a_function_or_a_module() -> None:
    assert {"mro", "get_"} <= {*dir(Proxy(Device))}
    for obj in (logged, types):
        assert "get_" in dir(Proxy(obj))


class Raising:
    """What looks at it must ask it for as little as there is to say."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __call__(self) -> int:
        return 1


class OfRaising:
    call = Raising()


def test_what_raises_when_it_is_looked_at_is_told_of_all_the_same() -> None:
    part = Proxy(OfRaising()).call
    assert part.__wrapped__ is vars(OfRaising)["call"]
    assert str(inspect.signature(part)) == PLAIN


class Odd:
    """Its methods are made of what is no function, and some of its names are no names."""

    __static_attributes__ = None
    version = classmethod(property(lambda _: 2))  # type: ignore[arg-type, var-annotated]
    nothing: Any = staticmethod(5)  # type: ignore[arg-type]

    @functools.singledispatchmethod
    @classmethod
    def read(cls, source: int) -> None:
        """Read it."""

    @functools.singledispatchmethod
    @staticmethod
    def check(source: int) -> None:
        """Check it."""


Odd.__annotations__ = {"good": int, 3: int}  # type: ignore[dict-item]


def test_methods_that_are_made_of_no_function_are_told_as_far_as_they_are_known() -> None:
    odd: Any = Proxy(Odd())
    for part in (odd.read, odd.check):
        assert str(inspect.signature(part)) == "(source: int) -> None"
    assert (odd.read.__name__, odd.check.__doc__) == ("read", "Check it.")
    for part in (odd.version, odd.nothing):
        assert str(inspect.signature(part)) == PLAIN
        assert not isinstance(part, int)
        assert not hasattr(part, "__name__")
    assert {"read", "good"} <= {*dir(odd)}


# ------------------------------------------------------------------ many at once


def test_a_method_of_many_is_told_as_the_method_of_one(busy: Any) -> None:
    many = each([busy, Proxy(Player())])
    for view in (many, many.future_, many.with_(timeout=1)):
        assert inspect.signature(view.play) == inspect.signature(busy.play)
        assert view.play.__name__ == "play"
    assert str(inspect.signature(many.tapes)) == PLAIN
    assert not hasattr(many.tapes, "__name__")


def test_a_copy_of_a_view_of_many_is_that_view(busy: Any) -> None:
    for view in (each([busy]), each([busy]).play):
        assert copy.copy(view) is view
        assert copy.deepcopy(view) is view


# ------------------------------------------------------------------ where the class is known


def tell_elsewhere(self: object, proxy: Any, name: str) -> tuple[str, list[str]]:
    part = getattr(proxy, name)
    return f"{getattr(part, '__name__', '')}{inspect.signature(part)}", dir(proxy)


def test_it_is_known_in_other_processes_that_have_its_module(busy: Any) -> None:
    with options(start_method="spawn").spawn(TABLE) as other:
        signature, names = other.passto(tell_elsewhere, busy, "start")
        assert signature == "start(level: int = 1) -> bool"
        assert "playing" in names
        assert other.passto(tell_elsewhere, Proxy(Device()), "start")[0] == signature


def test_where_it_is_not_known_nothing_is_asked_and_a_method_takes_everything() -> None:
    class Hidden:
        def method(self, n: int) -> int:
            """Told here."""
            return n

    hidden: Any
    with spawn(Hidden) as hidden, spawn(TABLE) as other:
        assert str(inspect.signature(hidden.method)) == "(n: int) -> int"
        signature, names = other.passto(tell_elsewhere, hidden, "method")
        assert signature == f"method{PLAIN}"
        assert "get_" in names
        assert "method" not in names
        assert hidden.status_().done == 0


def test_an_actor_knows_its_own(launch: Launch) -> None:
    player: Any
    with options(**launch).spawn(Player) as player:
        assert player.passto(lambda _: "play" in dir(remoteobj.current()))
        own = player.passto(lambda _: remoteobj.current())
        assert "play" in dir(own)


def make_player() -> Player:
    return Player()


def make_hidden() -> object:
    class Hidden:
        def method(self, n: int) -> int:
            return n

    return Hidden()


@pytest.mark.engines(
    skip={"inline": "as thread", "tcp": "as fork", "forkserver": "as spawn", "thread": "is here"}
)
def test_what_a_factory_made_is_known_by_the_name_of_its_class(launch: Launch) -> None:
    with options(**launch).spawn(make_player) as player:
        assert inspect.signature(player.start) == inspect.signature(Player().start)
        assert player.__doc__ == "Plays tapes."
    with options(**launch).spawn(lambda: {"a": 1}) as table:
        assert "(key, default=None, /)" in str(inspect.signature(table.get))
        assert table.update.__doc__ == dict.update.__doc__
        assert "setdefault" in dir(table)
    hidden: Any
    with options(**launch).spawn(make_hidden) as hidden:
        assert str(inspect.signature(hidden.method)) == PLAIN
        assert hidden.method.__name__ == "method"
        assert hidden.method(3) == 3


def test_a_class_that_makes_something_else_tells_of_that() -> None:
    class Other:
        def __new__(cls) -> Any:
            return {}

    with spawn(Other) as table:
        assert "setdefault" in dir(table)


def test_one_that_is_not_born_yet_tells_what_its_factory_has(gate: Gate) -> None:
    class Late:
        def __init__(self, gate: Gate) -> None:
            gate.park()

        def method(self, n: int) -> int:
            return n

    late = options(wait=False).spawn(Late, gate)
    assert str(inspect.signature(late.method)) == "(n: int) -> int"
    assert "method" in dir(late)
    gate.open()
    late.stop_()


# ------------------------------------------------------------------ odd classes


class Trap:
    """Fails at whatever is done to it."""

    def __get__(self, obj: object, cls: type) -> Any:
        raise AssertionError("a descriptor was run")

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return Trap
        raise RuntimeError(name)

    def __call__(self) -> None: ...


def odd_class() -> type:
    """Made here, so that none of those that look for tests finds it."""

    class Odd:
        trap = Trap()
        callable_attribute = len
        nothing = None

        def without_self() -> None: ...  # type: ignore[misc]

        def misspelt(self, a: "NoSuch") -> "NoSuch": ...  # type: ignore[name-defined]  # noqa: F821

        def __getattr__(self, name: str) -> Any:
            raise AssertionError("the object was asked")

        def __dir__(self) -> Iterable[str]:
            raise AssertionError("the object was asked")

    return Odd


def test_no_code_of_a_class_runs_and_the_oddest_class_fails_nothing() -> None:
    odd: Any = Proxy(odd_class()())
    for name in ("trap", "callable_attribute", "nothing", "without_self", "missing"):
        part = getattr(odd, name)
        signature = str(inspect.signature(part))
        assert signature == ("(obj, /)" if name == "callable_attribute" else PLAIN), name
        assert part.__doc__ is None or isinstance(part.__doc__, str)
        for asked in ("__name__", "__wrapped__", "__annotations__", "__text_signature__"):
            getattr(part, asked, None)
        pydoc.render_doc(part)
    assert "NoSuch" in str(inspect.signature(odd.misspelt))
    assert {"trap", "nothing", "without_self"} <= {*dir(odd)}


# ------------------------------------------------------------------ tools

ODD_NAMES = [
    "_ipython_canary_method_should_not_exist_",
    "_ipython_display_",
    "_ipython_key_completions_",
    "_repr_mimebundle_",
    "_repr_html_",
    "_repr_pretty_",
    "_repr_png_",
    "__abstractmethods__",
    "__annotate__",
    "__annotations__",
    "__array_interface__",
    "__await__",
    "__bases__",
    "__code__",
    "__custom_documentations__",
    "__dataclass_fields__",
    "__defaults__",
    "__dict__",
    "__func__",
    "__isabstractmethod__",
    "__name__",
    "__objclass__",
    "__origin__",
    "__partialmethod__",
    "__qualname__",
    "__rich_repr__",
    "__self__",
    "__signature__",
    "__text_signature__",
    "__type_params__",
    "__wrapped__",
    "_is_coroutine_mark",
    "_mock_methods",
    "_partialmethod",
]


def find_doctests(target: Any) -> None:
    module = types.ModuleType("shown")
    vars(module)["shown"] = target
    doctest.DocTestFinder().find(module)
    pydoc.render_doc(module)


def mimic(target: Any) -> None:
    mimicked = mock.create_autospec(target)
    repr(mimicked)
    mock.Mock(spec=target)
    with mock.patch.dict(globals(), shown=target), mock.patch(f"{__name__}.shown", autospec=True):
        pass


def wrap(target: Any) -> None:
    @functools.wraps(target)
    def wrapper() -> None: ...

    inspect.signature(wrapper)
    inspect.unwrap(wrapper)
    inspect.signature(functools.partial(target))
    threading.Thread(target=target)


def show_by_rich(target: Any) -> None:
    rich = pytest.importorskip("rich")
    from rich.console import Console  # only if it is there: start-up
    from rich.pretty import pretty_repr

    with Console(file=None, record=True, quiet=True) as console:
        rich.inspect(target, all=True, help=True, console=console)
    pretty_repr(target)


TOOLS: list[Callable[[Any], object]] = [
    lambda target: [getattr(target, name, None) for name in ODD_NAMES],
    lambda target: [hasattr(target, name) for name in ODD_NAMES],
    dir,
    repr,
    callable,
    copy.copy,
    copy.deepcopy,
    dataclasses.is_dataclass,
    inspect.getdoc,
    inspect.getmembers,
    inspect.getmodule,
    inspect.isabstract,
    inspect.isawaitable,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.ismethod,
    inspect.isroutine,
    inspect.signature,
    inspect.unwrap,
    pprint.pformat,
    pydoc.render_doc,
    reprlib.repr,
    typing.get_origin,
    find_doctests,
    mimic,
    show_by_rich,
    wrap,
    lambda target: isinstance(target, (Iterable, typing.SupportsInt, types.FunctionType, Trap)),
]


@pytest.mark.parametrize("what", ["handle", "copy", "method", "attribute", "item", "view"])
def test_tools_that_look_at_a_proxy_neither_call_it_nor_fail(busy: Any, what: str) -> None:
    targets = {
        "handle": busy,
        "copy": pickle.loads(pickle.dumps(busy)),
        "method": busy.play,
        "attribute": busy.position,
        "item": busy.tapes[0],
        "view": busy.future_,
    }
    for tool in TOOLS:
        tool(targets[what])


def test_a_tool_that_says_what_it_can_not_do_says_it_of_proxies() -> None:
    with pytest.raises(TypeError, match="vars"):
        vars(Proxy(Device()))
