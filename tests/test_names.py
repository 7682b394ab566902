"""Public names: who gets one, who finds it, and that nothing stays registered after a death."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import (
    ActorDiedError,
    ActorInfo,
    NameTakenError,
    NotListeningError,
    actors,
    connect,
)
from remoteobj.testing import Gate
from tests.conftest import NO_FORKS
from tests.forks import code_of, in_child
from tests.internals import Observer, Watch, address_of, no_room_for_rosters, roster_path
from tests.tools import Scripts, until, until_gone

OTHER = 54321
"""The number of a user that nobody is."""
options: Any = remoteobj.options
spawn: Any = remoteobj.spawn
in_thread: Any = options(engine="thread")
WITHIN = 1.0
"""Seconds in which the system ends a process that was killed."""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act for another user")


class Counter:
    """What the actors here are."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.value = 0
        if gate is not None:
            gate.park()

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def ask(self, name: str) -> Any:
        """What a call gives of the actor that has this name, asked from the process of this one."""
        return connect(name).add(10)

    def own(self, name: str) -> int:
        """Own a public actor; its process."""
        self.child = options(name=name, public=True).spawn(Counter)
        return int(self.child.pid_)


def listed(name: str) -> list[ActorInfo]:
    return [one for one in actors() if one.name == name]


# ------------------------------------------------------------------ who finds it


@pytest.mark.engines(skip={"inline": "lives in its owner's thread", **NO_FORKS})
def test_any_process_gets_a_proxy_by_the_name(launch: dict[str, Any]) -> None:
    with (
        options(name="front", public=True, **launch).spawn(Counter) as front,
        spawn(Counter) as asker,
    ):
        assert asker.ask("front") == 10
        proxy = connect("front")
        assert proxy == front
        assert proxy.value.__ == 10
        assert not hasattr(proxy, "stop_"), "it does not own the actor"
    with pytest.raises(NotListeningError):
        connect("front")


def test_a_proxy_has_the_options_of_its_actor() -> None:
    with options(name="eager", public=True, engine="thread", eager_proxy=True).spawn(Counter):
        assert connect("eager").add().get_() == 1
        assert repr(connect("eager").add) == "<Remote eager : (?.add)>"


def test_a_program_of_its_own_finds_it(script: Scripts) -> None:
    source = """
    import remoteobj
    print(remoteobj.connect("shared").add(5), [one.name for one in remoteobj.actors()])
    """
    with options(name="shared", public=True).spawn(Counter) as shared:
        runtime = os.environ["XDG_RUNTIME_DIR"]
        assert script(source, XDG_RUNTIME_DIR=runtime).finish() == (0, "5 ['shared']\n", "")
        assert shared.value.__ == 5


def test_a_name_that_nobody_has_is_an_error_with_those_that_are_similar() -> None:
    with pytest.raises(NotListeningError, match="no actor has the public name 'front'; nobody has"):
        connect("front")
    with ExitStack() as stack:
        for name in ("front", "back"):
            stack.enter_context(in_thread.options(name=name, public=True).spawn(Counter))
        stack.enter_context(in_thread.options(name="fron").spawn(Counter))
        with pytest.raises(NotListeningError, match=r"'fron'; did you mean 'front'\?$"):
            connect("fron")
        with pytest.raises(NotListeningError, match=r"'xyz'; there are 'back', 'front'$"):
            connect("xyz")


def test_one_that_is_just_being_started_is_found(gate: Gate) -> None:
    slow = options(name="slow", public=True, wait=False).spawn(Counter, gate)
    with spawn(Counter) as asker:
        answer = asker.future_.ask("slow")
        assert [one.state for one in listed("slow")] == ["starting"]
        gate.open()
        assert answer.result(20) == 10
    slow.stop_()


# ------------------------------------------------------------------ which names there are

NAMES = [
    "a/b/../c",
    "..",
    "/",
    ".hidden",
    " with  spaces ",
    "actors",
    "名前",
    "\N{SNAKE}\N{VARIATION SELECTOR-16}",
    "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}",
    "%s {} $HOME `x` 'q' \"",
    "x" * 4096,
    "\N{SNAKE}" * 4096,
]


def test_a_name_is_any_text_that_can_be_printed() -> None:
    with ExitStack() as stack:
        made = {
            name: stack.enter_context(in_thread.options(name=name, public=True).spawn(Counter))
            for name in NAMES
        }
        assert {one.name for one in actors()} == set(NAMES)
        for name, handle in made.items():
            assert connect(name) == handle
            with pytest.raises(NameTakenError):
                in_thread.options(name=name, public=True).spawn(Counter)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": None}, "takes a name"),
        ({"name": ""}, "takes a name"),
        ({"name": "a\n"}, "can be printed: 'a\\\\n'"),
        ({"name": "a\0b"}, "can be printed"),
        ({"name": "\x1b[2J"}, "can be printed"),
        ({"name": "\N{RIGHT-TO-LEFT OVERRIDE}abc"}, "can be printed"),
        ({"name": "\ud83d"}, "can be printed"),
        ({"name": "x" * 65536}, "at most 65535 bytes"),
        ({"name": "a", "picklable": False}, "picklable=False forbids just that"),
        ({"name": "a", "engine": "inline"}, "an inline actor can't be public"),
        ({"name": "a", "public": "yes"}, "public= takes True or False: 'yes'"),
    ],
)
def test_what_can_t_be_public_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        options(public=True).options(**changes).spawn(Counter)
    assert actors() == []


@pytest.mark.parametrize("name", [7, b"seven", 7.0, ("seven",), True])
def test_a_name_that_is_no_text_is_refused_where_it_is_written(name: Any) -> None:
    said = re.escape(f"name= takes a text, or None: {name!r}")
    for refuse in (
        lambda: options(name=name),
        lambda: options().options(name=name).spawn(Counter),
        lambda: remoteobj.remote(name=name)(Counter),
        lambda: remoteobj.Supervisor().options(name=name),
    ):
        with pytest.raises(TypeError, match=said):
            refuse()
    with pytest.raises(TypeError, match=re.escape(f"the name of an actor is a text: {name!r}")):
        connect(name)


# ------------------------------------------------------------------ who gets it


def never(*_: object) -> None:
    pytest.fail("a process was started")


def test_a_name_that_is_taken_is_an_error_that_says_by_whom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before any process is started."""
    with options(name="front", public=True).spawn(Counter) as front:
        said = f"'front' is taken by Counter in process {front.pid_}, .* {os.getpid()} .this one."
        with monkeypatch.context() as patch, pytest.raises(NameTakenError, match=said):
            patch.setattr(os, "fork", never)
            options(name="front", public=True, start_method="fork").spawn(Counter)
        with spawn(Counter) as other, pytest.raises(NameTakenError, match=str(front.pid_)):
            other.own("front")
        with in_thread.options(name="front").spawn(Counter):  # the names of others may be alike
            assert len(listed("front")) == 2
            assert connect("front") == front
    with options(name="front", public=True).spawn(Counter) as front:
        assert connect("front") == front


class Meetings:
    """Of processes that wait for each other, again and again, and of one who lets them go on."""

    def __init__(self) -> None:
        self._said = os.pipe()
        self._doors = os.pipe(), os.pipe()
        """Used by turns: who is fast is at the next meeting, and takes nobody's place at this."""

    def come(self, number: int, word: int) -> None:
        """Say something at the meeting of this number, and wait until all may go on."""
        os.write(self._said[1], bytes([word]))
        os.read(self._doors[number % 2][0], 1)

    def gather(self, count: int) -> list[int]:
        """Wait until so many have come; what they say."""
        words = b""
        while len(words) < count:
            words += os.read(self._said[0], count - len(words))
        return list(words)

    def go_on(self, number: int, count: int) -> None:
        os.write(self._doors[number % 2][1], bytes(count))

    def close(self) -> None:
        for fd in itertools.chain(self._said, *self._doors):
            os.close(fd)


GOT_IT = 0x80
"""Beside the number of a process: it is the one that has got the name."""


def test_sixteen_processes_register_and_look_up_at_once() -> None:
    """Each wants the same name and one of its own. One gets it, and all find all of them. That one
    is killed, and the others try again."""
    meetings, rounds = Meetings(), (16, 15)

    def register(number: int) -> bool:
        with in_thread.options(name=f"own-{number}", public=True).spawn(Counter):
            meetings.come(0, number)
            got: list[Any] = []
            for turn, live in enumerate(rounds):
                with contextlib.suppress(NameTakenError):
                    got.append(in_thread.options(name="common", public=True).spawn(Counter))
                meetings.come(2 * turn + 1, number | GOT_IT * len(got))
                own = [one.name for one in actors() if one.name != "common"]
                found = [connect(name).add(0) for name in (own if turn == 0 else own[:1])]
                total = connect("common").add()
                right = len(own) == live and not any(found) and 1 <= total <= live
                meetings.come(2 * turn + 2, right)
            return not got

    children = [in_child(partial(register, number)) for number in range(16)]
    meetings.gather(16)
    meetings.go_on(0, 16)
    for turn, live in enumerate(rounds):
        (winner,) = [word for word in meetings.gather(live) if word & GOT_IT]
        meetings.go_on(2 * turn + 1, live)
        assert meetings.gather(live) == [True] * live
        killed = children[winner - GOT_IT]
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)  # so that it takes no place at the door
        children[winner - GOT_IT] = 0
        meetings.go_on(2 * turn + 2, live - 1)
    assert [code_of(child) for child in children if child] == [0] * (rounds[-1] - 1)
    meetings.close()


# ------------------------------------------------------------------ what remains of the dead


def test_the_name_of_one_that_was_killed_is_free_at_once() -> None:
    """Nobody has noticed its death: its owner still has the handle, and has not reaped it."""
    before: list[Any] = []
    for number in range(5):
        before.append(options(name="mortal", public=True).spawn(Counter))
        assert connect("mortal").add(number) == number
        os.kill(before[-1].pid_, signal.SIGKILL)
        assert until(lambda: not listed("mortal"), WITHIN)
    with options(name="mortal", public=True).spawn(Counter) as last:
        assert connect("mortal") == last
    assert [handle.exitcode_ for handle in before] == [-9] * 5


OWNER = """
    import signal, sys
    from remoteobj import options
    from tests.internals import guardian_pid
    class Counter:
        pass
    with options(name="owned", public=True, start_method=sys.argv[1]).spawn(Counter) as counter:
        print(counter.pid_, guardian_pid(), flush=True)
        signal.pause()
"""


@pytest.mark.parametrize("who", ["owner", "both"])
def test_nothing_stays_registered_when_its_owner_is_killed(script: Scripts, who: str) -> None:
    owner = script(OWNER, "fork", XDG_RUNTIME_DIR=os.environ["XDG_RUNTIME_DIR"])
    pid, guardian = map(int, owner.line().split())
    assert [one[2:4] for one in actors()] == [(pid, owner.process.pid)]
    said = f"process {pid}, owned by process {owner.process.pid}"
    with pytest.raises(NameTakenError, match=said):
        in_thread.options(name="owned", public=True).spawn(Counter)
    os.kill(owner.process.pid, signal.SIGKILL)
    if who == "both":
        os.kill(pid, signal.SIGKILL)
    owner.process.wait()
    with in_thread.options(name="owned", public=True).spawn(Counter) as mine:  # at once
        assert connect("owned") == mine
        assert until(lambda: len(actors()) == 1)
    assert until_gone(guardian, 10)


def test_one_that_could_not_be_started_leaves_nothing() -> None:
    def fail() -> None:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            options(name="unborn", public=True).spawn(fail)
    with pytest.raises(ValueError, match="start_method 'none' is none of"):
        options(name="unborn", public=True, start_method="none").spawn(Counter)
    assert actors() == []


def test_a_fork_of_the_owner_takes_nothing_along() -> None:
    with in_thread.options(name="of-parent", public=True).spawn(Counter) as parent:

        def live() -> bool:
            remaining = connect("of-parent").add()
            with in_thread.options(name="of-child", public=True).spawn(Counter) as child:
                mine = connect("of-child") == child
            parent.stop_()  # it is not the child's, which is not harmed by that
            return remaining == 1 and mine and [one.name for one in actors()] == ["of-parent"]

        assert code_of(in_child(live)) == 0
        assert [one.name for one in actors()] == ["of-parent"]
        assert connect("of-parent").value.__ == 1


def test_an_actor_owns_public_actors(start_method: str) -> None:
    with options(start_method=start_method).spawn(Counter) as owner:
        pid = owner.own("grandchild")
        (info,) = listed("grandchild")
        assert (info.pid, info.owner_pid) == (pid, owner.pid_)
        assert connect("grandchild").add() == 1
        owner.kill_()
        assert until(lambda: not listed("grandchild"))


def test_where_there_is_no_room_only_what_is_public_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with spawn(Counter):
        with no_room_for_rosters(monkeypatch):
            with options(name="unlisted").spawn(Counter) as unlisted:
                assert unlisted.add() == 1
                assert listed("unlisted") == []
            with pytest.raises(OSError, match="No space left"):
                options(name="listed", public=True).spawn(Counter)
        with options(name="listed", public=True).spawn(Counter) as made:
            assert connect("listed") == made


# ------------------------------------------------------------------ those that are restarted


@pytest.mark.engines(only=["fork", "spawn", "forkserver"], reason="others have no process")
def test_one_that_is_restarted_keeps_its_name(launch: dict[str, Any]) -> None:
    lasting = options(name="lasting", public=True, restart="on-failure", backoff=0.0, **launch)
    with lasting.spawn(Counter) as counter:
        proxy = connect("lasting")
        pid = counter.pid_
        assert proxy.add(3) == 3
        (before,) = actors()
        os.kill(pid, signal.SIGKILL)
        until(lambda: counter.restarts_)
        assert proxy.add() == 1, "what was connected goes on"
        assert connect("lasting").add() == 2
        (after,) = actors()
        assert (before.pid, after.pid) == (pid, counter.pid_)
        assert (after.id, after.name, after.state) == (before.id, "lasting", "running")
        with Observer(after) as observer:
            assert observer.status().done == 2


def test_a_name_is_kept_between_two_incarnations_and_free_after_the_last_one() -> None:
    """The first failure is followed by a pause that the test does not wait for, so that there is no
    process; the second one, of another actor, is one too many."""
    slow = options(name="slow", public=True, restart="on-failure", backoff=5.0)
    with slow.spawn(Counter) as counter:
        os.kill(counter.pid_, signal.SIGKILL)
        until(lambda: [one.state for one in actors()] == ["restarting"])
        with pytest.raises(NameTakenError, match="'slow' is taken by Counter"):
            slow.spawn(Counter)
        proxy = connect("slow")
        assert repr(proxy) == "<Remote slow : (?)>"
        (info,) = actors()
        with Observer(info) as observer, Watch() as watch:
            with pytest.raises(NotListeningError, match="has no process at this moment"):
                observer.status(0.1)
            assert watch.look()[0].state == "restarting"
        counter.stop_()
    assert actors() == []
    mortal = options(name="done", public=True, restart="on-failure", max_restarts=0)
    with pytest.raises(ActorDiedError, match="It stays dead"), mortal.spawn(Counter) as one:
        os.kill(one.pid_, signal.SIGKILL)
        assert until(lambda: not actors())
        options(name="done", public=True).spawn(Counter).stop_()


# ------------------------------------------------------------------ the list


def test_the_list_says_who_they_are() -> None:
    assert actors() == []
    with (
        options(name="first", public=True).spawn(Counter) as first,
        in_thread.options(name="second").spawn(dict) as _,
        spawn(lambda: Counter()) as third,
        options(engine="inline").spawn(Counter),
    ):
        found = actors()
        ages = [one.age for one in found]
        assert ages == sorted(ages, reverse=True)
        assert 0 < ages[-1] <= ages[0] < 60
        me = os.getpid()
        rows = [(one[0], *one[2:5], *one[6:8]) for one in found]
        assert rows == [
            ("first", first.pid_, me, "running", True, "process"),
            ("second", me, me, "running", False, "thread"),
            (third.name_, third.pid_, me, "running", False, "process"),
        ]
        classes = [one.class_name for one in found]
        assert classes == ["Counter", "dict", "Counter"]
        assert len({one.id for one in found}) == 3
    assert actors() == []


def test_the_list_tells_a_start_a_suspension_and_a_stop(gate: Gate) -> None:
    counter = options(name="counter", wait=False).spawn(Counter, gate)

    def state() -> str:
        (info,) = actors()
        return info.state

    assert state() == "starting"
    gate.open()
    counter.ready_()
    assert state() == "running"
    os.kill(counter.pid_, signal.SIGSTOP)
    assert until(lambda: state() == "suspended")
    os.kill(counter.pid_, signal.SIGCONT)
    assert until(lambda: state() == "running")
    counter.stop_()
    assert actors() == []


def test_a_thread_that_has_ended_is_not_listed_although_its_process_lives() -> None:
    class Short:
        @remoteobj.remote.work
        def loop(self) -> None:
            raise LookupError

    with pytest.raises(LookupError):
        with in_thread.options(name="short", public=True).spawn(Short) as short:
            assert until(lambda: not short.alive_)
            assert actors() == []
            in_thread.options(name="short", public=True).spawn(Counter).stop_()


def test_the_list_does_not_grow_with_those_that_have_ended() -> None:
    sizes = []
    for _ in range(3):
        with in_thread.options(name="one").spawn(Counter), in_thread.spawn(Counter):
            sizes.append(roster_path().stat().st_size)
    assert len(set(sizes)) == 1


# ------------------------------------------------------------------ who can read it


def test_what_tells_of_actors_is_this_user_s_alone() -> None:
    before = os.umask(0)
    try:
        with in_thread.spawn(Counter) as counter:
            path = roster_path()
            assert path.parent == Path(address_of(counter).location).parent
            assert path.stat().st_mode & 0o777 == 0o600
            for above in (path.parent, path.parent.parent):
                assert above.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


@needs_root
def test_another_user_of_the_same_directory_gets_nothing(
    script: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is open to all, so that nothing keeps the other user out but what is made in it."""
    shared = Path(os.environ["TMPDIR"]) / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for above in (shared.parent, shared.parent.parent):
        above.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", str(shared))  # for a system without `memfd_create`
    owner = script(OWNER, "fork", XDG_RUNTIME_DIR=str(shared))
    guardian = int(owner.line().split()[1])
    assert [one.name for one in actors()] == ["owned"]
    with pytest.raises(NotListeningError, match="'nobody-s'"):  # and imports what that needs
        connect("nobody-s")
    (roster,) = shared.rglob("actors")

    def look() -> bool:
        os.setgroups([])
        os.setgid(OTHER)
        os.setuid(OTHER)
        for path in (roster, roster.parent, roster.parent.parent):
            assert not os.access(path, os.R_OK)
            assert not os.access(path, os.X_OK)
        assert actors() == []
        with pytest.raises(NotListeningError, match="nobody has one"):
            connect("owned")
        with in_thread.options(name="owned", public=True).spawn(Counter) as mine:
            return bool(connect("owned") == mine)  # whose names are their own

    try:
        assert code_of(in_child(look)) == 0
    finally:
        os.kill(owner.process.pid, signal.SIGKILL)
        owner.process.wait()
        assert until_gone(guardian, 10)
        shutil.rmtree(shared)
        for above in (shared.parent, shared.parent.parent):
            above.chmod(0o700)
