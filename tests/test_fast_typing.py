"""Named tuples that are made in less time than those of `typing`, and behave as they do."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import remoteobj
from remoteobj import _fast_typing

MADE_FROM = """
from __future__ import annotations
from typing import Generic, TypeVar

T = TypeVar("T")

class Point(NamedTuple):
    \"\"\"A place.\"\"\"

    x: int
    y: No.Such.Thing = 2
    \"\"\"From below.\"\"\"
    make: str = "m"

    @property
    def sum(self):
        return self.x + self.y

    @classmethod
    def at(cls, x):
        return cls(x, x)

    def larger(self):
        return self._replace(x=self.x + 1)

class Named(NamedTuple):
    cls: int
    def __repr__(self):
        return "named"

class Box(NamedTuple, Generic[T]):
    content: T

class Wide(NamedTuple):
    """ + "".join(f"f{number}: int = {number}; " for number in range(30))


@pytest.fixture(params=["typing", "ours"])
def made(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The same classes, by `typing` and by ours."""
    module: Any = types.ModuleType(f"made_by_{request.param}")
    makers = {"typing": typing, "ours": _fast_typing}
    module.NamedTuple = makers[request.param].NamedTuple
    sys.modules[module.__name__] = module
    try:
        exec(MADE_FROM, module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]


def test_it_is_made_by_place_and_by_name_and_has_defaults(made: Any) -> None:
    assert made.Point(1) == made.Point(x=1, y=2) == (1, 2, "m")
    assert made.Point(1, make="n") == (1, 2, "n")
    assert made.Named(cls=3).cls == 3


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, "m", 4), {}), ((1,), {"z": 1})])
def test_arguments_that_do_not_fit_are_refused(made: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match=r"__new__\(\)"):
        made.Point(*args, **kwargs)


def test_its_fields_are_attributes_that_are_not_set(made: Any) -> None:
    point = made.Point(1)
    assert (point.x, point.y, point.make, point.sum) == (1, 2, "m", 3)
    with pytest.raises(AttributeError):
        point.x = 2
    with pytest.raises(AttributeError):
        point.other = 2


def test_it_says_what_it_has(made: Any) -> None:
    assert repr(made.Point(1)) == "Point(x=1, y=2, make='m')"
    assert repr(made.Named(1)) == "named"
    assert made.Point.__doc__ == "A place."
    assert list(inspect.signature(made.Point).parameters.items())[1][1].default == 2
    assert list(inspect.signature(made.Named).parameters) == ["cls"]


def test_it_has_what_named_tuples_have(made: Any) -> None:
    point = made.Point(1)
    assert made.Point._fields == made.Point.__match_args__ == ("x", "y", "make")
    assert made.Point._field_defaults == {"y": 2, "make": "m"}
    assert point._asdict() == {"x": 1, "y": 2, "make": "m"}
    assert made.Point._make([4, 5, "n"]) == (4, 5, "n")
    assert point._replace(x=5, make="n") == (5, 2, "n")
    assert type(point._replace(x=5)) is made.Point
    with pytest.raises(TypeError):
        made.Point._make([4])
    with pytest.raises((TypeError, ValueError), match="z"):
        point._replace(z=5)
    if sys.version_info >= (3, 13):
        assert copy.replace(point, x=5) == (5, 2, "m")


def test_it_has_methods_as_any_class(made: Any) -> None:
    assert made.Point.at(3).larger() == (4, 3, "m")
    assert type(made.Point) is type
    assert made.Point.__module__ == made.__name__
    assert made.Point.__qualname__ == "Point"


def test_it_may_be_generic(made: Any) -> None:
    assert made.Box[int](3).content == 3
    assert made.Box.__parameters__ == (made.T,)


def test_it_may_have_any_number_of_fields(made: Any) -> None:
    assert made.Wide() == tuple(range(30))
    assert made.Wide(f29=0)[28:] == (28, 0)


def test_it_is_matched_copied_and_pickled(made: Any) -> None:
    point = made.Point(1, [2])
    match point:
        case made.Point(1, y=[two]):
            assert two == 2
        case _:
            raise AssertionError
    for other in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point, 5))):
        assert other == point
        assert type(other) is made.Point
    assert copy.deepcopy(point).y is not point.y


def test_a_subclass_adds_to_it(made: Any) -> None:
    class More(made.Point):  # type: ignore[misc]
        @property
        def sum(self) -> int:
            return int(super().sum + 10)

    assert More(1).sum == 13
    assert repr(More(1)) == "More(x=1, y=2, make='m')"


def test_the_types_of_its_fields_are_found_by_who_asks() -> None:
    hints = typing.get_type_hints(remoteobj.ExitReport)
    assert hints["exitcode"] == int | None
    assert list(hints) == list(remoteobj.ExitReport._fields)
