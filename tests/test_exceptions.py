"""Exceptions that are raised come out of another process as what they went in."""

import asyncio
import copy
import copyreg
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from remoteobj._pickling.exceptions import for_caller, pack_error, unpack_error
from remoteobj.errors import RemoteError, UnsendableError
from tests.raising import (
    Misfit,
    Slotted,
    assert_same_tree,
    deep,
    fail_by,
    raised,
    shown,
    trees,
)

LOCK = threading.Lock()


def travel(exc: BaseException) -> Any:
    return unpack_error(pack_error(exc))


# ------------------------------------------------------------------ what the caller is given


@pytest.mark.parametrize(
    "exc",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopIteration(5),
        StopAsyncIteration(),
        BaseExceptionGroup("g", [KeyboardInterrupt()]),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_would_end_a_loop_reaches_the_caller_wrapped(exc: BaseException) -> None:
    got = travel(for_caller(exc))
    assert type(got) is RemoteError
    assert got.type_name.endswith(type(exc).__name__)
    assert type(got.__cause__) is type(exc)
    assert got.__cause__ is not None
    assert got.__cause__.args[:1] == exc.args[:1]


def test_other_exceptions_reach_the_caller_as_they_are() -> None:
    for exc in (ValueError(), ExceptionGroup("g", [StopIteration()]), RemoteError("x")):
        assert for_caller(exc) is exc


def test_the_code_of_an_exit_and_the_value_of_a_return_arrive() -> None:
    assert travel(SystemExit(3)).code == 3
    assert travel(StopIteration([5])).value == [5]


# ------------------------------------------------------------------ state of one exception


def builtin_state(exc: BaseException) -> dict[str, object]:
    names = [name for name in dir(exc) if not name.startswith("_")]
    return {
        name: getattr(exc, name)
        for name in names
        if name not in ("obj", "args", "exceptions") and not callable(getattr(exc, name, None))
        if hasattr(exc, name)
    }


BUILTIN: list[BaseException] = [
    ValueError(),
    ValueError("a", 1, None),
    KeyError("k"),
    OSError(),
    OSError("text alone"),
    OSError(2, "none"),
    FileNotFoundError(2, "none", "/a"),
    OSError(18, "cross", "/a", None, "/b"),
    BlockingIOError(11, "again", 7),
    fail_by(lambda: open("/no/such/file")),  # noqa: SIM115
    ImportError("m", name="n", path="p"),
    fail_by(lambda: __import__("no_such_module")),
    fail_by(lambda: object().missing),  # type: ignore[attr-defined]
    fail_by(lambda: missing),  # type: ignore[name-defined]  # noqa: F821
    fail_by(lambda: compile("a b c", "f.py", "exec")),
    fail_by(lambda: b"\xff".decode()),
    fail_by(lambda: "\udc80".encode()),
    UnicodeTranslateError("abc", 1, 2, "why"),
    UnicodeDecodeError("utf-8", b"abc", 1, 2, "why"),
    subprocess.CalledProcessError(3, ["ls"], b"out", b"err"),
    fail_by(lambda: __import__("json").loads("{")),
    RecursionError("deep"),
    MemoryError(),
]


@pytest.mark.parametrize("exc", BUILTIN, ids=repr)
def test_exceptions_of_the_standard_library_keep_all_their_state(exc: BaseException) -> None:
    got = travel(exc)
    assert type(got) is type(exc)
    assert got.args == exc.args
    assert str(got) == str(exc)
    assert builtin_state(got) == builtin_state(exc)


def test_an_attribute_error_keeps_its_type_and_leaves_the_object_behind() -> None:
    exc = fail_by(lambda: LOCK.missing)  # type: ignore[attr-defined]
    got = travel(exc)
    assert type(got) is AttributeError
    assert (got.name, got.obj, str(got)) == ("missing", None, str(exc))


class ManyNeeded(Exception):
    def __init__(self, a: int, b: int, *, c: int) -> None:
        self.total = a + b + c


class OwnNew(ValueError):
    def __new__(cls, a: int, b: int) -> "OwnNew":
        return super().__new__(cls, a + b)

    def __init__(self, a: int, b: int) -> None:
        self.b = b


class OwnOSError(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "none", path)
        self.extra = path * 2


class TextOSError(OSError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"for {reason}")


class SlottedChild(Slotted):
    def __init__(self) -> None:
        super().__init__(None)
        self.more = 2


class Frozen(Exception):
    def __init__(self, a: int) -> None:
        super().__init__(a)
        self.__dict__["a"] = a

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("frozen")


class Mixed(KeyError, OSError):
    pass


CUSTOM: list[BaseException] = [
    Misfit(3),
    ManyNeeded(1, 2, c=3),
    OwnNew(1, 2),
    OwnOSError("/a"),
    TextOSError("fun"),
    Slotted([1]),
    SlottedChild(),
    Frozen(4),
    Mixed(5),
]


@pytest.mark.parametrize("exc", CUSTOM, ids=lambda exc: type(exc).__name__)
def test_exceptions_arrive_whole_though_their_init_takes_other_arguments(
    exc: BaseException,
) -> None:
    got = travel(raised(exc))
    assert type(got) is type(exc)
    assert (got.args, str(got), vars(got)) == (exc.args, str(exc), vars(exc))
    assert got.__reduce__()[1:] == exc.__reduce__()[1:]
    of_its_class: Any = got
    if isinstance(exc, Slotted):
        assert (of_its_class.inner, of_its_class._Slotted__private) == (exc.inner, 1)
        assert not hasattr(got, "never")
    if isinstance(exc, OSError):
        assert (of_its_class.errno, of_its_class.filename) == (exc.errno, exc.filename)


def test_a_local_exception_class_comes_back_as_that_very_class() -> None:
    class Local(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(a)
            self.b = b

    got = travel(Local(1, 2))
    assert type(got) is Local
    assert (got.args, got.b) == ((1,), 2)


class Reduced(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"failed {code}")
        self.code = code

    def __reduce__(self) -> Any:
        return Reduced, (self.code,), {"restored": True}


class Stated(Exception):
    lock: object = None

    def __getstate__(self) -> Any:
        return {"kept": vars(self)["kept"]}


class StatedSlots(Exception):
    __slots__ = ("kept", "lock")

    kept: object
    lock: object

    def __getstate__(self) -> Any:
        return None, {"kept": self.kept}


class Setting(Exception):
    def __init__(self, kept: object) -> None:
        self.kept = kept

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state, restored=True)
        if isinstance(state["kept"], Exception):
            self.seen = state["kept"]


def test_a_class_that_says_how_it_is_pickled_is_obeyed() -> None:
    assert vars(travel(Reduced(3))) == {"code": 3, "restored": True}
    stated = Stated("x")
    vars(stated).update(kept=1, lock=LOCK)
    assert (travel(stated).kept, travel(stated).lock, travel(stated).args) == (1, None, ("x",))
    slots = StatedSlots("x")
    slots.kept, slots.lock = 1, LOCK
    assert travel(slots).kept == 1
    assert not hasattr(travel(slots), "lock")
    assert vars(travel(Setting(5))) == {"kept": 5, "restored": True}
    assert type(travel(Setting(KeyError())).seen) is KeyError


def test_a_group_that_is_referred_to_weakly_arrives() -> None:
    exc = ExceptionGroup("g", [ValueError()])
    there = weakref.ref(exc)
    assert type(travel(exc)) is ExceptionGroup
    assert there() is exc


class Registered(Exception):
    pass


def test_a_reducer_registered_by_the_user_is_obeyed_and_tblibs_is_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = copyreg.dispatch_table
    monkeypatch.setitem(table, Registered, lambda exc: (Registered, ("by reducer",)))

    def by_init(exc: Misfit) -> Any:
        return Misfit, exc.args

    by_init.__module__ = "tblib.pickling_support"
    monkeypatch.setitem(table, Misfit, by_init)
    assert travel(Registered()).args == ("by reducer",)
    assert vars(travel(Misfit(3))) == {"code": 3}
    monkeypatch.setitem(table, Misfit, lambda exc: (ValueError, ("of another type",)))
    assert vars(travel(Misfit(3))) == {"code": 3}


def test_exceptions_held_as_attributes_and_arguments_keep_their_tracebacks() -> None:
    inner = raised(Misfit(3))
    outer = RuntimeError("o", inner, [inner])
    vars(outer).update(first=inner, both=(inner, outer), none=[])
    got = travel(outer)
    assert shown(got.first) == shown(inner)
    assert got.args == ("o", got.first, [got.first])
    assert got.both == (got.first, got)
    assert got.none == []


def test_large_arrays_in_an_exception_arrive() -> None:
    got = travel(ValueError(np.arange(100_000)))
    assert np.array_equal(got.args[0], np.arange(100_000))


def test_notes_arrive_and_odd_notes_are_an_attribute() -> None:
    exc = ValueError()
    exc.add_note("a")
    exc.add_note("b")
    assert travel(exc).__notes__ == ["a", "b"]
    exc.__notes__ = "odd"  # type: ignore[assignment]
    assert travel(exc).__notes__ == "odd"
    assert not hasattr(travel(KeyError()), "__notes__")


# ------------------------------------------------------------------ the graph


def test_cause_context_and_suppression_arrive() -> None:
    for exc in (
        raised(ValueError("a"), raised(KeyError("b"))),
        raised(ValueError("a")),
        fail_by(lambda: handle_badly(False)),
        fail_by(lambda: handle_badly(True)),
    ):
        got = travel(exc)
        assert shown(got) == shown(exc)
        assert got.__suppress_context__ == exc.__suppress_context__
        assert type(got.__cause__) is type(exc.__cause__)
        assert type(got.__context__) is type(exc.__context__)


def handle_badly(quietly: bool) -> None:
    try:
        deep(0)
    except KeyError as error:
        if quietly:
            raise Misfit(5) from None
        raise Misfit(4) from error


def test_a_chain_of_thousands_arrives() -> None:
    exc = root = ValueError(0)
    for i in range(1, 5000):
        following = ValueError(i)
        if i % 2:
            exc.__cause__ = following
        else:
            exc.__context__ = following
        exc = following
    got, count = travel(root), 0
    while got is not None:
        assert got.args == (count,)
        got, count = got.__cause__ or got.__context__, count + 1
    assert count == 5000


def test_a_cycle_of_contexts_arrives_as_that_cycle() -> None:
    a, b = ValueError("a"), ValueError("b")
    a.__context__, b.__context__, a.__cause__ = b, a, a
    got = travel(a)
    assert got.__context__.__context__ is got
    assert got.__cause__ is got
    assert got.__context__.args == ("b",)
    for exc in (a, got, got.__context__):
        exc.__context__ = exc.__cause__ = None


def test_members_of_groups_arrive_with_their_own_tracebacks() -> None:
    shared = raised(Misfit(1))
    inner = BaseExceptionGroup("in", [shared, raised(KeyError("k"), raised(OSError(2, "x")))])
    exc = raised(BaseExceptionGroup("out", [raised(inner), shared, ValueError()]))
    got = travel(exc)
    assert type(got) is ExceptionGroup
    assert shown(got) == shown(exc)
    assert got.exceptions[0].exceptions[0] is got.exceptions[1]
    assert got.args == ("out", list(got.exceptions))
    matching, rest = got.split(Misfit)
    assert [len(part.exceptions) for part in (matching, rest) if part] == [2, 2]


class OwnGroup(ExceptionGroup[Exception]):
    code: int

    def __new__(cls, code: int, members: list[Exception]) -> "OwnGroup":
        self = super().__new__(cls, f"code {code}", members)
        self.code = code
        return self

    def __init__(self, code: int, members: list[Exception]) -> None:
        pass

    def derive(self, members: Any) -> Any:
        return OwnGroup(self.code, members)


def test_a_subclass_of_a_group_arrives_and_can_be_split() -> None:
    got = travel(OwnGroup(7, [ValueError(), KeyError()]))
    assert type(got) is OwnGroup
    assert (got.code, got.message) == (7, "code 7")
    part: Any = got.subgroup(KeyError)
    assert part.code == 7


def test_groups_nested_hundreds_deep_arrive() -> None:
    exc: Exception = ValueError("innermost")
    for i in range(500):
        members: list[Exception] = [exc]
        exc = ExceptionGroup(str(i), members)
    got = travel(exc)
    for _ in range(500):
        (got,) = got.exceptions
    assert got.args == ("innermost",)


def test_groups_of_what_is_no_exception_arrive() -> None:
    got = travel(BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError()]))
    assert type(got) is BaseExceptionGroup
    assert [type(member) for member in got.exceptions] == [KeyboardInterrupt, ValueError]


# ------------------------------------------------------------------ what can't be rebuilt


class ExplodingState(Exception):
    def __init__(self, exc: BaseException) -> None:
        super().__init__("state")
        self.exc = exc
        self.add_note("noted")

    def __setstate__(self, state: Any) -> None:
        raise state["exc"]


class ExplodingGetState(Exception):
    def __getstate__(self) -> Any:
        raise SystemExit("no")


class ExplodingReduce(Exception):
    def __reduce__(self) -> Any:
        raise self.args[0]


class Coded(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> Any:
        return Coded, (self.code,)


class Heir(Coded):
    """It inherits a way of pickling that was written for its base class."""


class Forgetful(Exception):
    def __init__(self, host: str | None, message: str) -> None:
        super().__init__(f"{host}: {message}")
        self.host = host

    def __reduce__(self) -> Any:
        return Forgetful, (None, "lost")


class Nothing(Exception):
    def __reduce__(self) -> Any:
        return dict, ()


class Mute(Exception):
    def __init__(self, lock: object = None) -> None:
        super().__init__(lock)

    def __str__(self) -> str:
        raise SystemExit("no words")


class ByLock(Exception):
    """Its words depend on an attribute that can't travel."""

    def __init__(self) -> None:
        self.lock = LOCK

    def __str__(self) -> str:
        return f"the lock is {'held' if self.lock.locked() else 'free'}"


BY_PARTS: list[BaseException] = [
    ExplodingState(SystemExit(3)),
    ExplodingState(KeyboardInterrupt()),
    ExplodingState(GeneratorExit()),
    ExplodingState(ValueError()),
    ExplodingGetState("x"),
    ExplodingReduce(ValueError("no")),
    ExplodingReduce(SystemExit("no")),
    Heir(7),
    Forgetful("host:80", "no connection"),
    Nothing("x"),
]


@pytest.mark.parametrize("exc", BY_PARTS, ids=lambda exc: type(exc).__name__)
def test_one_whose_class_pickles_it_wrongly_arrives_by_its_parts(exc: BaseException) -> None:
    got = travel(raised(exc, raised(KeyError("cause"))))
    assert (type(got), str(got)) == (type(exc), str(exc))
    assert len(got.args) == len(exc.args)
    assert vars(got).keys() - {"__notes__"} == vars(exc).keys() - {"__notes__"}
    assert shown(got).startswith(shown(exc).rstrip())
    assert got.__cause__.args == ("cause",)


def test_what_a_class_raises_when_its_state_is_set_is_noted() -> None:
    assert travel(ExplodingState(ValueError("mine"))).__notes__ == [
        "noted",
        "its __setstate__ raised ValueError: mine",
    ]


@pytest.mark.parametrize(
    ("exc", "path"),
    [(ValueError(LOCK), "args[0]"), (Mute(LOCK), "args[0]"), (StopIteration({1: LOCK}), "args[0]")],
    ids=lambda one: type(one).__name__,
)
def test_an_argument_that_cannot_be_pickled_is_a_stand_in(exc: BaseException, path: str) -> None:
    got = travel(raised(exc))
    assert type(got) is type(exc)
    assert str(got.args[0]) == str(exc.args[0])
    assert got.__notes__[0].startswith(f"{path} is a stand-in: it can't be pickled: TypeError")
    assert "in raised" in shown(got)


class Holder(Exception):
    __slots__ = ("slot",)

    def __init__(self, lock: Any) -> None:
        super().__init__("holds")
        self.lock, self.line, self.slot = lock, 3, lock


USES: list[Callable[[Any], object]] = [
    lambda it: it.acquire,
    lambda it: it.acquire(),
    lambda it: it(),
    lambda it: it[0],
    lambda it: it.__enter__(),
    lambda it: bool(it),
    lambda it: len(it),
    lambda it: list(it),
    lambda it: 1 in it,
    lambda it: it + 1,
    lambda it: it < 1,
    lambda it: int(it),
    lambda it: setattr(it, "x", 1),
]


@pytest.mark.parametrize("use", USES)
def test_an_attribute_that_cannot_be_pickled_is_a_stand_in_that_says_why(
    use: Callable[[Any], object],
) -> None:
    for got in (travel(Holder(LOCK)), travel(travel(Holder(LOCK)))):
        assert (type(got), str(got), got.line) == (Holder, "holds", 3)
        for stand_in in (got.lock, got.slot):
            assert str(stand_in) == str(LOCK)
            assert "cannot pickle '_thread.lock'" in repr(stand_in)
            assert stand_in == copy.copy(stand_in) or {stand_in}
            with pytest.raises((UnsendableError, AttributeError), match=r"cannot pickle '_thread"):
                use(stand_in)
        assert [note.partition(" ")[0] for note in got.__notes__] == ["lock", "slot"]


def test_words_that_depend_on_what_could_not_travel_are_noted() -> None:
    got = travel(ByLock())
    assert type(got) is ByLock
    assert got.__notes__[-1] == f"it said: {__name__}.ByLock: the lock is free"


def test_a_class_that_misuses_the_names_of_all_exceptions_costs_no_more_than_itself() -> None:
    class Overriding(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            raise SystemExit("mine")

    class OddNotes(Exception):
        @property
        def __notes__(self) -> Any:  # type: ignore[override]
            raise SystemExit("mine")

    class OddAttributes(Exception):
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise SystemExit("mine")

    for kind in (Overriding, OddNotes, OddAttributes):
        got = travel(raised(kind("x")))
        assert (type(got), got.args) == (kind, ("x",))


def unpicklable() -> Any:
    """A local class that can't be pickled by value."""
    return type("Unpicklable", (Exception,), {"lock": LOCK, "__module__": "__main__"})


def test_one_whose_class_cannot_be_pickled_is_told_of() -> None:
    exc = unpicklable()("x")
    exc.add_note("noted")
    got = travel(raised(exc, raised(KeyError("cause"))))
    assert type(got) is RemoteError
    assert got.type_name == "__main__.Unpicklable"
    assert "in raised" in got.remote_traceback
    assert "raise exc from cause" in got.remote_traceback
    assert got.remote_traceback in str(got) + "\n"
    assert got.args[0].startswith("__main__.Unpicklable: x (as text, since it can't be rebuilt")
    assert got.__notes__ == ["noted"]
    assert "noted" in got.remote_traceback
    assert got.__cause__ is not None
    assert got.__cause__.args == ("cause",)
    assert got.__traceback__ is None


def test_a_context_that_cannot_be_pickled_degrades_alone() -> None:
    for link in ("__cause__", "__context__"):
        exc = Misfit(3)
        setattr(exc, link, raised(unpicklable()(1)))
        got = travel(exc)
        assert (type(got), got.code) == (Misfit, 3)
        assert getattr(got, link).type_name == "__main__.Unpicklable"


def test_a_member_that_cannot_be_pickled_degrades_alone() -> None:
    got = travel(ExceptionGroup("g", [KeyError("k"), unpicklable()(1)]))
    assert [type(member) for member in got.exceptions] == [KeyError, RemoteError]
    assert got.args == ("g", list(got.exceptions))


def test_a_class_that_cannot_be_imported_here_is_told_of() -> None:
    # The name has the same length, so that the pickle stays well-formed.
    data = pack_error(raised(Misfit(3)))
    name = Misfit.__module__.encode()
    payload = data.replace(name, b"x" * len(name))
    got = unpack_error(payload)
    assert isinstance(got, RemoteError)
    assert got.type_name.endswith(".Misfit")
    assert "ModuleNotFoundError" in str(got)
    assert "in raised" in got.remote_traceback


def test_other_bytes_give_an_error_and_never_raise() -> None:
    data = pack_error(raised(ValueError("x")))
    others = [b"", b"junk", pickle.dumps(3), pickle.dumps([]), pickle.dumps([1]), data[:-5]]
    for other in others:
        got = unpack_error(other)
        assert type(got) is RemoteError
        assert "can't be decoded" in str(got)


class Exiting:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


class ExitingState:
    def __setstate__(self, state: Any) -> None:
        sys.exit(4)

    def __getstate__(self) -> Any:
        return {"a": 1}


class ExitingNew:
    def __new__(cls, *args: object) -> "ExitingNew":
        if args:
            sys.exit(5)
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[object, ...]:
        return (1,)


class ExitingHash:
    def __init__(self) -> None:
        self.ready = True

    def __hash__(self) -> int:
        return 1 if self.ready else 2

    def __setstate__(self, state: Any) -> None:
        pass


def test_a_part_that_fails_on_arrival_is_a_stand_in() -> None:
    assert type(unpack_error(pickle.dumps(Exiting()))) is RemoteError
    for part, code in ((Exiting(), 3), (ExitingState(), 4), (ExitingNew(), 5)):
        exc = ValueError("words", [1, part, part])
        vars(exc)["part"] = part
        got = travel(raised(exc, raised(Misfit(code))))
        assert type(got) is ValueError
        assert (got.args[0], got.args[1][0], vars(got.__cause__)) == ("words", 1, {"code": code})
        arrived = vars(got)["part"]
        assert arrived is got.args[1][1] is got.args[1][2]
        assert f"SystemExit: {code}" in repr(arrived)
        assert [f"SystemExit: {code}" in note for note in got.__notes__] == [True]
        assert "in raised" in shown(got)
    got = travel(ValueError({ExitingHash(): 1}, frozenset({ExitingHash()}), {ExitingHash()}))
    assert "AttributeError" in repr(got.args[0])
    assert "AttributeError" in repr(got.args[1])


def test_a_part_whose_class_is_not_known_here_is_a_stand_in() -> None:
    data = pack_error(raised(Misfit(3), ValueError(1, [Elsewhere()])))
    name = f"{__name__}\x94\x8c\tElsewhere".encode("latin-1")
    assert name in data
    got: Any = unpack_error(data.replace(name, name.replace(b"tests", b"fests")))
    assert (type(got), got.code) == (Misfit, 3)
    assert got.__cause__ is not None
    assert "ModuleNotFoundError" in repr(got.__cause__.args[1][0])


class Elsewhere:
    pass


class Changed(Exception):
    pass


def test_a_class_that_is_none_of_exceptions_here_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = pack_error(raised(Misfit(3), Changed("words")))
    monkeypatch.setattr(sys.modules[__name__], "Changed", Exiting)
    got = unpack_error(data)
    assert (type(got), type(got.__cause__)) == (Misfit, RemoteError)
    assert "Exiting is no class of exceptions" in str(got.__cause__)


def test_any_kind_of_buffer_is_decoded() -> None:
    data = pack_error(ValueError("x"))
    for kind in (bytes, bytearray, memoryview):
        assert unpack_error(kind(data)).args == ("x",)


def test_the_classes_name_and_module_may_be_anything() -> None:
    odd: Any = type("Ödd ☃", (ValueError,), {"__module__": None})
    got = travel(odd("\udc80"))
    assert got.args[0].startswith("\udc80") or isinstance(got, RemoteError)


# ------------------------------------------------------------------ any tree at all


@settings(max_examples=200)
@given(trees())
def test_any_tree_arrives_as_the_same_tree(root: BaseException) -> None:
    assert_same_tree(root, travel(root))
