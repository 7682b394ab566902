"""What a forked actor does with its owner's handles, calls and descriptors, of which it has copies.

Most of that it only leaves alone: to look at each would be to copy the memory that they are in.
"""

from __future__ import annotations

import gc
import os
import resource
import threading
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest

import remoteobj
from remoteobj import NotListeningError, remote
from tests.forks import code_of, in_child
from tests.internals import locks_of_future, wait_for_number_of_own
from tests.tools import until

SIBLINGS = 100
PAGES_PER_SIBLING = 1.0
"""Before each sibling was left alone, an actor copied five pages for it."""

inherited: list[Any] = []
"""What a forked actor finds of its owner's."""


@pytest.fixture(autouse=True)
def _nothing_is_inherited_by_others() -> Any:
    yield
    inherited.clear()


def drop_all() -> bool:
    """Drop the copies while their numbers are those of other files; whether these stay open."""
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    inherited.clear()
    gc.collect()
    for file in files:
        os.close(file)  # fails if it is closed
    return True


@remote
class Heir:
    """A forked actor."""

    def faults(self) -> int:
        """How many pages were touched since the fork, most of which were copied."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def add(self, n: int) -> int:
        return n + 1

    def ask_all(self) -> list[int]:
        return [handle.add(n) for n, handle in enumerate(inherited)]

    def ask_in_a_thread(self) -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(inherited[0].add(1)))
        thread.start()
        thread.join()
        return found[0]

    def are_alive(self) -> list[bool]:
        return [handle.alive_ for handle in inherited]

    def wait_for_inherited(self) -> str:
        try:
            return str(inherited[0].result())
        except NotListeningError as exc:
            return str(exc)

    def wait_by_own_number(self) -> bool:
        """Wait for another actor with a number that is meanwhile one's own."""
        return wait_for_number_of_own(remoteobj.current())

    def drop_all(self) -> bool:
        return drop_all()

    def fork_and_drop_all(self) -> bool:
        return code_of(in_child(drop_all)) == 0

    def have_heir(self) -> list[int]:
        """What an heir of its own has from those of both."""
        with Heir.options(start_method="fork").spawn() as own:
            inherited.append(own)
            own.add(1)
            with Heir.options(start_method="fork").spawn() as heir:
                found: list[int] = heir.ask_all()
            inherited.remove(own)
        return found

    def have_others(self, number: int) -> list[Any]:
        """Proxies of some that this one has started."""
        self.others = [FORK.spawn() for _ in range(number)]
        return self.others


FORK = Heir.options(start_method="fork")


def faults_of_another() -> int:
    """The fewest of some, since now and then a collection of garbage adds its own."""
    found: list[int] = []
    for _ in range(3):
        with FORK.spawn() as one:
            found.append(one.faults())
    return min(found)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="each end is closed by itself then")
def test_an_actor_copies_hardly_anything_for_each_sibling_that_it_has() -> None:
    few = faults_of_another()
    with ExitStack() as stack:
        siblings = [stack.enter_context(FORK.spawn()) for _ in range(SIBLINGS)]
        assert [one.add(1) for one in siblings] == [2] * SIBLINGS
        assert faults_of_another() - few < SIBLINGS * PAGES_PER_SIBLING


def test_an_actor_calls_its_siblings_by_its_owner_s_handles() -> None:
    with FORK.spawn() as one, FORK.spawn() as two:
        inherited.extend((one, two))
        with FORK.spawn() as heir:
            assert heir.ask_all() == heir.ask_all() == [1, 2]
            assert heir.ask_in_a_thread() == 2
            assert heir.are_alive() == [True, True]
            one.kill_()
            one.join_()
            assert until(lambda: heir.are_alive() == [False, True])
        assert two.add(1) == 2


def test_an_init_calls_a_sibling_by_its_owner_s_handle() -> None:
    @remote
    class Asks:
        def __init__(self, sibling: Any) -> None:
            self.found = sibling.add(5)

    with FORK.spawn() as sibling, Asks.options(start_method="fork").spawn(sibling) as asks:
        assert asks.found.__ == 6
        assert sibling.add(1) == 2


def test_a_future_of_the_owner_s_ends_in_an_actor() -> None:
    with FORK.spawn() as sibling:
        future: Future[int] = sibling.future_.add(1)
        inherited.append(future)
        with FORK.spawn() as heir:
            said = heir.wait_for_inherited()
        assert future.result() == 2
    assert said == "2" or "parent" in said


def test_an_actor_can_be_woken_after_a_wait_for_a_number_that_has_become_its_own() -> None:
    with FORK.options(stop_timeout=5).spawn() as heir:
        assert not heir.wait_by_own_number()
        assert heir.add(1) == 2
        assert heir.future_.add(1).result() == 2


def test_a_future_ends_in_an_actor_though_a_thread_of_the_owner_s_was_about_to_settle_it() -> None:
    with FORK.spawn() as sibling, ExitStack() as settling:
        future: Future[int] = sibling.future_.add(1)
        inherited.append(future)
        held, forked = threading.Event(), threading.Event()

        def settle() -> None:
            with locks_of_future(future):
                held.set()
                forked.wait(30)

        settler = threading.Thread(target=settle)
        settling.callback(settler.join)
        settling.callback(forked.set)
        settler.start()
        assert held.wait(10)
        with FORK.spawn() as heir:
            said = heir.with_(timeout=10, interrupt=True).wait_for_inherited()
        settling.close()
        assert future.result() == 2
    assert said == "2" or "parent" in said


def test_a_copy_that_an_actor_drops_closes_no_descriptor_of_another() -> None:
    with FORK.spawn() as starter:
        inherited.extend(starter.have_others(5))
        assert [one.add(1) for one in inherited] == [2] * 5, "each by a connection of its own"
        with FORK.spawn() as heir:
            assert heir.fork_and_drop_all()
            assert heir.drop_all()
            assert heir.add(1) == 2
        assert [one.add(1) for one in inherited] == [2] * 5


def test_an_actor_of_an_actor_calls_what_both_have_started() -> None:
    with FORK.spawn() as sibling:
        inherited.append(sibling)
        with FORK.spawn() as heir:
            assert heir.have_heir() == heir.have_heir() == [1, 2]
        assert sibling.add(1) == 2
