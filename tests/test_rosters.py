"""The lists of actors as files: what is written there, and what is believed of it."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj._looking import state_of
from remoteobj._os import process_table, processes
from remoteobj._os.process_table import is_there, see
from remoteobj._protocol.config import RefOptions, WireOptions
from remoteobj._protocol.identity import ActorId
from remoteobj._wire import roster, rosters
from remoteobj._wire.auth import Key
from remoteobj._wire.roster import BLOCK, Entry
from remoteobj._wire.rosters import RosterReader, living
from remoteobj._wire.transport import Address
from tests.tools import until


def entry(name: str = "one", **changes: Any) -> Entry:
    made = Entry(
        ActorId.new(name),
        Address("unix", "/nowhere/x", Key.new()),
        RefOptions(),
        "module:Class",
        "process",
        "running",
        os.getpid(),
        "",
        time.monotonic(),
    )
    return made._replace(**changes)


def names() -> list[str]:
    return [one.entry.actor_id.name for one in RosterReader().read()]


@pytest.fixture
def path() -> Iterator[Path]:
    """The roster of this process, in which nothing is left."""
    roster.clear(roster.take(entry()))
    (path,) = map(Path, roster.roster_paths())
    yield path
    for one in places:
        roster.clear(one)
    places.clear()


places: list[roster.Place] = []


def put(one: Entry) -> roster.Place:
    places.append(roster.write(one, roster.take(one)))
    return places[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"public": True, "lasting": True, "engine": "thread", "state": "starting"},
        {"options": RefOptions(True, False, False, WireOptions(0.5, False), True)},
        {"options": RefOptions(True, True, True, WireOptions(0.0, True))},
        {"address": Address("tcp", "127.0.0.1:1", Key(b""))},
        {"recorder": (7, 1 << 40), "started": "Fri Nov  7 02:18:08 2026", "pid": 4194304},
        {"actor_id": ActorId("", "\0\n\N{SNAKE}"), "class_name": ""},
    ],
)
def test_an_entry_arrives_as_it_was(path: Path, changes: dict[str, Any]) -> None:
    made = entry(**changes)
    put(made)
    (found,) = RosterReader().read()
    assert found.entry == made
    assert found.owner_pid == os.getpid()
    assert found.owner_started == see([os.getpid()])[os.getpid()].started


def test_a_place_is_used_again_by_what_fits_there(path: Path) -> None:
    sizes = []
    for _ in range(2):
        for length in (1, 1, 300, 300, 5000, 1, 300):
            one = entry("x" * length)
            roster.clear(roster.write(one, roster.take(one)))
        sizes.append(path.stat().st_size)
    assert sizes[0] == sizes[1]
    assert names() == []


def test_one_that_outgrows_its_place_gets_another(path: Path) -> None:
    made = entry()
    place = roster.write(made, roster.take(made))
    put(entry("next"))
    longer = made._replace(class_name="c" * 2000)
    places.append(roster.write(longer, place))
    assert places[-1].block != place.block
    found = [one.entry for one in RosterReader().read()]
    assert [one for one in found if one.actor_id == made.actor_id] == [longer]
    assert sorted(names()) == ["next", "one"]


def test_what_finds_no_room_leaves_its_place_to_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.stat().st_size
    long = entry("x" * 9000)
    place = roster.take(long)
    with monkeypatch.context() as patch:
        for short in (lambda *_: 5, _full):
            patch.setattr(os, "pwrite", short)
            with pytest.raises(OSError, match=r"[Nn]o space"):
                roster.write(long, place)
        roster.clear(place)
    put(entry("y" * 9000))
    assert path.stat().st_size - before <= BLOCK * 40
    assert [name[:1] for name in names()] == ["y"]


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ------------------------------------------------------------------ looking again and again


def test_who_reads_again_decodes_only_what_has_changed(path: Path) -> None:
    reader = RosterReader()

    def read() -> dict[str, Entry]:
        return {one.entry.actor_id.name: one.entry for one in reader.read()}

    put(entry("idle"))
    busy = entry("busy", state="starting")
    place = put(busy)
    before = read()
    with path.open("r+b") as file:  # as the actor does when it is born
        file.seek(place.block * BLOCK)
        file.write(busy.pid.to_bytes(4, "little"))
    after = read()
    assert after["idle"] is before["idle"]
    assert (before["busy"].state, after["busy"].state) == ("starting", "running")
    roster.write(busy._replace(state="stopping"), place)
    assert read()["busy"].state == "stopping"


def test_who_reads_again_keeps_nothing_of_what_is_gone(path: Path) -> None:
    reader = RosterReader()
    put(entry("one"))
    whole = path.read_bytes()
    (before,) = reader.read()
    path.write_bytes(whole[:BLOCK])
    assert reader.read() == []
    path.write_bytes(whole)
    (after,) = reader.read()
    assert after == before
    assert after.entry is not before.entry


# ------------------------------------------------------------------ what is believed


def test_one_that_is_being_written_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(entry("before"))
    place = put(entry("torn"))
    put(entry("after"))
    at = place.block * BLOCK + 40
    whole = path.read_bytes()
    torn = whole[:at] + b"?" + whole[at + 1 :]
    at_first, read = [torn], rosters._contents
    monkeypatch.setattr(rosters, "_contents", lambda fd: at_first.pop() if at_first else read(fd))
    assert sorted(names()) == ["after", "before", "torn"]
    assert at_first == []


def test_what_is_broken_for_good_hides_nothing_else(path: Path) -> None:
    put(entry("before"))
    place = put(entry("torn"))
    put(entry("after"))
    with path.open("r+b") as file:
        file.seek(place.block * BLOCK + 40)
        file.write(b"?")
    assert sorted(names()) == ["after", "before"]


def _of_others(path: Path) -> None:
    path.chmod(0o640)


def _made_by_another(path: Path) -> None:
    os.chown(path, 54321, 54321)


def _in_a_directory_of_another(path: Path) -> None:
    os.chown(path.parent, 54321, 54321)


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _foreign(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\n" * 100)


def _of_a_later_version(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"actors 2", b"actors 3"))


def _cut_off(path: Path) -> None:
    os.truncate(path, BLOCK + 30)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _endless(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:BLOCK] + b"\xff" * BLOCK * 4)


def _of_zeros(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:BLOCK] + bytes(BLOCK * 4))


def _held_by_nobody(path: Path) -> None:
    """As of a process that was killed, or lived before the system was started anew."""
    fcntl.flock(locks.pop(), fcntl.LOCK_UN)


locks: list[int] = []
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.mark.parametrize(
    "spoil",
    [
        _of_others,
        pytest.param(_made_by_another, marks=needs_root),
        pytest.param(_in_a_directory_of_another, marks=needs_root),
        _linked,
        _pipe,
        _foreign,
        _of_a_later_version,
        _cut_off,
        _empty,
        _endless,
        _of_zeros,
        _held_by_nobody,
    ],
)
def test_what_is_no_list_of_this_user_is_not_believed(path: Path, spoil: Any) -> None:
    put(entry("mine"))
    other = path.parent.with_name("0123abcd")
    other.mkdir(0o700)
    directory = os.open(other, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_SH)
    copy = other / path.name
    try:
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
        assert names() == ["mine", "mine"]
        locks[:] = [directory]
        spoil(copy)
        assert names() == ["mine"]
    finally:
        os.close(directory)
        for one in other.iterdir():
            one.unlink()
        other.rmdir()


@pytest.mark.parametrize("how", ["linked", "open to others"])
def test_a_directory_that_is_not_a_process_s_own_is_not_looked_into(path: Path, how: str) -> None:
    put(entry("mine"))
    other = path.parent.with_name("0123abcd")
    if how == "linked":
        other.symlink_to(path.parent)
        assert names() == ["mine"]
        other.unlink()
    else:
        path.parent.chmod(0o750)
        assert names() == []
        path.parent.chmod(0o700)


# ------------------------------------------------------------------ who lives


def test_a_number_that_came_round_is_another_process() -> None:
    me = os.getpid()
    seen = see([me])
    assert is_there(me, seen[me].started, seen)
    assert not is_there(me, "1", seen)
    assert is_there(me, "", seen), "where the owner knew no more, the number has to do"


def test_where_the_system_tells_nothing_one_that_may_be_restarted_is_not_taken_to_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(entry(lasting=True, address=Address("unix", str(path), Key.new())))
    assert [state_of(one) for one in living()] == ["running"]
    monkeypatch.setattr(rosters, "see", lambda _: {})
    assert [state_of(one) for one in living()] == ["running"]


@pytest.mark.parametrize("where", ["here", "elsewhere", "nowhere"])
def test_the_system_tells_of_processes(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`elsewhere`: by `ps`, where there is no /proc; `nowhere`: not at all."""
    if where != "here":
        monkeypatch.setattr(process_table, "read_stat", lambda pid: None)
    if where == "nowhere":
        monkeypatch.setenv("PATH", "")
    me, parent, child = os.getpid(), os.getppid(), os.posix_spawn("/bin/true", ["true"], {})
    until(lambda: where == "nowhere" or see([child])[child].state == "dead")
    seen = see([me, parent, child, 4194304 + 1])
    try:
        if where == "nowhere":
            assert seen == {}
            assert is_there(me, "whenever", seen)
            return
        assert seen.keys() == {me, parent, child}
        assert seen[me].state == "alive"
        assert seen[me].cpu_seconds > 0
        assert seen[me].memory > 1 << 20
        if where == "elsewhere":
            looked = processes._look_by_ps(me)
            assert looked is not None
            assert seen[me].started == looked.started
        assert not is_there(child, seen[child].started, seen), "it is a zombie"
    finally:
        os.waitpid(child, 0)


def test_those_who_register_names_wait_for_each_other_and_not_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "CLAIM_SECONDS", 0.05)
    with roster.claiming():
        root = os.open(path.parent.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again
    with pytest.raises(TimeoutError, match="is one of them stopped"), roster.claiming():
        raise AssertionError
    os.close(root)
    with pytest.raises(KeyError), roster.claiming():
        raise KeyError
    with roster.claiming():
        pass
