"""The table of operations, and chains of them: how they record, print and evaluate."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj._protocol.operations import OPS
from remoteobj._protocol.views import View, evaluate


class Base:
    def name(self) -> str:
        return "base"


class Thing(Base):
    def __init__(self) -> None:
        self.n = 1
        self.d: dict[Any, Any] = {"k": [1, 2, 3]}

    def name(self) -> str:
        return "thing"

    def give(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def itself(self) -> "Thing":
        return self


class Mute:
    """Raises when it is printed."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


def double(thing: Thing, plus: int = 0) -> int:
    return 2 * thing.n + plus


Row = tuple[str, tuple[Any, ...], str, Any]

# One line per row of the table: operation, operands, how it prints, its value on Thing().
# The ones that apply to something else than the root begin at `d` or `d["k"]`.
ROOT: list[Row] = [
    ("attr", ("n",), "?.n", 1),
    ("call", ((), {}), "?()", TypeError("'Thing' object is not callable")),
    ("passto", (double, (), {}), "double(?)", 2),
    ("passto", (double, (5,), {}), "double(?, 5)", 7),
    ("passto", (double, (), {"plus": 1}), "double(?, plus=1)", 3),
    ("passto", (str.__len__, (), {}), "str.__len__(?)", TypeError),
    ("setattr", ("n", "x"), "?.n = 'x'", None),
    ("delattr", ("n",), "del ?.n", None),
    ("bool", (), "bool(?)", True),
    ("len", (), "len(?)", TypeError("object of type 'Thing' has no len()")),
    ("iter", (), "iter(?)", TypeError("'Thing' object is not iterable")),
]
ITEMS: list[Row] = [
    ("item", (0,), "?[0]", 1),
    ("item", (slice(1, None),), "?[slice(1, None, None)]", [2, 3]),
    ("item", (9,), "?[9]", IndexError("list index out of range")),
    ("setitem", (0, "x"), "?[0] = 'x'", None),
    ("delitem", (0,), "del ?[0]", None),
    ("contains", (2,), "2 in ?", True),
    ("contains", (7,), "7 in ?", False),
    ("len", (), "len(?)", 3),
    ("bool", (), "bool(?)", True),
]


def row_id(row: Row) -> str:
    return row[2]


def apply(view: View, obj: Any) -> Any:
    try:
        return view.evaluate(obj)
    except Exception as exc:
        return exc


@pytest.mark.parametrize("row", ROOT, ids=row_id)
def test_an_operation_prints_as_python_and_does_what_it_prints(row: Row) -> None:
    check(row, Thing())


@pytest.mark.parametrize("row", ITEMS, ids=row_id)
def test_an_operation_on_items_prints_as_python_and_does_what_it_prints(row: Row) -> None:
    check(row, [1, 2, 3])


def check(row: Row, obj: Any) -> None:
    name, operands, text, expected = row
    view = View().then(name, *operands)
    assert str(view) == text
    got = apply(view, obj)
    if isinstance(expected, type):
        assert type(got) is expected
    elif isinstance(expected, Exception):
        assert (type(got), str(got)) == (type(expected), str(expected))
    else:
        assert got == expected


def test_every_row_of_the_table_is_tried_above() -> None:
    assert {row[0] for row in ROOT + ITEMS} | {"super"} == set(OPS)


def test_only_attributes_items_and_super_go_on_lazily() -> None:
    assert {name for name, op in OPS.items() if not op.ends} == {"attr", "item", "super"}


def test_assignments_and_deletions_change_the_object() -> None:
    thing = Thing()
    View().then("setattr", "n", 5).evaluate(thing)
    View().then("attr", "d").then("setitem", "new", 6).evaluate(thing)
    View().then("attr", "d").then("delitem", "k").evaluate(thing)
    assert vars(thing) == {"n": 5, "d": {"new": 6}}
    View().then("delattr", "n").evaluate(thing)
    assert vars(thing) == {"d": {"new": 6}}


def test_super_is_the_object_as_its_base_class_sees_it() -> None:
    view = View().then("super").then("attr", "name").then("call", (), {})
    assert str(view) == "super(?).name()"
    assert view.evaluate(Thing()) == "base"


def test_a_chain_prints_whole_and_evaluates_from_left_to_right() -> None:
    view = (
        View()
        .then("attr", "itself")
        .then("call", (), {})
        .then("attr", "d")
        .then("item", "k")
        .then("item", -1)
    )
    assert str(view) == "?.itself().d['k'][-1]"
    assert repr(view) == "View(?.itself().d['k'][-1])"
    assert view.evaluate(Thing()) == 3


def test_the_empty_chain_is_the_object() -> None:
    thing = Thing()
    assert str(View()) == "?"
    assert View().evaluate(thing) is thing


def test_extending_a_chain_leaves_it_as_it_was() -> None:
    view = View().then("attr", "d")
    assert view.then("item", 1) != view.then("item", 2)
    assert str(view) == "?.d"


def test_an_operation_that_is_not_in_the_table_is_refused_when_it_is_recorded() -> None:
    with pytest.raises(ValueError, match="'nonsense' is not an operation"):
        View().then("nonsense")


@pytest.mark.parametrize(
    ("func", "text"),
    [
        (len, "len(?)"),
        (lambda thing: thing, "<lambda>(?)"),
        (double, "double(?)"),
        (Thing.name, "Thing.name(?)"),
    ],
    ids=["builtin", "lambda", "function", "method"],
)
def test_a_function_prints_by_its_name(func: Callable[..., Any], text: str) -> None:
    assert str(View().then("passto", func, (), {})).endswith(text)


def test_an_operand_whose_repr_fails_still_prints() -> None:
    text = str(View().then("attr", "give").then("call", (Mute(),), {"k": Mute()}))
    assert text.startswith("?.give(<")
    assert text.count("Mute object at") == 2


def test_a_long_operand_is_printed_short() -> None:
    text = str(View().then("item", "x" * 10_000))
    assert len(text) < 100
    assert text.endswith("...]")


def test_what_arrives_as_a_plain_tuple_evaluates_the_same() -> None:
    view = View().then("attr", "give").then("call", (1,), {"k": 2})
    steps = pickle.loads(pickle.dumps(tuple(view)))
    assert type(steps) is tuple
    assert evaluate(steps, Thing()) == view.evaluate(Thing()) == ((1,), {"k": 2})


def test_what_an_operation_raises_comes_out_as_it_is() -> None:
    error = KeyError("mine")

    def fail(thing: Thing) -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        View().then("passto", fail, (), {}).evaluate(Thing())
    assert caught.value is error


def test_keywords_of_any_name_reach_the_function() -> None:
    names = ["self", "obj", "func", "args", "kwargs", "name", "text"]
    keywords = dict.fromkeys(names, 1)
    call = View().then("attr", "give").then("call", (), {k: 1 for k in names if k != "self"})
    assert call.evaluate(Thing())[1] == {k: 1 for k in names if k != "self"}

    def collect(_thing: Thing, /, **kwargs: int) -> dict[str, int]:
        return kwargs

    assert View().then("passto", collect, (), keywords).evaluate(Thing()) == keywords


names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
steps = st.one_of(
    st.tuples(st.just("attr"), names),
    st.tuples(st.just("item"), st.one_of(st.integers(), st.text(max_size=5), st.none())),
    st.tuples(st.just("call"), st.tuples(st.integers()), st.dictionaries(names, st.booleans())),
)


class Recorder:
    """Builds the very text of what is done to it, by Python's own syntax."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> "Recorder":
        return Recorder(f"{self._text}.{name}")

    def __getitem__(self, key: Any) -> "Recorder":
        return Recorder(f"{self._text}[{key!r}]")

    def __call__(self, *args: Any, **kwargs: Any) -> "Recorder":
        shown = ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())])
        return Recorder(f"{self._text}({shown})")


@given(st.lists(steps, max_size=8))
def test_printing_and_applying_agree_for_every_chain(chain: list[tuple[Any, ...]]) -> None:
    view = View()
    for name, *operands in chain:
        view = view.then(name, *operands)
    assert str(view) == view.evaluate(Recorder("?"))._text
