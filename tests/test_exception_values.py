"""Exceptions and tracebacks that are values keep what they have, wherever in a value they stand."""

import asyncio
import copyreg
import dataclasses
import gc
import importlib
import pickle
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remoteobj import remote
from remoteobj._catching.catchers import Except
from remoteobj._pickling import cloudpickling, codec
from remoteobj._pickling.codec import OUT_OF_BAND, dumps, loads
from remoteobj.errors import RemoteError, UnsendableError
from tests.conftest import Launch
from tests.raising import Misfit, assert_same_tree, deep, fail_by, raised, shown, trees
from tests.tools import finish, start

LOCK = threading.Lock()


def by_c(value: Any) -> Any:
    payload, buffers = dumps(value)
    return loads(payload, [bytearray(buffer) for buffer in buffers])


def by_value(value: Any) -> Any:
    return loads(cloudpickling.dumps(value, "value", lambda: lambda buffer: True))


@pytest.fixture(params=[by_c, by_value])
def travel(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """By both picklers."""
    func: Callable[[Any], Any] = request.param
    return func


Travel = Callable[[Any], Any]


@dataclasses.dataclass
class Report:
    name: str
    error: BaseException | None = None
    more: Any = None


class ManyNeeded(Exception):
    def __init__(self, a: int, b: int, *, c: int) -> None:
        self.total = a + b + c


class Worded(NameError):
    def __init__(self, name: str) -> None:
        super().__init__(f"name {name!r} is not defined")


class Reduced(Exception):
    def __init__(self, code: int, inner: object = None) -> None:
        super().__init__(f"failed {code}")
        self.code, self.inner = code, inner

    def __reduce__(self) -> Any:
        return Reduced, (self.code, self.inner), {"restored": True}


# ------------------------------------------------------------------ what they keep


def full() -> BaseException:
    exc = fail_by(lambda: raised_from_a_key())
    exc.add_note("noted")
    return exc


def raised_from_a_key() -> None:
    try:
        deep(1)
    except KeyError as error:
        raise Misfit(4) from error


@pytest.mark.parametrize(
    "within",
    [
        lambda exc: exc,
        lambda exc: [exc],
        lambda exc: (1, {"a": [exc]}),
        lambda exc: {exc: 1},
        lambda exc: Report("r", exc),
        lambda exc: [Report("r", more=[{"k": exc}])] * 100,
    ],
    ids=["itself", "list", "nested", "key", "attribute", "many"],
)
def test_an_exception_in_a_value_keeps_type_state_notes_chain_and_columns(
    travel: Travel, within: Callable[[Any], Any]
) -> None:
    exc, found = full(), []

    def look(value: Any) -> None:
        if isinstance(value, BaseException):
            found.append(value)
        elif isinstance(value, Report):
            look([value.error, value.more])
        elif isinstance(value, (list, tuple, dict)):
            for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
                look(item)

    look(travel(within(exc)))
    got: Any = found[0]
    assert all(each is got for each in found)
    assert (type(got), got.code, got.args, got.__notes__) == (Misfit, 4, exc.args, ["noted"])
    assert type(got.__cause__) is KeyError
    assert "^^^" in shown(exc)
    assert shown(got) == shown(exc)


@pytest.mark.parametrize(
    "exc", [ManyNeeded(1, 2, c=3), Worded("zz"), OSError(2, "none", "/a")], ids=repr
)
def test_no_init_is_called_and_the_words_stay(travel: Travel, exc: BaseException) -> None:
    got = travel([exc])[0]
    assert (type(got), str(got), got.args, vars(got)) == (type(exc), str(exc), exc.args, vars(exc))


class OwnState(Exception):
    def __getstate__(self) -> Any:
        return self.__dict__


def test_an_exception_is_as_it_was_after_it_was_sent(travel: Travel) -> None:
    exc = OwnState("x")
    exc.add_note("noted")
    vars(exc)["a"] = 1
    got = travel([exc])[0]
    assert vars(got) == vars(exc) == {"__notes__": ["noted"], "a": 1}


def test_a_local_exception_class_keeps_its_identity(travel: Travel) -> None:
    class Local(Exception):
        pass

    (got,) = travel([raised(Local(1))])
    assert type(got) is Local
    assert got.__traceback__ is not None


def test_what_the_program_raises_is_not_raised_by_a_value_that_is_no_exception(
    travel: Travel,
) -> None:
    for exc in (SystemExit(3), KeyboardInterrupt(), StopIteration(5), asyncio.CancelledError()):
        assert type(travel({"got": exc})["got"]) is type(exc)


def test_the_result_of_exc_info_arrives(travel: Travel) -> None:
    there: Any = None
    try:
        deep(0)
    except KeyError:
        there = sys.exc_info()
    cls, exc, tb = travel(there)
    assert cls is KeyError
    assert exc.__traceback__ is tb
    assert traceback.format_exception(cls, exc, tb) == traceback.format_exception(*there)


def test_a_traceback_alone_arrives_however_long_it_is(travel: Travel) -> None:
    def endless() -> None:
        endless()

    tb = fail_by(endless).__traceback__
    got = travel({"tb": tb})["tb"]
    assert type(got) is TracebackType
    assert traceback.format_tb(got) == traceback.format_tb(tb)


def test_an_array_beside_an_exception_stays_out_of_the_pickle() -> None:
    array = np.zeros(OUT_OF_BAND, np.uint8)
    payload, buffers = dumps([raised(Misfit(1)), array, np.arange(3)])
    assert len(buffers) == 1
    assert len(payload) < 2000
    exc, big, small = loads(payload, [bytearray(buffer) for buffer in buffers])
    assert (exc.code, big.nbytes, small.tolist()) == (1, OUT_OF_BAND, [0, 1, 2])


# ------------------------------------------------------------------ identity


def test_an_exception_that_stands_twice_arrives_as_one(travel: Travel) -> None:
    cause = raised(KeyError("k"))
    exc = raised(Misfit(3), cause)
    for value in ([exc, cause, exc], [cause, exc, exc], [Report("r", cause), exc]):
        got = travel(value)
        first = got[0].error if isinstance(got[0], Report) else got[0]
        causes = [one for one in (first, *got[1:]) if type(one) is KeyError]
        others = [one for one in (first, *got[1:]) if type(one) is Misfit]
        assert len({id(one) for one in causes}) == 1
        assert len({id(one) for one in others}) == 1
        assert others[0].__cause__ is causes[0]


def test_what_an_exception_shares_with_the_value_stays_shared(travel: Travel) -> None:
    shared = [1]
    exc = Misfit(3)
    vars(exc)["shared"] = shared
    job = Report("job", exc)
    vars(exc)["job"] = job
    got = travel([shared, job])
    assert got[1].error.shared is got[0]
    assert got[1].error.job is got[1]
    (exc,) = travel([exc])
    assert vars(exc)["job"].error is exc


def test_a_member_whose_context_is_its_group_arrives(travel: Travel) -> None:
    member = Misfit(1)
    group = ExceptionGroup("g", [member, ValueError()])
    member.__context__ = group
    for value in ([group, member], [member, group]):
        got = {type(one): one for one in travel(value)}
        assert got[ExceptionGroup].exceptions[0] is got[Misfit]
        assert got[Misfit].__context__ is got[ExceptionGroup]
        assert got[ExceptionGroup].args == ("g", list(got[ExceptionGroup].exceptions))
    member.__context__ = None


def test_a_chain_of_thousands_arrives(travel: Travel) -> None:
    exc = root = ValueError(0)
    for i in range(1, 5000):
        exc.__context__ = ValueError(i)
        exc = exc.__context__
    (got,), count = travel([root]), 0
    while got is not None:
        assert got.args == (count,)
        got, count = got.__context__, count + 1
    assert count == 5000


def test_a_group_is_made_with_members_that_stand_elsewhere_in_the_value(travel: Travel) -> None:
    one, other = Misfit(1), Reduced(2)
    got = travel([one, ExceptionGroup("g", [one, other]), other])
    assert got[1].exceptions == (got[0], got[2])


@settings(max_examples=150)
@given(trees(), st.sampled_from([by_c, by_value]))
def test_any_tree_in_a_value_arrives_as_the_same_tree(root: BaseException, travel: Travel) -> None:
    assert_same_tree(root, travel({"a": [root]})["a"][0])


# ------------------------------------------------------------------ classes that say how


def test_a_class_that_says_how_it_is_pickled_is_obeyed_and_keeps_the_rest(travel: Travel) -> None:
    exc = raised(Reduced(3, inner=KeyError("i")), raised(OSError(2, "x")))
    exc.add_note("noted")
    got, again = travel([exc, exc])
    assert again is got
    assert (got.code, got.inner.args, got.restored) == (3, ("i",), True)
    assert got.__notes__ == ["noted"]
    assert shown(got) == shown(exc)


def test_a_reducer_that_is_registered_at_any_time_is_obeyed(
    travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, exc = Report("r"), Misfit(1)
    assert travel([report])[0] == report
    monkeypatch.setitem(copyreg.dispatch_table, Report, lambda r: (Report, ("first",)))
    monkeypatch.setitem(copyreg.dispatch_table, Misfit, lambda e: (Misfit, (e.code + 1,)))
    assert travel([report, exc])[0].name == "first"
    assert travel([report, exc])[1].code == 2
    monkeypatch.setitem(copyreg.dispatch_table, Report, lambda r: (Report, ("second",)))
    assert travel([report])[0].name == "second"
    monkeypatch.delitem(copyreg.dispatch_table, Report)
    assert travel([report])[0].name == "r"


def test_pickling_elsewhere_in_the_program_is_as_it_was() -> None:
    table = dict(copyreg.dispatch_table)
    exc = raised(Misfit(1), raised(KeyError()))
    before = pickle.dumps(ValueError(1))
    for travel in (by_c, by_value):
        travel([exc])
    assert copyreg.dispatch_table == table
    assert pickle.dumps(ValueError(1)) == before
    with pytest.raises(TypeError, match="traceback"):
        pickle.dumps(exc.__traceback__)


class Meta(type):
    pass


class Made(metaclass=Meta):
    pass


@pytest.mark.parametrize("cls", [Made, ValueError, type, Meta, Iterator, len, np.add, deep])
def test_what_goes_by_name_goes_by_c_pickle_whatever_its_metaclass(
    cls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(codec, "_dumps_by_value")
    assert dumps([cls])[0] == pickle.dumps([cls], 5)
    assert by_c([cls, ValueError()])[0] is cls


# ------------------------------------------------------------------ what can't be rebuilt


class ExplodingState(Exception):
    def __setstate__(self, state: Any) -> None:
        raise SystemExit("no")


class Liar(Exception):
    def __reduce__(self) -> Any:
        return ValueError, ("not me",)


class Exploding(Exception):
    def __init__(self, text: str = "") -> None:
        if text == "failed 3":
            raise SystemExit("not here")
        super().__init__("failed 3")

    def __reduce__(self) -> Any:
        return Exploding, self.args


class ThereAlone(Exception):
    """It can be made by its own reduction in the test, and not where it is unpickled."""

    here = True

    def __reduce__(self) -> Any:
        return make_there, self.args


def make_there(*args: object) -> ThereAlone:
    if not ThereAlone.here:
        raise SystemExit("not here")
    return ThereAlone(*args)


class OddNotes(Exception):
    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise SystemExit("mine")


@pytest.mark.parametrize(
    "exc",
    [
        ValueError(LOCK),
        ValueError([{"a": LOCK}]),
        ExplodingState("x"),
        Exploding(),
        Liar("x"),
        Reduced(3, LOCK),
        OddNotes("x"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_one_that_cannot_travel_whole_arrives_as_its_own_type(
    travel: Travel, exc: BaseException
) -> None:
    raised(exc, raised(KeyError("cause")))
    good = Misfit(3)
    got = travel([good, exc, {"again": exc}, [1]])
    assert [type(got[0]), got[3]] == [Misfit, [1]]
    assert (type(got[1]), str(got[1])) == (type(exc), str(exc))
    assert got[2]["again"] is got[1]
    assert "in raised" in "".join(traceback.format_tb(got[1].__traceback__))
    assert got[1].__cause__.args == ("cause",)


def test_a_part_that_cannot_be_pickled_is_a_stand_in_that_says_why(travel: Travel) -> None:
    exc = Reduced(3, LOCK)
    got = travel([exc])[0]
    assert (got.code, str(got.inner)) == (3, str(LOCK))
    (note,) = got.__notes__
    assert note.startswith("inner is a stand-in: it can't be pickled: TypeError: cannot pickle")
    with pytest.raises(UnsendableError, match="'inner' of the exception is not here: it can't be"):
        got.inner.acquire()
    assert not hasattr(exc, "__notes__")


def unpicklable() -> Any:
    return type("Unpicklable", (Exception,), {"lock": LOCK, "__module__": "__main__"})


@pytest.mark.parametrize("make", [lambda: unpicklable()("x"), ThereAlone])
def test_one_that_cannot_be_made_degrades_alone(
    travel: Travel, make: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    exc = make()
    raised(exc, raised(KeyError("cause")))
    exc.add_note("noted")
    loading = pickle.loads

    def elsewhere(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(ThereAlone, "here", False)
        return loading(*args, **kwargs)

    monkeypatch.setattr(codec, "unpickled", elsewhere)
    got = travel([Misfit(3), exc, {"again": exc}, [1]])
    assert [type(got[0]), got[3]] == [Misfit, [1]]
    assert type(got[1]) is RemoteError
    assert got[2]["again"] is got[1]
    assert got[1].type_name.endswith(type(exc).__qualname__)
    assert "can't be rebuilt here" in str(got[1])
    assert "in raised" in got[1].remote_traceback
    assert got[1].__cause__.args == ("cause",)
    assert got[1].__notes__ == ["noted"]


def test_a_link_or_an_attribute_that_cannot_be_pickled_degrades_alone(travel: Travel) -> None:
    exc = raised(Misfit(3), raised(unpicklable()(1)))
    vars(exc)["others"] = {"a": unpicklable()(2), "b": Misfit(4)}
    got = travel([exc])[0]
    assert (type(got), got.code, got.others["b"].code) == (Misfit, 3, 4)
    assert got.__cause__.type_name == got.others["a"].type_name == "__main__.Unpicklable"


def test_a_member_that_cannot_be_pickled_degrades_alone(travel: Travel) -> None:
    got = travel([ExceptionGroup("g", [Misfit(3), unpicklable()(1)])])[0]
    assert [type(member) for member in got.exceptions] == [Misfit, RemoteError]


# ------------------------------------------------------------------ graphs with such classes


def wrapped(inner: BaseException) -> BaseException:
    return raised(Reduced(1, inner), inner)


def test_one_that_reduces_itself_around_its_cause_arrives_in_a_group(travel: Travel) -> None:
    cause = raised(Misfit(2))
    inner = BaseExceptionGroup("h", [wrapped(cause)])
    group: Any = raised(BaseExceptionGroup("g", [wrapped(cause), inner]))
    cause.__context__ = group
    for value in ([group], [cause], [*group.exceptions]):
        first: Any = travel(value)[0]
        met: Any = first.inner if type(first) is Reduced else first
        got: Any = met if isinstance(met, BaseExceptionGroup) else met.__context__
        one, inner = got.exceptions
        (other,) = inner.exceptions
        assert one.inner is one.__cause__ is other.inner is other.__cause__
        assert one.inner.__context__ is got
        assert [type(one), type(other), one.inner.code] == [Reduced, Reduced, 2]
    cause.__context__ = None


def test_a_long_chain_of_those_that_reduce_themselves_arrives(travel: Travel) -> None:
    exc: BaseException = Misfit(0)
    for i in range(3000):
        following = Reduced(i)
        following.__context__ = exc
        exc = following
    (got,), count = travel([exc]), 0
    while got is not None:
        got, count = got.__context__, count + 1
    assert count == 3001


def test_one_that_leads_to_itself_by_its_own_reduction_arrives(travel: Travel) -> None:
    exc = Reduced(1)
    exc.inner = {"self": exc}
    got = travel([exc, 5])
    assert (type(got[0]), got[0].inner["self"] is got[0], got[1]) == (Reduced, True, 5)


def test_a_long_chain_of_attributes_arrives(travel: Travel) -> None:
    exc: Any = Misfit(0)
    for i in range(3000):
        following: Any = ValueError(exc) if i % 2 else Misfit(i)
        if not i % 2:
            following.inner = [exc]
        exc = following
    assert type(travel([exc])[0]) is ValueError


def test_what_else_cannot_be_pickled_is_named_beside_exceptions_that_can(travel: Travel) -> None:
    with pytest.raises(UnsendableError) as caught:
        travel([Misfit(1), ValueError(LOCK), {"lock": LOCK}])
    assert caught.value.path == "value[2]['lock']"


def test_one_whose_class_is_not_known_here_is_told_of(
    travel: Travel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_there.py").write_text("class Theirs(Exception): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    theirs: ModuleType = importlib.import_module("only_there")
    exc = raised(theirs.Theirs("far"), raised(KeyError("cause")))
    unpickle = pickle.loads
    sent = dumps([exc, Misfit(2)])[0]
    monkeypatch.delitem(sys.modules, "only_there")
    monkeypatch.setattr(sys, "path", [])
    importlib.invalidate_caches()
    got, other = unpickle(sent)
    assert (type(got), other.code) == (RemoteError, 2)
    assert got.type_name == "only_there.Theirs"
    assert "ModuleNotFoundError" in str(got)
    assert "in raised" in got.remote_traceback
    assert got.__cause__.args == ("cause",)


# ------------------------------------------------------------------ the pickler


def test_values_are_as_c_pickle_makes_them_when_there_is_no_exception_in_them() -> None:
    for value in ([Report("r", None, [1j, {2}])] * 3, list(range(100)), [b"x" * 100_000] * 30):
        assert dumps(value)[0] == pickle.dumps(value, 5)


def test_a_value_whose_reduction_sends_another_one_is_not_mixed_up_with_it() -> None:
    class_of: Any = type(Nested(None))
    inner = dumps([1, class_of(None)])[0]
    assert loads(inner)[0] == 1
    got = by_c([Nested([Misfit(1), np.arange(5)]), "after"])
    assert (got[0].inner[0].code, got[0].inner[1].tolist(), got[1]) == (1, [0, 1, 2, 3, 4], "after")


class Nested:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __reduce__(self) -> Any:
        return nested, dumps(self.inner)


def nested(payload: bytes, buffers: Any) -> Nested:
    return Nested(loads(payload, buffers))


def test_nothing_that_was_sent_is_kept_alive() -> None:
    class Big:
        def __reduce__(self) -> Any:
            return list, ()

    for fails in (False, True):
        value: Any = [Report("r", more=Big()), raised(Misfit(1)) if fails else 0]
        there = weakref.ref(value[0].more)
        dumps(value)
        del value
        gc.collect()
        assert there() is None
    kind = weakref.ref(Big)
    del Big
    gc.collect()
    assert kind() is None


# ------------------------------------------------------------------ between processes


@remote
class Batch:
    def __init__(self) -> None:
        self.last: BaseException | None = None

    def gather(self) -> list[Any]:
        async def one(code: int) -> None:
            raise Misfit(code)

        async def main() -> list[Any]:
            return list(await asyncio.gather(one(1), one(2), return_exceptions=True))

        return asyncio.run(main())

    def take(self, exc: Any) -> str:
        return shown(exc["exc"])

    def stream(self) -> Iterator[BaseException]:
        for code in range(3):
            yield raised(Misfit(code), raised(KeyError(code)))

    def hopeless(self) -> list[Any]:
        return [1, ValueError(LOCK)]


@pytest.fixture
def batch(launch: Launch) -> Iterator[Any]:
    with Batch.options(**launch).spawn() as batch:
        yield batch


def test_exceptions_that_are_results_arguments_attributes_and_items_arrive(batch: Any) -> None:
    assert [exc.code for exc in batch.gather()] == [1, 2]
    assert all("in one" in shown(exc) for exc in batch.gather())
    exc = full()
    assert batch.take({"exc": exc}) == shown(exc)
    batch.last = exc
    assert shown(batch.last.__) == shown(exc)
    for code, got in enumerate(batch.stream()):
        assert (got.code, got.__cause__.args) == (code, (code,))
        assert got.__traceback__ is not None


def test_a_result_with_an_exception_that_cannot_be_sent_whole_arrives(batch: Any) -> None:
    one, got = batch.hopeless()
    assert (one, type(got), str(got)[:9]) == (1, ValueError, "<unlocked")


def test_an_exception_that_is_the_result_of_an_except_keeps_all_it_has(start_method: str) -> None:
    exc = Except()
    process = start(start_method, set_an_exception_as_result, exc)
    finish(process)
    got = exc.get_result()["exc"]
    assert shown(got) == shown(full())
    assert got.__notes__ == ["noted"]
    exc.close()


def set_an_exception_as_result(exc: Except) -> None:
    exc.set_result({"exc": full()})
