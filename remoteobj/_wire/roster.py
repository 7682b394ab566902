"""The roster of a process: which actors it owns, for other processes of its user to read.

A file in the process's runtime directory, of mode 0600:

::

    header   magic, the owner's pid and when it started
    entry*   born | checksum | length | blocks | body      each a whole number of blocks

The owner alone writes it, each entry by one write. Nobody locks it: an entry that is just being
written does not agree with its checksum, and whoever reads it reads it again. A place in the file
keeps its size for ever, so that a reader always finds the next one.

`born` alone is the actor's: once its `__init__` is done, it writes the number of its process there.
Its owner may not know of that, since it takes in what the actor says only while it waits for it.

Nothing needs to be removed for the dead. An entry says which process it is about, by a number and
the time when that process started; whether this one lives is for the reader to find out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from typing import Final

from .._fast_typing import NamedTuple
from .._os.fork_safety import creation_lock, fork_generation
from .._os.processes import look
from .._protocol.config import RefOptions, WireOptions
from .._protocol.identity import ActorId
from .auth import Key
from .runtime_directory import SocketDirectory, open_root, runtime_directory
from .transport import Address

__all__ = [
    "BLOCK",
    "ENTRY",
    "FILE",
    "HEADER",
    "MAGIC",
    "MAX_NAME",
    "Entry",
    "Place",
    "checksum",
    "claiming",
    "clear",
    "pack",
    "roster_paths",
    "take",
    "unpack",
    "write",
]

FILE: Final = "actors"
"""The name of the file in its directory."""
MAGIC: Final = b"remoteobj actors 2\n"
BLOCK: Final = 256
"""Most entries take one or two of these."""
HEADER: Final = struct.Struct(f"<{len(MAGIC)}sI64s")
"""Magic; pid and `Glimpse.started` of the owner."""
ENTRY: Final = struct.Struct("<IIIH")
"""`born`; checksum of the body; length of the body, 0 where the place is free; blocks of it."""
BORN: Final = 4
"""Bytes of `born`."""
ROOM: Final = 48
"""Bytes that an entry may grow by and stay where it is, when more is known of its class."""
_BODY: Final = struct.Struct("<IIBddiQ7I")
"""Pid, `incarnation`, flags, `began`, `spin`, `recorder`; the lengths of the texts that follow."""
_FLAGS: Final = 7
MAX_NAME: Final = 0xFFFF
"""Bytes of a name, and of any other text in an entry."""
CLAIM_SECONDS: Final = 10.0
"""How long to wait for others who register a public name; each takes about a millisecond."""
CLAIM_CHECK: Final = 0.002
"""Seconds between two attempts to be the one who registers."""


class Entry(NamedTuple):
    """What others can know of an actor."""

    actor_id: ActorId
    address: Address
    """Without a key, where its owner wants nobody to have one."""
    options: RefOptions
    class_name: str
    engine: str
    state: str
    pid: int
    started: str
    """When that process did, as `Glimpse.started`; "": it is not known."""
    began: float
    """When the actor was spawned, by `time.monotonic()`, which is the same for all processes."""
    public: bool = False
    lasting: bool = False
    """Whether it goes on although its process ends, as long as its owner lives."""
    incarnation: int = 0
    """How many of its processes, or threads, there were before the present one."""
    recorder: tuple[int, int] = (-1, 0)
    """The descriptor of the owner by which its flight recorder is found, and where that begins in
    the file."""


class Place(NamedTuple):
    """Where an entry is in the roster of its owner."""

    directory: SocketDirectory
    block: int
    blocks: int

    @property
    def of_birth(self) -> tuple[str, int]:
        """The file and the place in it where the actor says that it is born."""
        return os.path.join(self.directory.path, FILE), self.block * BLOCK


def pack(entry: Entry) -> bytes:
    """An entry as bytes."""
    texts = [
        text.encode("utf-8", "surrogatepass")[:MAX_NAME]
        for text in (
            entry.actor_id.token,
            entry.actor_id.name,
            entry.address.transport,
            entry.address.location,
            entry.class_name,
            f"{entry.engine} {entry.state}",
            entry.started,
        )
    ]
    eager, fulfil, picklable, (spin, writable), restarts = entry.options
    flags = (entry.public, entry.lasting, eager, fulfil, picklable, writable, restarts)
    bits = sum(bool(flag) << bit for bit, flag in enumerate(flags))
    no_spin = -1.0 if spin is None else spin
    head = _BODY.pack(
        entry.pid,
        entry.incarnation,
        bits,
        entry.began,
        no_spin,
        *entry.recorder,
        *map(len, texts),
    )
    return b"".join((head, *texts, entry.address.key.secret))


def unpack(body: bytes) -> Entry:
    """The entry in these bytes.

    Raises:
        ValueError, struct.error: there is none.
    """
    pid, incarnation, bits, began, spin, fd, place, *lengths = _BODY.unpack_from(body)
    texts, at = [], _BODY.size
    for length in lengths:
        texts.append(body[at : at + length].decode("utf-8", "replace"))
        at += length
    token, name, transport, location, class_name, kind, started = texts
    engine, _, state = kind.partition(" ")
    public, lasting, eager, fulfil, picklable, writable, restarts = (
        bool(bits >> bit & 1) for bit in range(_FLAGS)
    )
    wire_options = WireOptions(None if spin < 0 else spin, writable)
    return Entry(
        ActorId(token, name),
        Address(transport, location, Key(body[at:])),
        RefOptions(eager, fulfil, picklable, wire_options, restarts),
        class_name,
        engine,
        state,
        pid,
        started,
        began,
        public,
        lasting,
        incarnation,
        (fd, place),
    )


def checksum(body: bytes) -> int:
    """What tells an entry that is written whole from one that is not. A CRC would need a library
    that most programs do without."""
    return int.from_bytes(body, "little") % _PRIME


_PRIME: Final = (1 << 30) - 35
"""The greatest that is a single digit of the interpreter's numbers, which makes this fast."""


# --- writing, by the owner -------------------------------------------------------------------


class _Roster:
    """The places in the roster of one directory of this process."""

    def __init__(self, directory: SocketDirectory) -> None:
        self.directory = directory
        self._generation = fork_generation[0]
        self.lock = threading.RLock()  # a signal handler may spawn within a spawn
        self._free: dict[int, list[int]] = {}
        """The blocks where free places begin, by their number of blocks."""
        self._end = 1
        seen = look(os.getpid())
        with self.opened(os.O_CREAT | os.O_TRUNC) as fd:
            os.fchmod(fd, 0o600)  # whatever the umask is
            started = "" if seen is None else seen.started
            header = HEADER.pack(MAGIC, os.getpid(), started.encode())
            os.pwrite(fd, header.ljust(BLOCK, b"\0"), 0)

    @property
    def is_own(self) -> bool:
        """Whether this process has made it, and not the parent that it was forked from."""
        return self._generation == fork_generation[0]

    @contextlib.contextmanager
    def opened(self, flags: int = 0) -> Iterator[int]:
        """The file: opened for each change, so that it takes no descriptor and no fork has it."""
        flags |= os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(FILE, flags, 0o600, dir_fd=self.directory.lock)
        try:
            yield fd
        finally:
            os.close(fd)

    def take(self, entry: Entry) -> Place:
        """A place with some room to spare."""
        blocks = -(-(ENTRY.size + len(pack(entry)) + ROOM) // BLOCK)
        if found := self._free.get(blocks):
            return Place(self.directory, found.pop(), blocks)
        place = Place(self.directory, self._end, blocks)
        self._end += blocks
        return place

    def write(self, entry: Entry, place: Place) -> Place:
        body = pack(entry)
        if place.blocks * BLOCK < ENTRY.size + len(body):
            former, place = place, self.take(entry)
            self._put(body, place)
            self.clear(former)
        else:
            self._put(body, place)
        return place

    def _put(self, body: bytes, place: Place) -> None:
        # All of the place, so that there is room for it, and the next one begins behind.
        data = ENTRY.pack(0, checksum(body), len(body), place.blocks) + body
        data = data.ljust(place.blocks * BLOCK, b"\0")[BORN:]
        with self.opened() as fd:
            if os.pwrite(fd, data, place.block * BLOCK + BORN) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def clear(self, place: Place) -> None:
        """Let another entry have the place. Where that can't be written, what is there is about a
        dead process, as its readers find."""
        with contextlib.suppress(OSError), self.opened() as fd:
            os.pwrite(fd, ENTRY.pack(0, 0, 0, place.blocks), place.block * BLOCK)
        self._free.setdefault(place.blocks, []).append(place.block)


_rosters: Final[dict[str, _Roster]] = {}
"""Of this process, by the paths of their directories: those of its parents are never asked for."""


def take(entry: Entry) -> Place:
    """A place for an actor of this process in its roster, to be given back by `clear`. Nothing is
    written there yet.

    Raises:
        OSError: there can't be a roster.
    """
    directory = runtime_directory.have()
    with creation_lock:  # which no child of a fork finds held by a thread that it has not
        roster = _rosters.get(directory.path)
        if roster is None:
            roster = _rosters[directory.path] = _Roster(directory)
    with roster.lock:
        return roster.take(entry)


def write(entry: Entry, place: Place) -> Place:
    """Say this of an actor from now on; the place, which is another one if it needs more room.

    Raises:
        OSError: there is no room for it.
    """
    roster = _rosters[place.directory.path]
    with roster.lock:
        return roster.write(entry, place)


def clear(place: Place) -> None:
    """The actor there is no more."""
    roster = _rosters[place.directory.path]
    with roster.lock:
        roster.clear(place)


def roster_paths() -> Iterator[str]:
    """Where the rosters of this process are, which it keeps once it has had an actor."""
    return (os.path.join(path, FILE) for path, one in _rosters.items() if one.is_own)


# --- being the one who registers a name ---------------------------------------------------------


@contextlib.contextmanager
def claiming() -> Iterator[None]:
    """The time in which no other process of this user registers a public name.

    It is the kernel that keeps the others out, by a lock on the directory that all have in common;
    so nothing is left of whoever is killed here.

    Raises:
        TimeoutError: another process is at it, and does not go on.
        OSError: there is no directory that all have in common.
    """
    deadline = time.monotonic() + CLAIM_SECONDS
    while True:
        # A fork waits meanwhile: its child would have a copy of the descriptor, and so the lock.
        with creation_lock, _locked_root() as locked:
            if locked:
                yield
                return
        if time.monotonic() > deadline:
            raise TimeoutError(
                "another process of this user has been registering a public name for "
                f"{CLAIM_SECONDS:.0f} s, and does not go on: is one of them stopped?"
            )
        time.sleep(CLAIM_CHECK)


@contextlib.contextmanager
def _locked_root() -> Iterator[bool]:
    """Whether this process has got the lock."""
    if (opened := open_root()) is None:
        raise OSError(
            "a public name needs a directory that all programs of this user have in common, and "
            "none of the usual places is safe for one; set XDG_RUNTIME_DIR to a directory of "
            "your own"
        )
    _, root = opened
    try:
        try:
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            # False: somebody has tidied up, and others lock another one by now.
            yield os.fstat(root).st_nlink > 0
        finally:
            fcntl.flock(root, fcntl.LOCK_UN)
    finally:
        os.close(root)
