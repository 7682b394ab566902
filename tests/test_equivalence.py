"""The same random operations on an object here and on its equal elsewhere: no difference.

Every rule does one thing to both and compares how it ended: the same value (of the same type), or
an exception of the same type with the same arguments. After each the two objects must be equal.
"""

import copy
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from remoteobj import Proxy, RemoteError, remote
from tests.internals import methods_of_operations
from tests.operations.boxes import BINARY, IN_PLACE, ON_ATTRIBUTE, ON_ITEM, Meters


class Base:
    kind = "base"

    def who(self) -> Any:
        return ["base", sorted(vars(self))]

    def count(self) -> int:
        return 0


class Broken(Exception):
    def __init__(self, code: int) -> None:
        super().__init__("code", code)
        self.code = code


ERRORS: list[Any] = [ValueError, KeyError, IndexError, Broken, OSError, ZeroDivisionError]
ENDING: list[Any] = [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration]


@remote
class Model(Base):
    """A bit of everything that an object can have."""

    kind = "model"

    def __init__(self) -> None:
        self.alpha: Any = 1
        self.beta: Any = [1, 2, 3]
        self.gamma: Any = {"k": {"n": [1]}}
        self.store: dict[Any, Any] = {"k": 1}
        self.value: Any = 0

    def who(self) -> Any:
        return "model"

    def count(self) -> int:
        return len(self.store)

    def both(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def put(self, key: Any, value: Any = None, *, twice: bool = False) -> "Model":
        self.store[key] = [value, value] if twice else value
        return self

    def fail(self, kind: Any, code: int) -> Any:
        raise kind(code)

    def steps(self, count: int, kind: Any) -> Iterator[int]:
        yield from range(count)
        if kind is not None:
            raise kind(count)

    @property
    def size(self) -> int:
        return len(self.store) + len(self.beta)

    @size.setter
    def size(self, value: int) -> None:
        self.beta = [0] * value

    def __len__(self) -> int:
        return len(self.store)

    def __bool__(self) -> bool:
        return bool(self.alpha)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.store))

    def __contains__(self, key: Any) -> bool:
        return key in self.store

    def __getitem__(self, key: Any) -> Any:
        return self.store[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.store[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.store[key]


def state(model: Model) -> dict[str, Any]:
    """The state that a user can see; the actor's own proxy is not part of it."""
    return {name: value for name, value in vars(model).items() if name != "remote"}


# --- how an operation ended --------------------------------------------------------------------

Outcome = tuple[Any, ...]
ITSELF = "the object itself"


def outcome(root: Any, do: Callable[[Any], Any]) -> Outcome:
    try:
        value = do(root)
    except RemoteError as error:
        # Here it is raised as itself, there it is wrapped: that is the one difference.
        assert error.__cause__ is not None
        return failed(error.__cause__)
    except BaseException as error:
        return failed(error)
    if value is root:
        return (ITSELF,)
    if isinstance(value, (MethodType, Proxy)):
        return ("method", str(value).count("who"))  # of the object, which travels as a proxy
    return ("value", type(value), value)


def failed(error: BaseException) -> Outcome:
    return ("error", type(error), error.args, getattr(error, "code", None))


def plainly(do: Callable[[], Any]) -> Any:
    """What Python's own code, here, says of a `TypeError` is about the classes that it sees, in the
    order in which it asks them."""
    try:
        return do()
    except TypeError:
        return TypeError


def here(part: Any) -> Any:
    """The value of a part: what it is here, and what it stands for there."""
    return part.get_() if isinstance(part, Proxy) else part


# --- what can be done --------------------------------------------------------------------------

scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "k", "n"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["k", "n", ""]), inner, max_size=2),
        st.tuples(inner),
    ),
    max_leaves=4,
)
keys: st.SearchStrategy[Any] = st.one_of(
    scalars, st.tuples(st.integers(0, 1)), st.just([])
)  # a list is no key
names = st.sampled_from(["alpha", "beta", "gamma", "kind", "size", "missing", "new"])
links = st.one_of(
    st.tuples(st.just("attr"), st.one_of(names, st.sampled_from(["real", "who", "store"]))),
    st.tuples(st.just("item"), st.one_of(scalars, st.just(...), st.just(slice(0, 1)))),
)
paths = st.lists(links, max_size=3)
operands = st.one_of(
    values,
    st.sampled_from([2.5, -1.5, 2 + 1j, b"x", {1, 2}, frozenset({2}), "%s"]).map(copy.copy),
    st.builds(Meters, st.integers(0, 2)),
)
symbols = st.sampled_from(list(BINARY))

CONVERSIONS: list[Callable[[Any], Any]] = [
    operator.neg,
    operator.pos,
    operator.invert,
    abs,
    int,
    float,
    complex,
    operator.index,
    round,
    lambda part: round(part, 1),
    math.trunc,
    math.floor,
    math.ceil,
    lambda part: f"{part:>5}",
    lambda part: f"{part:.1f}",
    lambda part: part in (1, "k", None, [1]),
    lambda part: pow(part, 3, 5),
    lambda part: list(reversed(part)),
]
COPIES: list[Callable[[Any], Any]] = [dict, lambda part: {**part}, lambda part: part | {}]
Path = list[tuple[str, Any]]

FUNCTIONS: list[Callable[..., Any]] = [
    len,
    bool,
    list,
    sorted,
    str.upper,
    lambda obj: type(obj).__name__,
    lambda obj, *args, **kwargs: (args, kwargs),
    lambda obj: obj,
    lambda obj: setattr(obj, "new", 5),
    lambda obj: obj.gamma["k"]["n"].append(1),
    lambda obj: [x for x in obj if x],
]


def walk(root: Any, path: Path) -> Any:
    for kind, name in path:
        root = getattr(root, name) if kind == "attr" else root[name]
    return root


class Machine(RuleBasedStateMachine):
    """Drives both; `start` says where the other one lives."""

    start: Callable[[], Any]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.proxy: Any = type(self).start()

    def same(self, do: Callable[[Any], Any]) -> None:
        assert outcome(self.proxy, do) == outcome(self.model, do)

    @initialize()
    def the_same_at_first(self) -> None:
        self.same(lambda root: root.passto(state) if root is self.proxy else state(root))

    @invariant()
    def both_are_equal(self) -> None:
        assert self.proxy.passto(state) == state(self.model)

    @rule(path=paths)
    def read(self, path: Path) -> None:
        # A bound method or iterator has no equal; what it is of is compared by calling it.
        if path and path[-1] == ("attr", "who"):
            self.same(lambda root: walk(root, path)())
        else:
            self.same(lambda root: here(walk(root, path)))

    @rule(path=paths, name=names, value=values)
    def set_attribute(self, path: Path, name: str, value: Any) -> None:
        if name == "size" and not isinstance(value, int):
            value = 2
        self.same(lambda root: setattr(walk(root, path), name, value))

    @rule(path=paths, name=names)
    def delete_attribute(self, path: Path, name: str) -> None:
        self.same(lambda root: delattr(walk(root, path), name))

    @rule(path=paths, key=keys, value=values)
    def set_item(self, path: Path, key: Any, value: Any) -> None:
        def assign(root: Any) -> None:
            walk(root, path)[key] = value

        self.same(assign)

    @rule(path=paths, key=keys)
    def delete_item(self, path: Path, key: Any) -> None:
        def delete(root: Any) -> None:
            del walk(root, path)[key]

        self.same(delete)

    @rule(path=paths, key=keys)
    def contains(self, path: Path, key: Any) -> None:
        self.same(lambda root: key in walk(root, path))

    @rule(path=paths)
    def length(self, path: Path) -> None:
        self.same(lambda root: len(walk(root, path)))

    @rule(path=paths)
    def truth(self, path: Path) -> None:
        self.same(lambda root: bool(walk(root, path)))

    @rule(path=paths)
    def iterate(self, path: Path) -> None:
        self.same(lambda root: [item for item in walk(root, path)])  # noqa: C416  (list() asks len)

    @rule(path=paths, symbol=symbols, other=operands)
    def operate(self, path: Path, symbol: str, other: Any) -> None:
        self.same(lambda root: BINARY[symbol](walk(root, path), other))

    @rule(path=paths, symbol=symbols, other=operands)
    def operate_reflected(self, path: Path, symbol: str, other: Any) -> None:
        if symbol != "%" or not isinstance(other, (str, bytes)):  # which format what they get
            self.same(lambda root: plainly(lambda: BINARY[symbol](other, walk(root, path))))

    @rule(value=operands, symbol=symbols, other=operands)
    def operate_on_any_value(self, value: Any, symbol: str, other: Any) -> None:
        self.same(lambda root: setattr(root, "value", value))
        self.same(lambda root: BINARY[symbol](root.value, other))
        self.operate_reflected([("attr", "value")], symbol, other)

    @rule(path=paths, symbol=symbols, second=paths)
    def operate_on_two_parts(self, path: Path, symbol: str, second: Path) -> None:
        if path and second:  # a whole object has no copy to be compared with
            self.same(
                lambda root: plainly(lambda: BINARY[symbol](walk(root, path), walk(root, second)))
            )

    @rule(path=paths, symbol=st.sampled_from(IN_PLACE), value=operands, other=operands)
    def store_in_attribute(self, path: Path, symbol: str, value: Any, other: Any) -> None:
        self.same(lambda root: setattr(walk(root, path), "value", value))
        self.same(lambda root: ON_ATTRIBUTE[symbol](walk(root, path), None, other))

    @rule(path=paths, key=keys, symbol=st.sampled_from(IN_PLACE), value=operands, other=operands)
    def store_in_item(self, path: Path, key: Any, symbol: str, value: Any, other: Any) -> None:
        def assign(root: Any) -> None:
            walk(root, path)[key] = value

        self.same(assign)
        self.same(lambda root: ON_ITEM[symbol](walk(root, path), key, other))

    @rule(value=operands, index=st.integers(0, len(CONVERSIONS) - 1))
    def convert_any_value(self, value: Any, index: int) -> None:
        self.same(lambda root: setattr(root, "value", value))
        self.convert([("attr", "value")], index)

    @rule(path=paths, copy=st.sampled_from(COPIES))
    def copy_mapping(self, path: Path, copy: Callable[[Any], Any]) -> None:
        path = [("attr", "gamma"), *path]
        if outcome(self.model, lambda root: walk(root, path))[:2] == ("value", dict):
            self.same(lambda root: copy(walk(root, path)))

    @rule(path=paths, index=st.integers(0, len(CONVERSIONS) - 1))
    def convert(self, path: Path, index: int) -> None:
        self.same(lambda root: plainly(lambda: CONVERSIONS[index](walk(root, path))))

    @rule(path=paths, args=st.lists(values, max_size=2), name=names, value=values)
    def call(self, path: Path, args: list[Any], name: str, value: Any) -> None:
        self.same(lambda root: walk(root, path)(*args, **{name: value}))

    @rule(args=st.lists(values, max_size=2), name=names, value=values)
    def call_method(self, args: list[Any], name: str, value: Any) -> None:
        self.same(lambda root: root.both(*args, **{name: value}))

    @rule(args=st.lists(values, max_size=2))
    def call_list_method(self, args: list[Any]) -> None:
        self.same(lambda root: root.beta.append(*args))
        self.same(lambda root: root.beta.pop(*args))

    @rule(kind=st.sampled_from([*ERRORS, *ENDING]), code=st.integers(0, 3))
    def fail(self, kind: Any, code: int) -> None:
        self.same(lambda root: root.fail(kind, code))

    @rule(count=st.integers(0, 40), kind=st.sampled_from([None, *ERRORS]))
    def stream(self, count: int, kind: Any) -> None:
        def consume(root: Any) -> Any:
            seen = []
            try:
                for item in root.steps(count, kind):
                    seen.append(item)  # noqa: PERF402  (what came before the error is compared)
            except Exception as error:
                return seen, failed(error)
            return seen

        self.same(consume)

    @rule(count=st.integers(1, 40), taken=st.integers(0, 3))
    def leave_a_stream(self, count: int, taken: int) -> None:
        def consume(root: Any) -> Any:
            stream = root.steps(count, None)
            seen = [item for item, _ in zip(stream, range(taken), strict=False)]
            stream.close()
            return seen

        self.same(consume)

    @rule(path=paths, index=st.integers(0, len(FUNCTIONS) - 1), args=st.lists(scalars, max_size=1))
    def pass_to(self, path: Path, index: int, args: list[Any]) -> None:
        func = FUNCTIONS[index]

        def apply(root: Any) -> Any:
            part = walk(root, path)
            return part.passto(func, *args) if isinstance(part, Proxy) else func(part, *args)

        self.same(apply)

    @rule(name=st.sampled_from(["who", "count", "put", "missing"]))
    def super_method(self, name: str) -> None:
        def call(root: Any) -> Any:
            base = root.super if isinstance(root, Proxy) else super(Model, root)
            return getattr(base, name)()

        # Its own proxy is an attribute over there, which `who` lists.
        self.same(lambda root: without_remote(call(root)))

    @rule(chain=st.lists(st.tuples(keys, values, st.booleans()), min_size=1, max_size=4))
    def chain(self, chain: list[tuple[Any, Any, bool]]) -> None:
        def follow(root: Any) -> Any:
            for key, value, twice in chain:
                root = root.put(key, value, twice=twice)
            return root

        self.same(follow)
        self.same(lambda root: here(follow(root).store))

    def teardown(self) -> None:
        self.proxy.stop_()


def without_remote(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], list):
        return [value[0], [name for name in value[1] if name != "remote"]]
    return value


BY_RULES_OF_THEIR_OWN = {"getitem", "setitem", "delitem", "contains", "len", "bool", "iter"}


def test_every_operator_is_among_those_that_are_tried() -> None:
    tried: set[str] = set()

    def method(name: str) -> Callable[..., Any]:
        def ask(*_: Any) -> Any:
            tried.add(name)
            return NotImplemented

        return ask

    def attempt(do: Callable[..., Any], *operands: Any) -> None:
        with suppress(Exception):
            do(*operands)

    names = methods_of_operations()
    spy: Any = type("Spy", (), {name: method(name) for name in names})()
    for operate in BINARY.values():
        attempt(operate, spy, object())
        attempt(operate, object(), spy)
    for statement in ON_ATTRIBUTE.values():
        attempt(statement, SimpleNamespace(value=spy), None, object())
    for convert in [*CONVERSIONS, *COPIES]:
        attempt(convert, spy)
    assert tried | {f"__{name}__" for name in BY_RULES_OF_THEIR_OWN} >= names


LIVES: dict[str, tuple[dict[str, Any], int]] = {
    "fork": ({"engine": "process", "start_method": "fork"}, 30),
    "thread": ({"engine": "thread"}, 40),
    "inline": ({"engine": "inline"}, 40),
}


@pytest.mark.parametrize("life", LIVES)
def test_no_sequence_of_operations_tells_a_remote_object_from_a_local_one(life: str) -> None:
    options, examples = LIVES[life]

    class Here(Machine):
        start = staticmethod(Model.options(**options).spawn)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow],
            phases=[Phase.generate, Phase.shrink],  # to explain costs a tracer on every line
        ),
    )
