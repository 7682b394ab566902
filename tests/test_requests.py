"""What a request carries beside its payload survives the way, or counts as not there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj._protocol.chains import CallChain, Link
from remoteobj._protocol.frames import MAX_METADATA
from remoteobj._protocol.identity import ActorId
from remoteobj._protocol.requests import Metadata, has_chain, pack_metadata, read_metadata

links_ = st.builds(Link, st.builds(ActorId, st.text(), st.text()), st.integers(0, 2**64))


def deep(count: int) -> CallChain:
    return tuple(Link(ActorId(f"/run/actor-{n}", f"Actor-{n}"), n) for n in range(count))


@given(st.lists(links_, max_size=5).map(tuple))
def test_a_chain_arrives_as_it_was_sent(chain: CallChain) -> None:
    assert read_metadata(pack_metadata(Metadata(chain))) == Metadata(chain)


@given(st.lists(links_, max_size=2).map(tuple), st.dictionaries(st.text(), st.text(), max_size=3))
def test_what_observers_send_along_arrives(chain: CallChain, carried: dict[str, str]) -> None:
    sent = Metadata(chain, tuple(carried.items()))
    packed = pack_metadata(sent)
    assert read_metadata(packed) == sent
    assert has_chain(packed) == bool(chain)


def test_what_observers_send_along_has_its_limit_and_leaves_the_chain() -> None:
    sent = Metadata(deep(2), (("baggage", "x" * MAX_METADATA),))
    assert read_metadata(pack_metadata(sent)) == Metadata(deep(2))


def test_where_nothing_is_to_be_said_nothing_is_sent() -> None:
    assert pack_metadata(Metadata()) == b""
    assert read_metadata(b"") == Metadata()


def test_fields_of_a_later_version_are_ignored() -> None:
    fields = {"deadline": 5.0, "chain": [("/a", "A", 7)], "trace": {"id": "x"}}
    assert read_metadata(json.dumps(fields).encode()) == Metadata((Link(ActorId("/a", "A"), 7),))


def test_fields_that_are_all_of_a_later_version_say_nothing() -> None:
    assert read_metadata(json.dumps({"deadline": 5.0}).encode()) == Metadata()


@pytest.mark.parametrize(
    "fields",
    [
        7,
        [],
        {"chain": None},
        {"carried": 7},
        {"carried": ["a"]},
        {"chain": 7},
        {"chain": [7]},
        {"chain": [("/a", "A")]},
        {"chain": [("/a", "A", "seven")]},
        {"chain": [("/a", "A", 7, 8)]},
    ],
    ids=repr,
)
def test_what_is_malformed_counts_as_not_there(fields: Any) -> None:
    assert read_metadata(json.dumps(fields).encode()) == Metadata()


@given(st.binary(max_size=60))
def test_garbage_counts_as_not_there(packed: bytes) -> None:
    assert isinstance(read_metadata(packed), Metadata)


@given(st.integers(0, 1_000_000), st.binary(max_size=3))
def test_a_packed_chain_that_was_changed_on_its_way_hurts_nobody(at: int, by: bytes) -> None:
    packed = pack_metadata(Metadata(deep(2)))
    at %= len(packed)
    assert isinstance(read_metadata(packed[:at] + by + packed[at + 1 :]), Metadata)


@pytest.mark.parametrize("count", [1000, 5000, 50_000])
def test_of_a_chain_that_is_too_long_the_innermost_calls_are_kept(count: int) -> None:
    chain = deep(count)
    packed = pack_metadata(Metadata(chain))
    assert len(packed) <= MAX_METADATA
    kept = read_metadata(packed).chain
    assert kept == chain[-len(kept) :]
    assert len(kept) > 500, "as many as there is room for, or half of them"


def test_a_link_that_is_too_long_by_itself_is_left_out() -> None:
    chain = (Link(ActorId("/a", "A" * MAX_METADATA), 1), *deep(1))
    assert read_metadata(pack_metadata(Metadata(chain))).chain == deep(1)
    assert pack_metadata(Metadata(chain[:1])) == b""
