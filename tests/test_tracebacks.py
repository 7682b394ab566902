"""Tracebacks: in the form of tblib, with columns, and without anything that is executed or kept."""

import gc
import io
import linecache
import pickle
import subprocess
import sys
import traceback
import weakref
import zipfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import tblib
from tblib import pickling_support

from remoteobj._pickling.exceptions import pack_error, unpack_error
from remoteobj._pickling.tracebacks import Traceback, take_apart
from remoteobj.errors import UnsendableError
from tests.raising import deep, fail_by, raised, shown


def travel(exc: BaseException) -> Any:
    return unpack_error(pack_error(exc))


def traceback_of(exc: BaseException) -> Any:
    assert exc.__traceback__ is not None
    return exc.__traceback__


def test_a_traceback_shows_the_same_lines_and_columns() -> None:
    exc = fail_by(lambda: deep(3))
    assert "^^^" in shown(exc)
    got = travel(exc)
    assert shown(got) == shown(exc)
    assert shown(travel(got)) == shown(exc)


def test_a_traceback_shows_the_lines_of_a_module_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "app.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/__init__.py", "")
        archive.writestr("pack/zipped.py", "def fail():\n    return 1 / 0  # here\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from remoteobj._pickling.exceptions import pack_error\n"
        "from pack.zipped import fail\n"
        "try: fail()\n"
        "except ZeroDivisionError as error: sys.stdout.buffer.write(pack_error(error))\n"
    )
    data = subprocess.check_output([sys.executable, "-c", script, str(path)])
    got = unpack_error(data)  # by a process that has never imported the module
    assert "return 1 / 0  # here" in shown(got)
    assert "~~^~~" in shown(got)
    path.write_bytes(b"it is another file now")
    linecache.clearcache()
    assert "in fail" in shown(unpack_error(data))


# ------------------------------------------------------------------ hints


class Spelled:
    def __init__(self) -> None:
        self.value = self.measure = 1

    def of_another(self) -> object:
        return Spelled().valeu  # type: ignore[attr-defined]

    def of_self(self) -> object:
        return measure  # type: ignore[name-defined]  # noqa: F821

    def of_variables(self) -> object:
        variable = 1
        return varaible, variable  # type: ignore[name-defined]  # noqa: F821

    def of_globals(self) -> object:
        return Speled()  # type: ignore[name-defined]  # noqa: F821

    def of_builtins(self) -> object:
        return pritn  # type: ignore[name-defined]  # noqa: F821

    def of_a_module(self) -> object:
        return sys.exot  # type: ignore[attr-defined]

    def of_a_class(self) -> object:
        return Spelled.of_slef  # type: ignore[attr-defined]

    def of_an_import(self) -> object:
        from zipfile import ZipFlie  # type: ignore[attr-defined]

        return ZipFlie

    def of_nothing(self) -> object:
        return self.nothing_like_it  # type: ignore[attr-defined]


NAMES = [name for name in vars(Spelled) if name.startswith("of_")]

# The interpreter calls this hook for an uncaught exception; before 3.12 nothing else gives hints.
SCRIPT = """
import sys
from remoteobj._pickling.exceptions import pack_error, unpack_error
from tests.test_tracebacks import NAMES, Spelled

def display(error):
    sys.__excepthook__(type(error), error, error.__traceback__)
    print(file=sys.stderr)

for name in NAMES:
    try:
        getattr(Spelled(), name)()
    except Exception as error:
        display(error)
        display(unpack_error(pack_error(unpack_error(pack_error(error)))))
"""


@pytest.fixture(scope="module")
def displayed() -> list[str]:
    """The last line of each: of every exception, and then of what has travelled of it."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [shown.splitlines()[-1] for shown in ended.stderr.split("\n\n") if shown]


@pytest.mark.parametrize("name", NAMES)
def test_the_interpreter_gives_the_same_hint(name: str, displayed: list[str]) -> None:
    if name == "of_self" and sys.version_info[:2] == (3, 12):
        pytest.skip("3.12 looks for `self` in the code of the frame, which can't be changed")
    here, there = displayed[2 * NAMES.index(name) :][:2]
    assert there == here
    assert ("Did you" in here) == (name not in NO_HINTS)


# The interpreter gave hints for these later than for others.
NO_HINTS = {"of_nothing", *(("of_an_import", "of_self") if sys.version_info < (3, 12) else ())}


def test_an_object_without_the_attribute_stays_where_it_is() -> None:
    got = travel(fail_by(Spelled().of_another))
    assert dir(got.obj) == ["value"]
    with pytest.raises(UnsendableError, match="it stays in the process that it lives in"):
        got.obj.value


def test_a_dir_of_the_users_is_not_called_for_a_hint() -> None:
    class Odd:
        def __dir__(self) -> Any:
            raise SystemExit("mine")

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise SystemExit("mine")

        valu = 1

    got = travel(fail_by(lambda: Odd().value))  # type: ignore[attr-defined]
    assert (type(got), got.name) == (AttributeError, "value")


# ------------------------------------------------------------------ what is kept


def test_a_traceback_can_be_walked_cleared_and_raised_on() -> None:
    got = travel(fail_by(lambda: deep(1)))
    names = [frame.f_code.co_qualname for frame, _ in traceback.walk_tb(got.__traceback__)]
    assert names[-2:] == ["deep", "deep"]
    last = list(traceback.walk_tb(got.__traceback__))[-1][0]
    assert last.f_globals["__name__"] == deep.__module__
    assert last.f_back is None
    traceback.clear_frames(got.__traceback__)
    with pytest.raises(KeyError) as caught:
        raise got
    here = traceback.extract_tb(caught.value.__traceback__)[0].name
    assert here.startswith("test_a_traceback_can_be_walked")


def test_an_exception_that_arrived_keeps_nobodys_variables_alive() -> None:
    class Big:
        pass

    def receive() -> tuple[Any, "weakref.ref[Big]"]:
        big = Big()
        return unpack_error(data), weakref.ref(big)

    data = pack_error(fail_by(lambda: deep(2)))
    gc.disable()
    try:
        _, big = receive()
        assert big() is None
    finally:
        gc.enable()


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer is at work already")
def test_a_traceback_is_rebuilt_while_a_debugger_traces() -> None:
    # 3.11 makes a table of lines as long as the code, and fills it as far as the positions go.
    data = [pack_error(fail_by(lambda: deep(3))), pack_error(fail_by(long_function))]
    sys.settrace(lambda frame, event, arg: None)
    try:
        for _ in range(200):
            assert [type(unpack_error(one)) for one in data] == [KeyError, IndexError]
    finally:
        sys.settrace(None)


def long_function() -> int:
    numbers: list[int] = []
    first = sum([1, 2, 3]) + len([numbers, numbers]) * divmod(3, 2)[0] - max(1, 2, 3)
    second = sum([1, 2, 3]) + len([numbers, numbers]) * divmod(3, 2)[0] - max(1, 2, 3)
    third = sum([1, 2, 3]) + len([numbers, numbers]) * divmod(3, 2)[0] - max(1, 2, 3)
    return numbers[first + second + third]


def test_an_uncaught_exception_is_printed_by_the_interpreter(tmp_path: Path) -> None:
    # Before 3.13 that is C code of its own.
    script = tmp_path / "script.py"
    script.write_text(
        "from remoteobj._pickling.exceptions import *\n"
        "def fail(): return (lambda: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12][1 + 2 * 3 + 90])()\n"
        "try: fail()\n"
        "except IndexError as error: arrived = unpack_error(pack_error(error))\n"
        "raise arrived\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "12][1 + 2 * 3 + 90]" in result.stderr
    assert "^^^^" in result.stderr
    assert result.stderr.endswith("IndexError: list index out of range\n")


def test_a_recursion_error_arrives_with_its_long_traceback() -> None:
    def endless() -> None:
        endless()

    exc = fail_by(endless)
    got = travel(exc)
    assert type(got) is RecursionError
    count = len(traceback.extract_tb(exc.__traceback__))
    assert count > 500
    assert len(traceback.extract_tb(got.__traceback__)) == count
    assert len(pack_error(exc)) < 100_000


# ------------------------------------------------------------------ tblib


def test_a_traceback_is_taken_apart_into_the_form_of_tblib() -> None:
    tb = traceback_of(fail_by(lambda: deep(2)))
    ours, theirs = take_apart(tb), tblib.Traceback(tb)
    assert isinstance(ours, tblib.Traceback)
    # What tblib makes of our form is what it makes of its own, save the columns that it lacks.
    made = [tblib.Traceback.as_traceback(form) for form in (ours, theirs)]
    assert traceback.format_tb(made[0]) == traceback.format_tb(made[1])


def test_rows_are_plain_data_and_give_the_same_traceback() -> None:
    tb = traceback_of(fail_by(lambda: deep(2)))
    rows = take_apart(tb).rows()
    assert b"tblib" not in pickle.dumps(rows)
    again = Traceback.from_rows(pickle.loads(pickle.dumps(rows)))
    assert traceback.format_tb(again.as_traceback()) == traceback.format_tb(tb)
    assert again.rows() == rows


def test_globals_that_are_no_text_stay_behind() -> None:
    code = compile("def f(): 1 / 0\nf()", "odd.py", "exec")
    different: list[dict[str, Any]] = [{}, {"__name__": 5}, {"__name__": "n", "other": 1}]
    for names in different:
        form = take_apart(traceback_of(fail_by(partial(exec, code, names))))
        last = list(form)[-1]
        assert last.tb_frame.f_globals in ({}, {"__name__": "n"}, {"__name__": "builtins"})
        assert last.tb_frame.f_code.co_filename == "odd.py"


def test_frames_of_the_main_module_do_not_make_a_payload_look_as_if_it_named_its_classes() -> None:
    code = compile("1 / 0", "script.py", "exec")
    data = pack_error(fail_by(partial(exec, code, {"__name__": "__main__"})))
    assert b"_main__" not in data  # else it is pickled anew, by value
    last = list(traceback.walk_tb(traceback_of(unpack_error(data))))[-1][0]
    assert last.f_globals["__name__"] == "__main__"


def test_two_who_get_the_same_traceback_do_not_share_its_globals() -> None:
    data = pack_error(fail_by(lambda: deep(0)))
    one, other = (traceback_of(unpack_error(data)).tb_frame.f_globals for _ in range(2))
    one["mine"] = 1
    assert "mine" not in other


class ByTblib(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, TracebackType):
            return pickling_support.pickle_traceback(obj)
        if isinstance(obj, BaseException):
            return pickling_support.pickle_exception(obj)
        return NotImplemented


def by_tblib(exc: BaseException) -> Any:
    file = io.BytesIO()
    ByTblib(file).dump(exc)
    return pickle.loads(file.getvalue())


class Unfit(ImportError):
    """tblib rebuilds one whose base class reduces itself by its `__init__`."""

    def __init__(self, code: int, path: str) -> None:
        super().__init__(f"{code} in {path}")


class Demanding(Exception):
    """tblib calls the `__new__` of one that is rebuilt without its `__init__`."""

    def __new__(cls, code: int) -> Self:
        return super().__new__(cls)

    def __init__(self, code: int) -> None:
        super().__init__(f"failed {code}")


def fail_far_down() -> BaseException:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        return fail_by(lambda: deep(5000))
    finally:
        sys.setrecursionlimit(limit)


def circle() -> BaseException:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    return one


@pytest.mark.parametrize(
    ("exc", "without"),
    [
        pytest.param(fail_by(lambda: deep(3)), AssertionError, id="columns"),
        pytest.param(fail_far_down(), RecursionError, id="a long traceback"),
        pytest.param(circle(), RecursionError, id="a circle"),
        pytest.param(
            raised(Unfit(3, "here")), TypeError, id="an __init__ that takes another thing"
        ),
        pytest.param(raised(Demanding(3)), TypeError, id="a __new__ that takes something"),
    ],
)
def test_what_arrives_is_more_than_the_reducers_of_tblib_would_keep(
    exc: BaseException, without: type[Exception]
) -> None:
    """The reason for reducers of our own: where tblib's have learned enough, this fails."""
    assert shown(travel(exc)) == shown(exc)
    with pytest.raises(without):
        assert shown(by_tblib(exc)) == shown(exc)
