"""An owner's side of its guardian: it is started with the first actor, and has a list of all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import util as mp_util

from .._os import guardian_main
from .._os.directories import open_directory
from .._os.fork_safety import leave_to_parent
from .._os.guardian_main import DIRECTORY, SLOT, entry_of
from .._os.processes import KnownProcess, rights
from .._wire.runtime_directory import SocketDirectory, runtime_directory

__all__ = ["Post", "guardian"]

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that are for the owner, while its guardian is still in the same process group."""
PROGRAM = (
    f"import sys; sys.path.append(sys.argv[1]); from {guardian_main.__name__} import main; main()"
)
"""What it runs. Its second argument is for itself."""
PACKAGE_HOME = os.path.abspath(
    os.path.join(guardian_main.__file__, *[".."] * len(guardian_main.__name__.split(".")))
)


class List:
    """A file of slots in the directory of this process, which its guardian reads in the end.

    Invariant: no descriptor of it is kept. Each entry opens it anew, so that a process which has
    given up the rights that its guardian has still can't say any more what that guardian does.
    """

    def __init__(self, directory: SocketDirectory) -> None:
        name = f"{os.urandom(4).hex()}.list"
        self.path: str = os.path.join(directory.path, name)
        self._name = name
        self._directory = directory.lock
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        fd = self.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.fchmod(fd, 0o600)  # whatever the umask has made of it
        finally:
            os.close(fd)

    def open(self, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._name, flags, 0o600, dir_fd=self._directory)

    def enter(self, what: str) -> None:
        """Add an entry, unless it is there, or is too long."""
        if what in self._slots or len(os.fsencode(what)) > SLOT:
            return
        slot = self._free.pop() if self._free else len(self._slots)
        self._slots[what] = slot
        try:
            self._write(what, slot)
        except BaseException:
            self.erase(what)
            raise

    def erase(self, what: str) -> None:
        """Take an entry out. One that we have no right to is left, and is of no harm."""
        slot = self._slots.pop(what, None)
        if slot is not None:
            with contextlib.suppress(OSError):
                self._write("", slot)
            self._free.append(slot)

    def has_actors(self) -> bool:
        return any(what.startswith("+") for what in self._slots)

    def _write(self, what: str, slot: int) -> None:
        fd = self.open(os.O_WRONLY)
        try:
            os.pwrite(fd, os.fsencode(what).ljust(SLOT, b"\0"), slot * SLOT)
        finally:
            os.close(fd)


class Post:
    """A guardian with some rights, and its list. It is started again if somebody has killed it."""

    def __init__(self, directory: SocketDirectory) -> None:
        self.list: List = List(directory)
        self.pipe: int | None = None
        self._directory = directory
        self._process: KnownProcess | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def summon(self) -> None:
        """Have one there. Where no interpreter can be run, there is none."""
        if self.pid is None or not _lives(self.pid):
            self.close()
            self._start()

    def _start(self) -> None:
        if (executable := _executable()) is None:
            return
        with contextlib.ExitStack() as its:
            reading, writing = map(_beyond_its, os.pipe())
            its.callback(os.close, reading)
            names = _beyond_its(self.list.open(os.O_RDONLY))
            its.callback(os.close, names)
            directory = _beyond_its(open_directory(".", self._directory.lock))
            its.callback(os.close, directory)
            name = os.path.basename(self._directory.path)
            try:
                pid = os.posix_spawn(
                    executable,
                    [executable, "-I", "-S", "-c", PROGRAM, PACKAGE_HOME, name],
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, reading, 0),
                        (os.POSIX_SPAWN_DUP2, names, 1),
                        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                        (os.POSIX_SPAWN_DUP2, directory, DIRECTORY),
                    ],
                    setsigmask=BLOCKED,
                )
            except BaseException as exc:
                # If one was started all the same, it ends: its pid is not in the list.
                os.close(writing)
                if isinstance(exc, (FileNotFoundError, PermissionError)):
                    return  # a sandbox: actors end by themselves in all other cases
                raise
        self.close()  # of a signal handler that has started one meanwhile
        self._process, self.pipe = KnownProcess.meet(pid, os.getpid()), writing
        self._process.release()
        self.list.enter(f"={pid}")

    def close(self) -> None:
        """End it, at once: what it is for is over, or is another one's."""
        process, self._process = self._process, None
        if process is not None:
            if _lives(process.pid):
                with contextlib.suppress(OSError):  # we may have given up the right to
                    process.signal(signal.SIGKILL)
                    os.waitpid(process.pid, 0)
            self.list.erase(f"={process.pid}")
        self.close_pipe()

    def close_pipe(self) -> None:
        pipe, self.pipe = self.pipe, None
        if pipe is not None:
            os.close(pipe)


class Guardian:
    """The guardians of this process: one, or more where it has given up rights since its first.

    Each sees to what was started with its own rights, and to no more than that.

    Invariant: no other process than the owner has the end of the pipe of which the guardian has
    the other, since its closing is the news of the owner's death. So a fork waits for the lock, and
    then closes it.
    """

    def __init__(self) -> None:
        # Reentrant, since a signal handler may spawn an actor too.
        self._lock = lock = threading.RLock()
        self._posts: dict[tuple[SocketDirectory, tuple[int, ...]], Post] = {}
        self._registered_in = -1
        # No code of ours between a fork and its release: a Ctrl-C there would leave it held.
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
        os.register_at_fork(after_in_child=self._renew)

    def posts(self) -> Iterator[Post]:
        """All that there are."""
        yield from list(self._posts.values())

    def summon(self) -> None:
        """Have it there, before there is an actor."""
        with self._lock:
            self._post().summon()
            if self._registered_in != os.getpid():
                self._registered_in = os.getpid()
                # After all processes have been stopped, and multiprocessing has joined its own.
                mp_util.Finalize(None, self._dismiss, exitpriority=-100)

    def watch(self, actor: KnownProcess) -> None:
        """See to it that an actor does not outlive this process. One that is unknown by anything
        but its number could be another process by then, and is left to itself."""
        if actor.started:
            with self._lock:
                self._post().list.enter(entry_of(actor))

    def forget(self, actor: KnownProcess) -> None:
        """An actor has ended."""
        with self._lock:
            for post in self.posts():
                post.list.erase(entry_of(actor))

    def _post(self) -> Post:
        key = runtime_directory.have(), rights()
        if key not in self._posts:
            self._posts[key] = Post(key[0])
        return self._posts[key]

    def _dismiss(self) -> None:
        """This process ends, in order."""
        with self._lock:
            for post in self.posts():
                if not post.list.has_actors():
                    post.close()

    def _renew(self) -> None:
        """In a forked child, which has no actors yet."""
        for post in self.posts():
            post.close_pipe()
        leave_to_parent(self._posts)
        self._posts = {}


def _lives(pid: int) -> bool:
    """Whether a child of ours does; it is reaped, if not."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # reaped by a wait for any child
        return False


def _beyond_its(fd: int) -> int:
    """The same, beyond those that a guardian's own take the place of. So is it where a program that
    has closed its standard streams does not print to."""
    if fd > DIRECTORY:
        return fd
    other = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, DIRECTORY + 1)
    os.close(fd)
    return other


def _executable() -> str | None:
    """The interpreter: as `multiprocessing.set_executable` said, or our own.

    None where there is none to be started: in a frozen program, or one that Python is embedded in.
    """
    spawn = sys.modules.get("multiprocessing.spawn")  # not loaded: then nobody has said so
    path = os.fsdecode((spawn.get_executable() if spawn else sys.executable) or "")
    known = "py" in os.path.basename(path) and not getattr(sys, "frozen", False)
    return path if known and os.access(path, os.X_OK) else None


guardian = Guardian()
