"""What an actor takes of the descriptors of its owner, and has of its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from remoteobj import remote, util
from tests.tools import Scripts, pidfd_open, until

PROGRAM = """
import contextlib, logging, multiprocessing, os, sys
from remoteobj import remote

def opened():
    found = set()
    for fd in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            found.add(fd)
    return found

@remote
class Counter:
    def count(self):
        return len(opened())

if __name__ == "__main__":
    counters = Counter.options(start_method=sys.argv[1])
    with counters.spawn():  # it brings the guardian and the directory, which are there once
        before = opened()
        with contextlib.ExitStack() as stack:
            actors = [stack.enter_context(counters.spawn()) for _ in range(3)]
            counts = [actor.count() for actor in actors]
            print(len(opened() - before) / 3, *counts)
        assert opened() == before
"""
MOST = {"fork": (5, 14), "spawn": (5, 17), "forkserver": (7, 19)}
"""In the owner, and of its own, its standard streams among them. The fork server tells the exit
code by a pipe, `multiprocessing` keeps another, and what it forks has what it has open itself;
spawn leaves a pipe open in the actor. On Python
before 3.13 a mapping keeps a descriptor, which a fork does without since it inherits the memory."""


@pytest.mark.skipif(pidfd_open is None, reason="processes have no descriptors here")
def test_an_actor_takes_few_descriptors_and_has_none_of_its_siblings(start_method: str) -> None:
    command = [sys.executable, "-c", PROGRAM, start_method]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    of_owner, *of_actors = map(float, said.stdout.split())
    assert of_owner == MOST[start_method][0]
    assert max(of_actors) <= MOST[start_method][1]
    assert min(of_actors) == max(of_actors)


siblings: list[Any] = []
"""What a forked actor has of its owner's."""


@remote
class Child:
    """Looks for those that it has not started itself."""

    def parent(self) -> tuple[int | None, bool]:
        found = multiprocessing.parent_process()
        assert found is not None
        return found.pid, found.is_alive()

    def sibling_lives(self) -> bool:
        return bool(siblings[0].alive_)

    def ask_sibling(self) -> object:
        return siblings[0].parent()


def test_an_actor_knows_the_process_of_its_owner_and_that_it_lives(start_method: str) -> None:
    with Child.options(start_method=start_method).spawn() as child:
        assert child.parent() == child.parent() == (os.getpid(), True)


def test_an_actor_that_waits_for_the_end_of_its_owner_is_told(
    start_method: str, script: Scripts, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    owner = script(
        """
        import multiprocessing, sys, threading, time
        from pathlib import Path
        from remoteobj import remote
        @remote
        class Child:
            def wait(self):
                def wait():
                    owner.join()
                    Path(sys.argv[2]).write_text(str(owner.is_alive()))
                owner = multiprocessing.parent_process()
                threading.Thread(target=wait, name="waits", daemon=True).start()
            @remote.cleanup
            def close(self):
                time.sleep(1)
        if __name__ == "__main__":
            child = Child.options(start_method=sys.argv[1]).spawn()
            child.attrs_("wait")()
            print("waits", flush=True)
            time.sleep(60)
        """,
        start_method,
        told,
    )
    assert owner.line() == "waits"
    owner.process.kill()
    assert until(lambda: told.exists() and told.read_text()) == "False"


def test_a_forked_actor_sees_the_end_of_a_sibling_that_was_there_before_it() -> None:
    with ExitStack() as stack:
        stack.callback(siblings.clear)
        siblings.append(stack.enter_context(Child.options(start_method="fork").spawn()))
        child: Any = stack.enter_context(Child.options(start_method="fork").spawn())
        assert child.sibling_lives()
        assert child.ask_sibling() == (os.getpid(), True), "by a connection of its own"
        siblings[0].kill_()
        siblings[0].join_()
        until(lambda: not child.sibling_lives())


def test_the_sentinel_of_a_process_tells_of_its_end_until_it_is_closed(start_method: str) -> None:
    go_on, told = multiprocessing.Pipe()
    with told, go_on:
        process = util.process(go_on.recv, start_method_=start_method).start()
        assert wait([process.sentinel], 0) == []
        told.send(None)
        assert wait([process.sentinel], 20) == [process.sentinel]
        process.join()
        os.fstat(process.sentinel)
        if start_method != "forkserver":  # there it told the exit code, and has been read
            assert wait([process.sentinel], 0) == [process.sentinel]
        process.close()
        with pytest.raises(ValueError, match="closed"):
            process.sentinel  # to ask is what fails


def test_many_actors_record_in_one_place_what_each_of_them_has_done() -> None:
    def fail(child: Any, text: str) -> None:
        raise ValueError(text)

    with ExitStack() as stack:
        children = [stack.enter_context(Child.options(start_method="fork").spawn()) for _ in "abc"]
        for child, text in zip(children, "abc", strict=True):
            child.cast_.passto(fail, text)
            child.parent()
        children[1].exc_.clear()
        found = [[str(error) for error in child.exc_.all()] for child in children]
        for child in children:
            child.exc_.clear()
    assert found == [["a"], [], ["c"]]
