"""What a test leaves behind: a snapshot before, a comparison after.

``Snapshot.take(places)`` lists what this process holds: child processes, threads, descriptors,
mapped and named shared memory, files under ``places``. ``left_since(before, places)`` waits until
nothing is left beyond that, or says precisely what is.

Exempt are singletons, of the standard library and ours, that live until the interpreter ends: see
`exempt_pids`, `exempt_fds` and `exempt_paths`. So is what belongs to a `Neighbour`: a system that
the tests have started, and that starts and ends things as it likes. What the tests have in it, and
may not leave there, it lists itself.
"""

import _posixsubprocess
import contextlib
import ctypes
import functools
import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import process
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from tests.internals import descriptors, kept, sweep
from tests.tools import pidfd_open

# An actor stopped by the garbage collector ends in the background. This long it may take.
PATIENCE = 2.0
NEIGHBOURS_PATIENCE = 4
"""How many times as long, where a neighbour has a part in it."""

LINUX = sys.platform == "linux"
PR_SET_CHILD_SUBREAPER = 36

# The children that this process started itself. A dead one of them waits for its owner to reap it,
# who would lose the exit code to anybody else that did; one that was adopted waits for nobody.
STARTED: set[int] = set()
STARTERS = [
    (os, "fork"),
    (os, "forkpty"),
    (os, "posix_spawn"),
    (subprocess, "_fork_exec"),
    (_posixsubprocess, "fork_exec"),
]


class Neighbour(Protocol):
    """A system of its own that the tests use: what belongs to it, and is no leak."""

    def roots(self) -> set[int]:
        """The processes that were started for it; all that descends from one is its own too."""
        ...

    def owns_thread(self, thread: threading.Thread) -> bool: ...

    def owns_descriptor(self, fd: int) -> bool: ...

    def owns_mapping(self, path: str) -> bool: ...

    def actors(self) -> Iterable[tuple[str, str]]:
        """What lives in it and is a leak if it stays: by its number, what it is."""
        ...


NEIGHBOURS: list[Neighbour] = []


def adopt_orphans(patch: pytest.MonkeyPatch) -> None:
    """Become the parent of every orphan among our descendants: init would hide them from us."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for module, name in STARTERS:
            patch.setattr(module, name, _remembering(getattr(module, name)))


def _remembering(start: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    def started(*args: Any, **options: Any) -> Any:
        result = start(*args, **options)
        STARTED.add(result[0] if isinstance(result, tuple) else result)
        return result

    return started


@dataclass(frozen=True)
class Snapshot:
    """What stands at one moment: of each kind, a key that names one thing → how to describe it."""

    processes: dict[object, str]
    threads: dict[object, str]
    descriptors: dict[object, str]
    mappings: dict[object, str]
    shared: dict[object, str]
    files: dict[object, str]
    actors: dict[object, str]

    @classmethod
    def take(cls, places: Iterable[Path] = ()) -> "Snapshot":
        return cls(
            processes={key: f"process {key[0]}: {what}" for key, what in list_processes()},
            threads={thread: f"thread {thread.name!r}" for thread in list_threads()},
            descriptors={key: f"descriptor {key[0]} → {key[1]}" for key in list_descriptors()},
            mappings={key: f"shared mapping {key}" for key in list_mappings()},
            shared={key: f"shared memory {key}" for key in list_shared_memory()},
            files={key: f"file {key}" for place in places for key in list_files(place)},
            actors={key: f"actor {what}" for key, what in list_actors()},
        )

    def beyond(self, before: "Snapshot") -> "Snapshot":
        """What is here and was not there."""
        return Snapshot(
            **{
                kind: {key: what for key, what in here.items() if key not in getattr(before, kind)}
                for kind, here in vars(self).items()
            }
        )

    def describe(self) -> list[str]:
        """One entry per thing; of a thread, with its stack."""
        entries = [what for things in vars(self).values() for what in things.values()]
        frames = sys._current_frames()
        for thread in self.threads:
            assert isinstance(thread, threading.Thread)
            if (frame := frames.get(thread.ident or 0)) is not None:
                stack = "".join(traceback.format_stack(frame))
                entries.append(f"stack of {thread.name!r}:\n{stack}")
        return entries

    def pids(self) -> list[int]:
        return [key[0] for key in self.processes if isinstance(key, tuple)]


def left_since(before: Snapshot, places: Iterable[Path] = ()) -> Snapshot:
    """What is left beyond ``before``, after a bounded wait for what is about to end."""
    places = list(places)
    left = Snapshot.take(places).beyond(before)
    deadline = time.monotonic() + PATIENCE * (NEIGHBOURS_PATIENCE if NEIGHBOURS else 1)
    while any(vars(left).values()) and time.monotonic() < deadline:
        gc.collect()
        if NEIGHBOURS:
            sweep()  # as the next start on a node does, for those that were killed there
        wait_for_an_end(left)
        left = Snapshot.take(places).beyond(before)
    for path in [path for path in left.shared if held_by_strangers(str(path))]:
        del left.shared[path]
    return left


def wait_for_an_end(left: Snapshot, seconds: float = 0.02) -> None:
    """Wait for a thread or a process that is left to end; all else gets the time alone."""
    if thread := next(iter(left.threads), None):
        assert isinstance(thread, threading.Thread)
        thread.join(seconds)
    elif pidfd_open is not None and left.processes:
        with contextlib.ExitStack() as stack:
            watched = []
            for pid in left.pids():
                with contextlib.suppress(ProcessLookupError):
                    watched.append(pidfd_open(pid))
                    stack.callback(os.close, watched[-1])
            select.select(watched, [], [], seconds)
        # A dead child is readable at once, while its owner still needs a moment to reap it.
        time.sleep(0.002)
    else:
        time.sleep(seconds)


def kill(pids: Iterable[int]) -> None:
    """End what a test has left, so that one leak fails one test and not all that follow."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# ------------------------------------------------------------------ exemptions


def exempt_pids() -> set[int]:
    """Started once, for good: the resource tracker, the fork servers, and the guardian."""
    return {one.pid for one in kept() if one.pid is not None}


def exempt_fds() -> set[int]:
    """What those are held by, and the lock on the package's session directory."""
    return {one.fd for one in kept() if one.fd is not None}


def exempt_paths() -> set[str]:
    """multiprocessing's temporary directory, removed at exit, and the fork servers' sockets."""
    config = getattr(process.current_process(), "_config", {})
    paths = (config.get("tempdir"), *(one.path for one in kept()))
    return {path for path in paths if path is not None}


# ------------------------------------------------------------------ processes


def list_processes() -> Iterator[tuple[tuple[int, str], str]]:
    """Every descendant as (pid, start time), which a pid that is taken again does not equal."""
    known = set(STARTED)  # first: another thread may start one meanwhile
    table = process_table()
    others = {pid for neighbour in NEIGHBOURS for pid in neighbour.roots()}
    family = family_of({os.getpid()}, table, others)
    # The numbers of processes come round again within a run of the tests: that of a child which was
    # reaped may be an orphan's next.
    STARTED.difference_update(known - family)
    for pid in sorted(family - {os.getpid()} - exempt_pids()):
        row = table[pid]
        if row.state == "Z" and row.parent == os.getpid() and pid not in STARTED:
            # An adopted orphan that has ended: to reap it would be init's duty, and now is ours.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        else:
            command = row.command or _command_of(pid) or f"[{row.name}]"
            yield (pid, row.started), f"{command} (state {row.state}, child of {row.parent})"


def process_table() -> "dict[int, Row]":
    """All processes of the machine."""
    return dict(_processes_of_linux() if LINUX else _processes_of_ps())


def family_of(roots: set[int], table: "dict[int, Row]", others: Iterable[int] = ()) -> set[int]:
    """Them and all that descends from them, but for what descends from others."""
    family, others = set(roots), set(others)
    while more := {pid for pid, row in table.items() if row.parent in family} - family - others:
        family |= more
    return family


class Row(NamedTuple):
    """What the system's table of processes says of one."""

    parent: int
    state: str
    started: str
    name: str = ""
    command: str = ""


def _processes_of_linux() -> Iterator[tuple[int, Row]]:
    """All processes of the machine. Twice in every test, so it costs little for each of them."""
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        # Whichever process ends meanwhile is none that is left.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, rest = _read(f"/proc/{entry}/stat").partition("(")[2].rpartition(")")
            fields = rest.split()
            yield int(entry), Row(int(fields[1]), fields[0], fields[19], name)


def _command_of(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    return ""


def _read(path: str) -> str:
    """The beginning of a small file, without the objects that `open` would make for it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096).decode(errors="replace")
    finally:
        os.close(fd)


def _processes_of_ps() -> Iterator[tuple[int, Row]]:
    columns = "pid=,ppid=,state=,lstart=,command="
    with subprocess.Popen(["ps", "-axo", columns], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        for line in ps.stdout.read().splitlines():
            pid, parent, state, *rest = line.split(None, 8)
            if int(pid) != ps.pid:
                started, command = " ".join(rest[:5]), " ".join(rest[5:])
                yield int(pid), Row(int(parent), state[0], started, command=command)


# ------------------------------------------------------------------ threads, and what others have


def list_threads() -> Iterator[threading.Thread]:
    """Every thread that Python knows of."""
    for thread in threading.enumerate():
        if not any(neighbour.owns_thread(thread) for neighbour in NEIGHBOURS):
            yield thread


def list_actors() -> Iterator[tuple[str, str]]:
    """What lives with a neighbour."""
    for neighbour in NEIGHBOURS:
        yield from neighbour.actors()


# ------------------------------------------------------------------ memory, descriptors, files


def list_descriptors() -> Iterator[tuple[int, str]]:
    """Every open descriptor that is not kept for good, and what it leads to."""
    exempt = exempt_fds()
    for one in descriptors():
        if one[0] not in exempt and not any(each.owns_descriptor(one[0]) for each in NEIGHBOURS):
            yield one


def list_mappings() -> Iterator[str]:
    """Memory shared with others, mapped here: it may outlive the descriptor it was made from."""
    if LINUX:
        for line in Path("/proc/self/maps").read_text().splitlines():
            if "(deleted)" not in line and "/dev/" not in line:
                continue  # it is one of hundreds, in every test
            addresses, mode, _, _, inode, *path = line.split(None, 5)
            if not path:
                continue
            nameless = mode.endswith("s") and path[0].endswith(" (deleted)")  # in place of a memfd
            if any(neighbour.owns_mapping(path[0]) for neighbour in NEIGHBOURS):
                continue
            if nameless or path[0].startswith(("/memfd:", "/dev/shm/", "/dev/zero")):
                yield f"{path[0]}, inode {inode}, at {addresses}"


def list_shared_memory() -> Iterator[str]:
    """Named segments of this user, but for semaphores: the package uses none, and those of
    `multiprocessing` come and go with whatever else runs on the machine."""
    if LINUX:
        for entry in os.scandir("/dev/shm"):
            if entry.name.startswith("sem.mp-"):
                continue
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    yield entry.path


def held_by_strangers(path: str) -> bool:
    """Whether a process that is not of this family maps it: another worker's tests, say."""
    family = {os.getpid(), *(key[0] for key, _ in list_processes())}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in family:
            with contextlib.suppress(OSError):
                if path in Path("/proc", entry, "maps").read_text():
                    return True
    return False


def list_files(place: Path) -> Iterator[str]:
    """Everything under a directory, save what the package keeps on purpose until it exits.

    That is `remoteobj-<uid>` and, in it, one directory per process. One of those is ours; a second
    one belongs to a process that is gone, and whoever survives it should have removed it.
    """
    exempt = exempt_paths()
    for root, directories, names in os.walk(place):
        here = Path(root)
        of_package = here.name.startswith("remoteobj-")
        for name in [*directories, *names]:
            kept = name in directories and (
                name.startswith("remoteobj-") or (of_package and len(directories) == 1)
            )
            if not kept and str(here / name) not in exempt:
                yield str(here / name)
