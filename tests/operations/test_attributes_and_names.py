"""Attributes over there, the names that a proxy keeps for itself, and how it prints."""

from typing import Any

import pytest

import remoteobj
from remoteobj import Proxy
from tests.operations.homes import WIRED, homes
from tests.operations.things import Base


def test_properties_are_read_and_set_over_there(thing: Any) -> None:
    assert thing.twice.__ == 2
    thing.twice = 20
    assert (thing.n.__, thing.twice.__) == (10, 20)
    with pytest.raises(AttributeError):
        del thing.twice


def test_class_attributes_are_read_and_shadowed_like_local_ones(thing: Any) -> None:
    assert thing.kind.__ == "thing"
    thing.kind = "other"
    assert thing.kind.__ == "other"
    del thing.kind
    assert thing.kind.__ == "thing"


def test_nested_objects_are_changed_in_their_place(thing: Any) -> None:
    thing.items["a"][1]["b"] = 5
    thing.items["a"].append(6)
    thing.child = Base()
    thing.child.name = "x"
    assert thing.items.__ == {"a": [1, {"b": 5}, 6]}
    assert thing.child.name.__ == "x"
    assert thing.child.who() == "base"
    del thing.child.name
    assert not thing.passto(lambda obj: hasattr(obj.child, "name"))


def test_attrs_reaches_every_name(thing: Any) -> None:
    assert thing.attrs_("items.copy")() == {"a": [1, {"b": 2}]}
    assert thing.attrs_("_private").__ == "p"
    assert thing.attrs_("__class__.__name__").__ == "Thing"
    assert thing.attrs_("n", "real.imag").__ == 0
    thing.passto(setattr, "get_", "theirs")
    thing.passto(setattr, "passto", "theirs")
    assert thing.attrs_("get_").__ == thing.attrs_("passto").__ == "theirs"


OWN = ["get_", "passto", "super", "listening_", "process_requests", "wait_until_listening", "poll"]


def test_own_names_are_neither_set_nor_deleted(thing: Any) -> None:
    for name in [*OWN, "__", "_private", "_steps", "__class__", "__dict__"]:
        with pytest.raises(AttributeError, match="proxy's own name"):
            setattr(thing, name, 1)
        with pytest.raises(AttributeError, match="proxy's own name"):
            delattr(thing, name)
    assert thing.n.__ == 1


def test_names_that_begin_with_an_underscore_are_never_remote(thing: Any) -> None:
    for name in ["_private", "_x", "__length_hint__", "__array_struct__", "__deepcopy__"]:
        with pytest.raises(AttributeError, match="never remote"):
            getattr(thing, name)
        assert not hasattr(thing.items, name)


DOCUMENTED = {"passto", "super", "process_requests", "wait_until_listening", "poll", "__"}


@pytest.mark.parametrize("cls", [Proxy, remoteobj.Handle])
def test_every_name_of_ours_ends_in_one_underscore(cls: type) -> None:
    ours = {name for name in dir(cls) if not name.startswith("_")} - DOCUMENTED
    assert ours
    assert {name for name in ours if not name.endswith("_") or name.endswith("__")} == set()


def test_dir_shows_names_that_work(thing: Any) -> None:
    assert {"get_", "passto", "items"} <= set(dir(thing))
    assert [name for name in dir(thing) if name.startswith("_")] == []


@homes(*WIRED)
def test_a_proxy_prints_as_the_chain_that_it_is(thing: Any) -> None:
    assert str(thing).endswith(" : (?)>")
    assert str(thing.items["a"][0]).endswith(" : (?.items['a'][0])>")
    assert repr(thing.give(1, k=2, _proxy=True)).endswith(" : (?.give(1, k=2))>")
    assert repr(thing.super.who).endswith(" : (super(?).who)>")
    assert all(str(part).startswith("<Remote ") for part in (thing, thing.n))


def test_the_real_str_is_a_call_away(thing: Any) -> None:
    assert "Thing object at" in thing.passto(str)


@pytest.mark.parametrize("paths", [(), ("",), ("a.",), ("a", "")])
def test_attrs_wants_whole_names(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="empty name"):
        Proxy({}).attrs_(*paths)
