"""What is replaced whole: whenever its writer is killed, there is the one before or the new one."""

import contextlib
import os
import resource
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from remoteobj._os import atomic_file, records
from remoteobj._os.atomic_file import AtomicFile
from remoteobj._os.atomic_memory import AtomicMemory
from remoteobj._os.fork_safety import keep_in_child
from tests.hostile import open_descriptors

Store: TypeAlias = AtomicMemory | AtomicFile
SMALL: list[records.Part] = [b"small", b"", bytearray(b"parts")]
LARGE: list[records.Part] = [b"l" * 100_000, memoryview(b"large" * 1000)]


@pytest.fixture(params=["memory", "memory without memfd_create", "file"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    made: Store
    if request.param == "file":
        made = AtomicFile(str(tmp_path / "state"))
    else:
        if "without" in request.param:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        made = AtomicMemory()
    made.open()
    yield made
    made.leave()
    made.close()


def held(store: Store) -> list[bytes] | None:
    parts = store.read()
    return None if parts is None else list(map(bytes, parts))


def plain(parts: list[Any]) -> list[bytes]:
    return list(map(bytes, parts))


def test_what_was_written_last_is_read(store: Store) -> None:
    assert held(store) is None
    for parts in (SMALL, [b""], [], LARGE, SMALL, LARGE, LARGE, [b"x" * 4000], [b"y" * 1990]):
        store.write(parts)
        assert held(store) == plain(parts)
        assert held(store) == plain(parts)


def test_many_sizes_one_after_the_other_are_each_read_back(store: Store) -> None:
    sizes = [3**n % 70_001 for n in range(40)]
    for number, size in enumerate(sizes):
        parts = [bytes([number]) * size, bytes([number])]
        store.write(parts)
        assert held(store) == parts


def test_a_part_that_is_read_is_memory_of_its_own(store: Store) -> None:
    store.write(LARGE)
    parts = store.read()
    assert parts is not None
    parts[0][:5] = b"other"
    assert held(store) == plain(LARGE)


def test_what_was_large_once_is_given_back() -> None:
    memory = AtomicMemory()
    memory.open()
    for size in (3_000_000, 3_000_000, 4_000_000):
        memory.write([bytes(size)])
    assert os.fstat(memory._fd).st_size < 12_000_000
    memory.write(SMALL)
    assert os.fstat(memory._fd).st_size <= 4096
    assert held(memory) == plain(SMALL)
    memory.close()


# ------------------------------------------------------------------ faults


def dies_at(write: int, of_it: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is killed in its nth write to a file, with so much of it done."""
    count = 0
    pwrite = os.pwrite

    def torn(fd: int, data: Any, offset: int) -> int:
        nonlocal count
        count += 1
        if count == write:
            pwrite(fd, memoryview(data)[: int(len(data) * of_it)], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", torn)


def killed_in(act: Callable[[], object], *stores: Store) -> bool:
    """Do it in a fork, which keeps the store; whether that was killed."""
    with keep_in_child(*stores):
        pid = os.fork()
    if not pid:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("before", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("after", [[b"n" * 90_000, b"ew"], [b"n" * 300_000]], ids=["fits", "grows"])
def test_a_writer_that_is_killed_at_any_write_leaves_the_one_before_or_the_new_one(
    store: Store, before: list[Any], after: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(before)
    writes = 0
    while True:
        writes += 1
        with monkeypatch.context() as patch:
            dies_at(writes, 0.5, patch)
            killed = killed_in(lambda: store.write(after), store)
        assert held(store) == plain(before if killed else after)
        store.leave()
        store.open()  # as the next process does
        if not killed:
            break
    assert writes >= 3
    store.write(SMALL)  # what was left of the torn ones is in nobody's way
    assert held(store) == plain(SMALL)


@pytest.mark.parametrize("small", [True, False])
def test_a_writer_that_is_killed_before_the_last_step_leaves_the_one_before(small: bool) -> None:
    """In memory that step is to write one number of the header."""
    memory = AtomicMemory()
    memory.open()
    memory.write(SMALL)
    new = [b"new"] if small else LARGE
    numbers = memory._numbers

    class Killing:
        """The header, until that number is written."""

        def __getitem__(self, key: Any) -> Any:
            return numbers[key]

        def __setitem__(self, key: Any, value: int) -> None:
            if key == 0:
                raise InterruptedError
            numbers[key] = value

    memory._numbers = Killing()  # type: ignore[assignment]
    with pytest.raises(InterruptedError):
        memory.write(new)
    memory._numbers = numbers
    assert held(memory) == plain(SMALL)
    memory.write(new)
    assert held(memory) == plain(new)
    memory.close()


def test_an_exception_in_the_midst_of_a_write_leaves_the_one_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(LARGE)
    pwrite = os.pwrite

    def interrupted(fd: int, data: Any, offset: int) -> int:
        pwrite(fd, data[: len(data) // 2], offset)
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.write([b"new" * 50_000])
        assert held(store) == plain(LARGE)


def test_where_the_system_takes_a_part_at_a_time_all_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7000], at))
    store.write(LARGE)
    assert held(store) == plain(LARGE)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: 0)
    with pytest.raises(OSError, match="No space left"):
        store.write(LARGE * 2)
    assert held(store) == plain(LARGE)


def test_without_room_the_one_before_stays(store: Store) -> None:
    store.write(SMALL)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.write(LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert held(store) == plain(SMALL)


def test_a_record_that_is_cut_off_anywhere_is_none(tmp_path: Path) -> None:
    pieces, size = records.record_of(SMALL)
    whole = b"".join(map(bytes, pieces))
    path = tmp_path / "record"
    for length in range(size):
        path.write_bytes(whole[:length])
        with path.open("rb") as file:
            for claimed in {length, size}:
                with pytest.raises(records.TornRecordError):
                    records.read_record(file.fileno(), 0, claimed)


# ------------------------------------------------------------------ memory


def test_memory_is_one_descriptor_of_its_owner_and_a_fork_has_none() -> None:
    before = open_descriptors()
    memory = AtomicMemory()
    assert open_descriptors() == before + 1
    pid = os.fork()
    if not pid:
        os._exit(os.path.exists(f"/dev/fd/{memory._fd}"))
    assert memory._fd >= 0
    assert os.waitpid(pid, 0)[1] == 0
    memory.close()
    memory.close()
    assert open_descriptors() == before


# ------------------------------------------------------------------ files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def written(path: Path, parts: list[Any]) -> bytes:
    file = AtomicFile(str(path))
    file.open()
    file.write(parts)
    file.leave()
    return path.read_bytes()


def test_a_file_is_its_user_s_alone_and_nothing_but_its_lock_is_left_beside_it(path: Path) -> None:
    before = os.umask(0)
    try:
        written(path, SMALL)
    finally:
        os.umask(before)
    assert sorted(path.parent.iterdir()) == [path, path.with_name("state.lock")]
    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_a_file_is_synced_before_it_gets_its_name_and_its_directory_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = os.replace

    def synced(fd: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        steps.append("directory" if is_directory else f"{os.fstat(fd).st_size > 100_000}")

    def named(new: str, path: str) -> None:
        steps.append("named")
        replace(new, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", named)
    written(path, LARGE)
    assert steps == ["True", "named", "directory"]


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda whole: b"", "holds no state"),
        (lambda whole: b"[settings]\n", "holds no state"),
        (lambda whole: whole.replace(b"state\1", b"state\2"), "another version"),
        (lambda whole: whole[:9], "torn"),
        (lambda whole: whole[:20], "torn"),
        (lambda whole: whole[:-1], "torn"),
        (lambda whole: whole + b"\0", "torn"),
        (lambda whole: whole[:30] + b"\xff" + whole[31:], "torn"),
        (lambda whole: whole[:-3] + b"X" + whole[-2:], "damaged"),
    ],
)
def test_what_is_not_what_was_written_is_an_error_and_stays(
    path: Path, spoil: Callable[[bytes], bytes], what: str
) -> None:
    spoilt = spoil(written(path, SMALL))
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match=rf"/state .*{what}.*Move it away"):
        AtomicFile(str(path)).read()
    assert path.read_bytes() == spoilt


def is_refused(path: Path, spoilt: bytes) -> bool:
    path.write_bytes(spoilt)
    with contextlib.suppress(ValueError):
        AtomicFile(str(path)).read()
        return False
    return path.read_bytes() == spoilt


def spoilt_in_every_place(whole: bytes) -> Iterator[bytes]:
    """Cut off, with one bit that is another, with a part that is missing, and with one of another
    program's beside it or in its place."""
    foreign = b"name,price\n"
    for at in range(len(whole)):
        before, after = whole[:at], whole[at:]
        yield before
        yield from (before + bytes([after[0] ^ 1 << bit]) + after[1:] for bit in (0, 7))
        yield from (before + after[size:] for size in (1, 8))
        yield before + foreign + after
        yield before + foreign + after[len(foreign) :]
    yield whole + whole


def test_a_file_that_is_spoilt_in_any_place_is_refused_and_stays(path: Path) -> None:
    whole = written(path, [b"class", b"state"])
    assert not is_refused(path, whole)
    for spoilt in spoilt_in_every_place(whole):
        assert is_refused(path, spoilt), spoilt


def test_what_is_no_file_is_an_error_and_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is no file"):
        AtomicFile(str(path)).read()
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="is no file"):
        AtomicFile(str(path)).read()


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_what_others_may_have_written_is_not_read(path: Path, mode: int) -> None:
    written(path, SMALL)
    path.chmod(mode)
    with pytest.raises(ValueError, match="can be written by other users"):
        AtomicFile(str(path)).read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_nor_is_what_belongs_to_another_user(path: Path) -> None:
    written(path, SMALL)
    os.chown(path, 12345, -1)
    with pytest.raises(ValueError, match="can be written by other users"):
        AtomicFile(str(path)).read()
    path.with_name("state.lock").unlink()
    path.with_name("state.lock").symlink_to(path)
    with pytest.raises(OSError, match=r"symbolic links.*state\.lock"):
        AtomicFile(str(path)).open()


def test_one_at_a_time_has_a_file_in_this_process_and_in_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_file, "PATIENCE", 0.0)
    first, second = AtomicFile(str(path)), AtomicFile(str(path))
    first.open()
    with pytest.raises(RuntimeError, match="another actor, which is alive"):
        second.open()

    def open_there() -> None:
        try:
            second.open()
        except RuntimeError:
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed_in(open_there)
    first.leave()
    first.leave()
    assert not killed_in(open_there)
    second.open()
    second.leave()


def test_who_is_about_to_let_go_of_a_file_is_waited_for(path: Path) -> None:
    first, second = AtomicFile(str(path)), AtomicFile(str(path))
    ready, go_on = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        first.open()
        os.write(ready[1], b"x")
        os.read(go_on[0], 1)
        os._exit(0)  # which lets go of it
    os.read(ready[0], 1)
    threading.Timer(0.05, os.write, (go_on[1], b"x")).start()
    second.open()
    second.leave()
    os.waitpid(pid, 0)
    for fd in (*ready, *go_on):
        os.close(fd)


def test_a_link_is_followed_and_a_change_of_the_directory_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = path.with_name("there")
    there.mkdir()
    path.symlink_to(there / "state")
    monkeypatch.chdir(path.parent)
    file = AtomicFile("state")
    monkeypatch.chdir("/")
    file.open()
    file.write(SMALL)
    file.leave()
    assert path.is_symlink()
    assert (there / "state").is_file()


def test_where_its_directory_is_missing_that_is_said(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing/state"):
        AtomicFile(str(path / "missing" / "state")).open()


def test_what_a_killed_writer_left_is_no_hindrance(path: Path) -> None:
    path.with_name("state.new").write_bytes(b"half")
    written(path, SMALL)
    assert not path.with_name("state.new").exists()
