"""The table of operations, and chains of them: how they print, evaluate and are made from rows."""

import pickle
import string
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj import CallTimeoutError, Proxy, UnsendableError, remote
from remoteobj._pickling.codec import dumps_call
from remoteobj._protocol.descriptions import describe_request, format_steps, named_operands
from remoteobj._protocol.operations import OPERATIONS, Operation, Steps, evaluate
from remoteobj._syntax import operator_method
from remoteobj.testing import Gate


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

ARITHMETIC = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "lshift": "<<",
    "rshift": ">>",
    "and": "&",
    "xor": "^",
    "or": "|",
}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

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
    ("int", (), "int(?)", TypeError),
    ("reversed", (), "reversed(?)", TypeError("'Thing' object is not reversible")),
]
NUMBERS: list[Row] = [
    ("int", (), "int(?)", 5),
    ("float", (), "float(?)", 5.0),
    ("complex", (), "complex(?)", 5 + 0j),
    ("index", (), "index(?)", 5),
    ("neg", (), "-?", -5),
    ("pos", (), "+?", 5),
    ("invert", (), "~?", -6),
    ("abs", (), "abs(?)", 5),
    ("round", (), "round(?)", 5),
    ("rounddigits", (-1,), "round(?, -1)", 0),
    ("trunc", (), "trunc(?)", 5),
    ("floor", (), "floor(?)", 5),
    ("ceil", (), "ceil(?)", 5),
    ("format", (".2f",), "format(?, '.2f')", "5.00"),
    ("divmod", (2,), "divmod(?, 2)", (2, 1)),
    ("rdivmod", (13,), "divmod(13, ?)", (2, 3)),
    ("powmod", (2, 7), "pow(?, 2, 7)", 4),
    ("rpowmod", (2, 7), "pow(2, ?, 7)", 4),
    *((name, (2,), f"? {sign} 2", eval(f"5 {sign} 2")) for name, sign in ARITHMETIC.items()),
    *((f"r{name}", (2,), f"2 {sign} ?", eval(f"2 {sign} 5")) for name, sign in ARITHMETIC.items()),
    *((f"i{name}", (2,), f"? {sign}= 2", eval(f"5 {sign} 2")) for name, sign in ARITHMETIC.items()),
    *((name, (2,), f"? {sign} 2", eval(f"5 {sign} 2")) for name, sign in COMPARISONS.items()),
    ("matmul", (2,), "? @ 2", TypeError("unsupported operand type(s) for @: 'int' and 'int'")),
    ("rmatmul", (2,), "2 @ ?", TypeError("unsupported operand type(s) for @: 'int' and 'int'")),
    ("imatmul", (2,), "? @= 2", TypeError("unsupported operand type(s) for @=: 'int' and 'int'")),
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
LAZY = {"attr", "item", "super"}
INSIDE = {"super", "parts", "attrplace", "itemplace"}
"""Rows that are of use with others alone, and are tried with these."""


def row_id(row: Row) -> str:
    return row[2]


def apply(steps: Steps, obj: Any) -> Any:
    try:
        return evaluate(steps, obj)
    except Exception as exc:
        return exc


@pytest.mark.parametrize("row", ROOT, ids=row_id)
def test_an_operation_prints_as_python_and_does_what_it_prints(row: Row) -> None:
    check(row, Thing())


@pytest.mark.parametrize("row", ITEMS, ids=row_id)
def test_an_operation_on_items_prints_as_python_and_does_what_it_prints(row: Row) -> None:
    check(row, [1, 2, 3])


@pytest.mark.parametrize("row", NUMBERS, ids=row_id)
def test_an_operation_on_numbers_prints_as_python_and_does_what_it_prints(row: Row) -> None:
    check(row, 5)


def check(row: Row, obj: Any) -> None:
    name, operands, text, expected = row
    steps = ((name, *operands),)
    assert format_steps(steps) == text
    got = apply(steps, obj)
    if isinstance(expected, type):
        assert type(got) is expected
    elif isinstance(expected, Exception):
        assert (type(got), str(got)) == (type(expected), str(expected))
    else:
        assert got == expected


def test_every_row_of_the_table_is_tried_above() -> None:
    assert {row[0] for row in ROOT + ITEMS + NUMBERS} | INSIDE == set(OPERATIONS)


def test_only_attributes_items_and_super_go_on_lazily() -> None:
    lazy = {name for name, op in OPERATIONS.items() if not op.ends}
    assert lazy - INSIDE == LAZY - INSIDE


def test_an_operator_that_stores_is_applied_to_the_place_that_the_chain_leads_to() -> None:
    thing = Thing()
    of_attribute = (("attrplace", "n"), ("iadd", 4))
    of_item = (("attr", "d"), ("item", "k"), ("itemplace", 0), ("imul", 10))
    assert format_steps(of_attribute) == "?.n += 4"
    assert format_steps(of_item) == "?.d['k'][0] *= 10"
    assert evaluate(of_attribute, thing) is evaluate(of_item, thing) is None
    assert vars(thing) == {"n": 5, "d": {"k": [10, 2, 3]}}
    assert describe_request(dumps_call(of_item)[0]) == "?.d[...][...] *= ..."
    assert list(named_operands(of_attribute)) == [("name", "n"), ("other", 4)]


def test_assignments_and_deletions_change_the_object() -> None:
    thing = Thing()
    evaluate((("setattr", "n", 5),), thing)
    evaluate((("attr", "d"), ("setitem", "new", 6)), thing)
    evaluate((("attr", "d"), ("delitem", "k")), thing)
    assert vars(thing) == {"n": 5, "d": {"new": 6}}
    evaluate((("delattr", "n"),), thing)
    assert vars(thing) == {"d": {"new": 6}}


def test_super_is_the_object_as_its_base_class_sees_it() -> None:
    steps: Steps = (("super",), ("attr", "name"), ("call", (), {}))
    assert format_steps(steps) == "super(?).name()"
    assert evaluate(steps, Thing()) == "base"


def test_a_chain_prints_whole_and_evaluates_from_left_to_right() -> None:
    steps: Steps = (
        ("attr", "itself"),
        ("call", (), {}),
        ("attr", "d"),
        ("item", "k"),
        ("item", -1),
    )
    assert format_steps(steps) == "?.itself().d['k'][-1]"
    assert evaluate(steps, Thing()) == 3


def test_the_empty_chain_is_the_object() -> None:
    thing = Thing()
    assert format_steps(()) == "?"
    assert evaluate((), thing) is thing


def test_extending_a_proxy_leaves_it_as_it_was() -> None:
    proxy = Proxy(Thing()).d
    assert repr(proxy["a"]).endswith("(?.d['a'])>")
    assert repr(proxy["b"]).endswith("(?.d['b'])>")
    assert repr(proxy).endswith("(?.d)>")


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
    assert format_steps((("passto", func, (), {}),)).endswith(text)


def test_an_operand_whose_repr_fails_still_prints() -> None:
    text = format_steps((("attr", "give"), ("call", (Mute(),), {"k": Mute()})))
    assert text.startswith("?.give(<")
    assert text.count("Mute object at") == 2


def test_a_long_operand_is_printed_short() -> None:
    text = format_steps((("item", "x" * 10_000),))
    assert len(text) < 100
    assert text.endswith("...]")


@pytest.mark.parametrize("args", [(1,), (1, [2])], ids=["plain", "others"])
@pytest.mark.parametrize("kwargs", [{}, {"to": 3}], ids=["the short form", "a list of steps"])
def test_what_arrives_evaluates_as_what_was_sent(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    steps: Steps = (("attr", "give"), ("call", args, kwargs))
    arrived = pickle.loads(dumps_call(steps)[0])
    assert type(arrived) is (list if kwargs else tuple)
    assert evaluate(arrived, Thing()) == evaluate(steps, Thing()) == (args, kwargs)


def test_what_an_operation_raises_comes_out_as_it_is() -> None:
    error = KeyError("mine")

    def fail(thing: Thing) -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        evaluate((("passto", fail, (), {}),), Thing())
    assert caught.value is error


def test_keywords_of_any_name_reach_the_function() -> None:
    names = ["self", "obj", "func", "args", "kwargs", "name", "text"]
    keywords = dict.fromkeys(names, 1)
    call = (("attr", "give"), ("call", (), {k: 1 for k in names if k != "self"}))
    assert evaluate(call, Thing())[1] == {k: 1 for k in names if k != "self"}

    def collect(_thing: Thing, /, **kwargs: int) -> dict[str, int]:
        return kwargs

    assert evaluate((("passto", collect, (), keywords),), Thing()) == keywords


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
    steps = tuple(chain)
    assert format_steps(steps) == evaluate(steps, Recorder("?"))._text


# ------------------------------------------------------------------ one row


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_form_of_a_row_shows_its_operands_and_no_others(name: str) -> None:
    operation = OPERATIONS[name]
    fields = {field for _, field, _, _ in string.Formatter().parse(operation.form) if field}
    shown = {one for one in operation.operands if one not in ("args", "kwargs")}
    arguments = {"args", "more_args"} & fields
    assert fields - arguments == {"obj"} | shown
    assert bool(arguments) == ("args" in operation.operands)
    assert "name" not in operation.operands[1:]


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


class Amount:
    def __init__(self, n: int) -> None:
        self.n = n

    def __floordiv__(self, divisor: int) -> int:
        return self.n // divisor


HALVED = (("attr", "total"), ("share", 2))


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that is not in the table, and then is, with a method that asks for it."""
    row = Operation("{obj} // {divisor}", lambda a, b: a // b, ("divisor",))
    monkeypatch.setitem(OPERATIONS, "share", row)
    method = operator_method("__floordiv__", {1: "share"}, lambda view: view)
    monkeypatch.setattr(Proxy, "__floordiv__", method)


@pytest.mark.usefixtures("share")
def test_one_more_row_prints_applies_names_its_operand_and_is_described() -> None:
    class Purse:
        total = Amount(7)

    assert format_steps(HALVED) == "?.total // 2"
    assert evaluate(HALVED, Purse()) == 3
    assert list(named_operands(HALVED)) == [("name", "total"), ("divisor", 2)]
    assert describe_request(dumps_call(HALVED)[0]) == "?.total // ..."


@pytest.mark.engines(only=["process"], reason="the row is in the table of forks alone")
@pytest.mark.usefixtures("share")
def test_one_more_row_makes_an_operator_of_proxies(gate: Gate) -> None:
    @remote
    class Purse:
        def __init__(self) -> None:
            self.total = Amount(7)

        def park(self, gate: Gate) -> None:
            gate.park()

    with Purse.options(start_method="fork").spawn() as purse:
        assert purse.total // 2 == 3
        assert (purse.future_.total // 2).result(10) == 3, "Python hands on what it gives"
        with pytest.raises(ZeroDivisionError):
            _ = purse.total // 0
        with pytest.raises(UnsendableError, match=r"^divisor\[0\] can't be sent"):
            _ = purse.total // [threading.Lock()]
        parked = purse.future_.park(gate)
        gate.wait_for_arrival()
        queued = purse.future_.total // 2
        with pytest.raises(CallTimeoutError) as late:
            _ = purse.with_(timeout=0.05).total // 1
        assert late.value.queued_ahead == ("?.total // ...",)
        gate.open()
        parked.result()
        assert queued.result() == 3


def test_the_method_of_a_row_is_named_as_python_names_it() -> None:
    method: Any = vars(Proxy)["__floordiv__"]
    assert (method.__name__, method.__qualname__) == ("__floordiv__", "Proxy.__floordiv__")


def test_a_method_says_how_many_operands_its_operations_have() -> None:
    method: Any = vars(Proxy)["__pow__"]
    with pytest.raises(TypeError, match="__pow__ takes 1 or 2 operands, and got 3"):
        method(Proxy(Thing()).n, 1, 2, 3)


@pytest.mark.parametrize("name", [name for name, row in OPERATIONS.items() if row.dunder])
def test_proxies_have_the_method_of_each_row(name: str) -> None:
    dunder = OPERATIONS[name].dunder
    assert dunder is not None
    assert vars(Proxy)[dunder].__name__ == dunder
