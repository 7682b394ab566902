"""Who is let in while an actor is blocked, and how a ring is found: without a process."""

import contextlib
import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remoteobj import DeadlockError
from remoteobj._actor.reentrancy import Reentrancy
from remoteobj._actor.serving import Serving
from remoteobj._protocol.chains import (
    BlockedCall,
    CallChain,
    Hop,
    Link,
    Probe,
)
from remoteobj._protocol.identity import ActorId
from remoteobj._protocol.messages import Frame, Kind
from remoteobj._protocol.requests import Metadata, pack_metadata, read_metadata

ME, OTHER, THIRD = (ActorId(f"/{name}", name) for name in ("me", "other", "third"))


def request(number: int, *chain: Link, kind: int = Kind.CALL) -> Frame:
    return Frame(kind, number, b"", (), pack_metadata(Metadata(chain)))


def blocked_call(token: int) -> BlockedCall:
    return BlockedCall(token, lambda probe: None)


# ------------------------------------------------------------------ what calls say


def test_a_call_made_within_a_request_names_all_that_wait_for_it() -> None:
    rules = Reentrancy(ME)
    outer = request(1, Link(OTHER, 7), Link(THIRD, 8))
    assert rules.chain_of_call(outer, 9) == (Link(OTHER, 7), Link(THIRD, 8), Link(ME, 9))


@pytest.mark.parametrize(
    "outer", [None, request(1), request(1, Link(OTHER, 0), kind=Kind.CAST)], ids=repr
)
def test_a_call_made_for_nobody_who_waits_begins_a_chain(outer: Frame | None) -> None:
    assert Reentrancy(ME).chain_of_call(outer, 9) == (Link(ME, 9),)


def test_a_cast_names_its_sender_who_waits_for_nothing() -> None:
    assert Reentrancy(ME).chain_of_cast() == (Link(ME, 0),)


# ------------------------------------------------------------------ what is let in


def test_while_nothing_blocks_nothing_is_let_in() -> None:
    rules = Reentrancy(ME)
    queue = [request(1, Link(ME, 9), Link(OTHER, 3))]
    assert not rules.is_needed(queue[0])
    assert rules.needed_now(queue) == []


CHAINS: dict[str, tuple[CallChain, bool]] = {
    "of nobody": ((), False),
    "of another": ((Link(OTHER, 9),), False),
    "of another call of ours": ((Link(ME, 8), Link(OTHER, 9)), False),
    "of our cast": ((Link(ME, 0), Link(OTHER, 9)), False),
    "of the blocked call": ((Link(ME, 9), Link(OTHER, 3)), True),
    "of the blocked call, by many": ((Link(THIRD, 1), Link(ME, 9), Link(OTHER, 3)), True),
}


@pytest.mark.parametrize(("chain", "needed"), CHAINS.values(), ids=list(CHAINS))
def test_only_what_the_blocked_call_waits_for_is_needed(chain: CallChain, needed: bool) -> None:
    rules = Reentrancy(ME)
    with rules.blocked(blocked_call(9)):
        assert rules.is_needed(request(1, *chain)) is needed
        assert rules.needed_now([request(1, *chain)]) == [request(1, *chain)] * needed
    assert rules.needed_now([request(1, *chain)]) == []


def test_of_several_blocked_calls_the_innermost_counts() -> None:
    rules = Reentrancy(ME)
    outer, inner = request(1, Link(ME, 9), Link(OTHER, 3)), request(2, Link(ME, 10), Link(THIRD, 4))
    with rules.blocked(blocked_call(9)):
        with rules.blocked(blocked_call(10)):
            assert rules.needed_now([outer, inner]) == [inner]
        assert rules.needed_now([outer, inner]) == [outer]


def test_what_the_same_actor_has_sent_before_is_let_in_first() -> None:
    rules = Reentrancy(ME)
    cast = request(1, Link(OTHER, 0), kind=Kind.CAST)
    stray = request(2, Link(THIRD, 0), kind=Kind.CAST)
    needed = request(3, Link(ME, 9), Link(OTHER, 3))
    with rules.blocked(blocked_call(9)):
        assert rules.needed_now([stray, cast, needed]) == [cast, needed]
        assert rules.needed_now([stray, needed, cast]) == [needed]
        assert rules.needed_now([stray, cast]) == []


def test_one_that_is_not_reentrant_refuses_just_what_is_needed() -> None:
    rules = Reentrancy(ME, allowed=False)
    cast = request(1, Link(OTHER, 0), kind=Kind.CAST)
    needed = request(3, Link(ME, 9), Link(OTHER, 3))
    with rules.blocked(blocked_call(9)):
        assert rules.needed_now([cast, needed]) == [needed]
        error = rules.refusal(needed)
    assert isinstance(error, DeadlockError)
    assert "me → other → me; and me is not reentrant" in str(error)
    assert "in test_one_that_is_not_reentrant" in str(error), "and where it waits"


def test_queues_are_looked_through_once_for_each_blocked_call_and_after_an_inner_one() -> None:
    rules = Reentrancy(ME)
    with rules.blocked(blocked_call(9)):
        assert [rules.begin_to_look() for _ in range(3)] == [True, False, False]
        with rules.blocked(blocked_call(10)):
            assert [rules.begin_to_look() for _ in range(2)] == [True, False]
        assert [rules.begin_to_look() for _ in range(2)] == [True, False]
    with rules.blocked(blocked_call(11)):
        assert rules.begin_to_look()


senders_ = st.sampled_from(
    [(), (Link(OTHER, 1),), (Link(THIRD, 2),), (Link(ME, 9), Link(OTHER, 3))]
)


@given(st.lists(st.tuples(senders_, st.sampled_from([Kind.CALL, Kind.CAST])), max_size=8))
def test_what_is_let_in_keeps_the_order_of_each_sender(
    queued: list[tuple[CallChain, int]],
) -> None:
    rules = Reentrancy(ME)
    queue = [request(n, *chain, kind=kind) for n, (chain, kind) in enumerate(queued)]
    with rules.blocked(blocked_call(9)):
        let_in = rules.needed_now(queue)
        queue = [one for one in queue if one not in let_in]
        assert not any(map(rules.is_needed, queue)), "all that is needed was let in"
    assert let_in == sorted(let_in, key=lambda one: one.call_id)
    for one in let_in:
        sender = read_metadata(one.metadata).chain[-1:]
        assert sender[0].actor == OTHER, "the only one that sent something needed"
        assert not [
            left
            for left in queue
            if left.call_id < one.call_id
            and [link.actor for link in read_metadata(left.metadata).chain[-1:]] == [OTHER]
        ], "what it had sent before stays behind"


# ------------------------------------------------------------------ probes


def probe_of(*links: Link) -> Probe:
    return Probe(tuple(Hop(link, f"in the stack of {link.actor.name}") for link in links))


def test_a_probe_that_was_changed_on_its_way_is_dropped() -> None:
    rules, sent = Reentrancy(ME), list[Probe]()
    with rules.blocked(BlockedCall(9, sent.append)):
        packed = probe_of(Link(OTHER, 3)).pack()
        for payload in (b"", b"garbage", packed[:-2], probe_of().pack()):
            rules.take_probe(payload)
    assert sent == []


def test_a_probe_goes_no_further_than_to_one_that_is_not_blocked() -> None:
    Reentrancy(ME).take_probe(probe_of(Link(OTHER, 3)).pack())


def test_a_probe_is_passed_on_along_the_blocked_call_with_the_stack_of_the_one_who_waits() -> None:
    rules, sent = Reentrancy(ME), list[Probe]()
    with rules.blocked(BlockedCall(8, sent.append)), rules.blocked(BlockedCall(9, sent.append)):
        rules.take_probe(probe_of(Link(OTHER, 3)).pack())
    [probe] = sent
    assert [hop.link for hop in probe.hops] == [Link(OTHER, 3), Link(ME, 9)]
    assert "in test_a_probe_is_passed_on" in probe.hops[-1].stack


def test_a_probe_that_has_come_by_along_a_call_that_is_over_is_dropped() -> None:
    rules, sent = Reentrancy(ME), list[Probe]()
    call = BlockedCall(9, sent.append)
    with rules.blocked(call):
        rules.take_probe(probe_of(Link(OTHER, 3), Link(ME, 8), Link(THIRD, 1)).pack())
    assert (sent, call.deadlock) == ([], None)


def test_what_has_been_said_before_something_was_let_in_is_out_of_date() -> None:
    """Who waits for whom may have changed; whoever still waits asks again."""

    class Waiting:
        """A mailbox that lets in something during which a probe comes, and one more later."""

        def __init__(self) -> None:
            self.probes: list[Any] = []
            self.clients: Any = self
            self.safe_point = bool

        def run_needed(self) -> bool:
            self.probes.append("while it ran")
            return False

        def wait_for(self, *_: Any) -> tuple[bool, list[Any]]:
            return False, ["what came meanwhile"]

        read: Any = staticmethod(list)

        def take_in(self, found: Any) -> None:
            self.probes += found

        def pass_probes_on(self) -> None: ...
        def wake(self) -> None: ...

    mailbox, executor = Waiting(), Any
    Serving(mailbox, executor, Reentrancy(ME)).wait_serving({}, None)  # type: ignore[arg-type]
    assert mailbox.probes == ["what came meanwhile"]


class Net:
    """Actors that wait for each other, each for one other at most.

    Their probes go by a queue, or at once.
    """

    def __init__(self, waits: Mapping[int, int], at_once: bool = False) -> None:
        self.waits = waits
        self.at_once = at_once
        self.sent = 0
        self.underway: deque[tuple[int, bytes]] = deque()
        names = sorted({*waits, *waits.values()})
        self.rules = {n: Reentrancy(ActorId(f"/{n}", f"A{n}")) for n in names}
        self.calls = {n: BlockedCall(1, self._way_from(n)) for n in waits}

    def _way_from(self, n: int) -> Callable[[Probe], None]:
        def send(probe: Probe) -> None:
            self.sent += 1
            assert self.sent < 10_000, "a probe circulates for ever"
            packed = probe.pack()
            if self.at_once:
                self.rules[self.waits[n]].take_probe(packed)
            else:
                self.underway.append((self.waits[n], packed))

        return send

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for n, call in self.calls.items():
                stack.enter_context(self.rules[n].blocked(call))
            yield

    def probe(self, n: int) -> None:
        self.rules[n].send_own_probe(self.calls[n])

    def deliver(self, chance: random.Random, loss: float = 0.0) -> None:
        """All probes, in any order; those of one way keep none, which is harder than it is."""
        while self.underway:
            chance.shuffle(self.underway)
            receiver, packed = self.underway.pop()
            if chance.random() >= loss:
                self.rules[receiver].take_probe(packed)

    def ring_from(self, n: int) -> list[int]:
        """The ring that the waiting of one leads into, if it does."""
        way: list[int] = []
        while n not in way:
            if n not in self.waits:
                return []
            way.append(n)
            n = self.waits[n]
        return way[way.index(n) :]

    def rings(self) -> set[frozenset[int]]:
        return {frozenset(ring) for n in self.waits if (ring := self.ring_from(n))}

    @property
    def ended(self) -> set[int]:
        """Those whose calls are to end."""
        return {n for n, call in self.calls.items() if call.deadlock is not None}


def ring(size: int) -> dict[int, int]:
    return {n: (n + 1) % size for n in range(size)}


few = settings(max_examples=40)  # each takes stacks, which is slow
waits_ = st.dictionaries(st.integers(0, 9), st.integers(0, 11), max_size=10).map(
    lambda waits: {n: other for n, other in waits.items() if n != other}
)


@pytest.mark.parametrize("size", [2, 3, 5, 20])
@pytest.mark.parametrize("at_once", [True, False])
def test_one_probe_ends_one_call_of_a_ring_whichever_member_sends_it(
    size: int, at_once: bool
) -> None:
    ends = set()
    for n in range(size):
        net = Net(ring(size), at_once)
        with net.blocked():
            net.probe(n)
            net.deliver(random.Random(n))
        assert len(net.ended) == 1
        assert net.sent < 2 * size
        ends |= net.ended
    assert len(ends) == 1, "always the same one"


SEEDS = {2: 20, 3: 20, 5: 20, 20: 5}  # the largest takes longest, and has rarely anything new


@pytest.mark.parametrize(
    ("size", "seed"), [(size, seed) for size, count in SEEDS.items() for seed in range(count)]
)
def test_all_of_a_ring_that_probe_at_once_end_one_call(size: int, seed: int) -> None:
    net = Net(ring(size))
    with net.blocked():
        for n in net.waits:
            net.probe(n)
        net.deliver(random.Random(seed))
    assert len(net.ended) == 1


def test_the_error_names_the_ring_from_the_call_that_ends_on_with_the_stacks_of_all() -> None:
    net = Net({7: 0, **ring(3)})
    with net.blocked():
        net.probe(7)
        net.deliver(random.Random(1))
    [(n, call)] = [(n, call) for n, call in net.calls.items() if call.deadlock]
    names = [f"A{(n + i) % 3}" for i in range(4)]
    assert f"wait for each other: {' → '.join(names)}." in str(call.deadlock)
    assert re.findall(r"^(A\d) waits here:\n  File", str(call.deadlock), re.MULTILINE) == names[:3]
    assert "A7" not in str(call.deadlock), "it led into the ring, and is none of it"


def test_a_tail_that_leads_into_a_ring_circulates_nothing() -> None:
    net = Net({n: n + 1 for n in range(5, 10)} | {10: 0} | ring(3))
    with net.blocked():
        net.probe(5)
        net.deliver(random.Random(1))
    assert net.sent < 6 + 2 * 3
    assert len(net.ended) == 1
    assert net.ended < {0, 1, 2}


def test_a_chain_that_ends_at_one_who_works_is_left_alone() -> None:
    net = Net({n: n + 1 for n in range(5)})
    with net.blocked():
        for n in net.waits:
            net.probe(n)
        net.deliver(random.Random(1))
    assert (net.ended, net.sent) == (set(), 5 + 4 + 3 + 2 + 1)


@given(waits_, st.booleans())
@few
def test_a_probe_finds_a_ring_exactly_if_its_call_leads_into_one(
    waits: dict[int, int], at_once: bool
) -> None:
    for n in waits:
        net = Net(waits, at_once)
        with net.blocked():
            net.probe(n)
            net.deliver(random.Random(n))
        assert len(net.ended) == bool(net.ring_from(n))
        assert net.ended <= set(net.ring_from(n))
        assert net.sent <= 2 * len(waits)


@given(waits_, st.integers(0, 2**32))
@few
def test_of_any_net_in_which_all_probe_at_once_each_ring_costs_one_call(
    waits: dict[int, int], seed: int
) -> None:
    chance = random.Random(seed)
    net = Net(waits)
    with net.blocked():
        for n in waits:
            net.probe(n)
        net.deliver(chance)
    assert len(net.ended) == len(net.rings())
    assert all(len(net.ended & one) == 1 for one in net.rings())


@given(waits_, st.integers(0, 2**32))
@few
def test_lost_probes_cost_time_and_no_second_call(waits: dict[int, int], seed: int) -> None:
    chance = random.Random(seed)
    net = Net(waits)
    with net.blocked():
        for _ in range(3):
            for n in waits:
                net.probe(n)
            net.deliver(chance, loss=0.5)
            assert all(len(net.ended & one) <= 1 for one in net.rings())
        for n in waits:
            net.probe(n)
        net.deliver(chance)
    assert all(len(net.ended & one) == 1 for one in net.rings())


@given(st.integers(3, 6), st.integers(0, 2**32))
@few
def test_what_waited_long_before_the_ring_closed_does_not_keep_it_from_ending(
    size: int, seed: int
) -> None:
    """Their probes came by while there was no ring, and the next of one of them is far off."""
    chance = random.Random(seed)
    net = Net(ring(size))
    last, sleeper = chance.sample(range(size), 2)
    with contextlib.ExitStack() as stack:
        for n in net.waits:
            if n != last:
                stack.enter_context(net.rules[n].blocked(net.calls[n]))
        for n in net.waits:
            if n != last:
                net.probe(n)
        net.deliver(chance)
        assert net.ended == set()
        stack.enter_context(net.rules[last].blocked(net.calls[last]))
        for n in net.waits:
            if n != sleeper:
                net.probe(n)
        net.deliver(chance)
        assert len(net.ended) == 1
