"""The rosters of all processes of this user, as another process reads them.

Nothing that lies there is believed before it is known to be this user's: the directories are of
mode 0700 and the files of mode 0600, both belong to this user, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final

from .._fast_typing import NamedTuple
from .._os.directories import open_directory, unless_held
from .._os.process_table import SeenProcess, is_there, see
from .roster import BLOCK, ENTRY, FILE, HEADER, MAGIC, Entry, checksum, unpack
from .runtime_directory import open_root
from .unix import UnixTransport

__all__ = ["Listed", "RosterReader", "has_door", "living"]

MOST: Final = 1 << 26
"""Bytes of one roster that are read."""
ATTEMPTS: Final = 20
"""How often a roster is read in which an entry is just being written."""
ATTEMPT_SECONDS: Final = 0.001


class Listed(NamedTuple):
    """An entry, and who has written it."""

    entry: Entry
    owner_pid: int
    owner_started: str
    owner_lives: bool = True
    seen: SeenProcess | None = None
    """The process of the actor; None: it has none now, or the system does not tell."""
    lives: bool = True
    """Whether that process does. False: another one is to take its place."""


def living(
    is_wanted: Callable[[Entry], bool] = lambda entry: True, reader: RosterReader | None = None
) -> list[Listed]:
    """The actors of this user that live, of those that are wanted.

    Args:
        reader: of one who looks again and again.
    """
    found = [one for one in (reader or RosterReader()).read() if is_wanted(one.entry)]
    numbers = {one.entry.pid for one in found} | {one.owner_pid for one in found}
    seen = see(numbers | {os.getpid()})
    looked_at = (_looked_at(one, seen) for one in found)
    return [one for one in looked_at if one is not None]


def _looked_at(listed: Listed, seen: dict[int, SeenProcess]) -> Listed | None:
    """The same, with what was seen of it; None: it is dead."""
    entry = listed.entry
    owner_lives = is_there(listed.owner_pid, listed.owner_started, seen)
    if entry.pid == listed.owner_pid:
        lives = owner_lives
        # A thread of it, or not started yet. A thread that has ended does not listen any more.
        if entry.engine == "thread" and entry.state != "starting":
            lives = lives and has_door(entry)
    else:
        lives = is_there(entry.pid, entry.started, seen)
    if not lives and not (entry.lasting and owner_lives and has_door(entry)):
        return None
    now = seen.get(entry.pid) if lives else None
    return listed._replace(owner_lives=owner_lives, seen=now, lives=lives)


def has_door(entry: Entry) -> bool:
    """Whether somebody listens where it is called, as far as that can be seen from outside."""
    address = entry.address
    return address.transport != UnixTransport.name or os.path.lexists(address.location)


class RosterReader:
    """Reads the rosters again and again: what has not changed since is not decoded anew."""

    def __init__(self) -> None:
        self._known: dict[bytes, Entry] = {}
        """What the last look has found, by its bytes. Nothing is kept for longer, since there are
        keys in it."""

    def read(self) -> list[Listed]:
        """All that is written there, of the dead too.

        Raises:
            PermissionError: the directory above them is not this user's alone.
        """
        if (opened := open_root()) is None:
            return []
        _, root = opened
        found: dict[bytes, Entry] = {}
        listed: list[Listed] = []
        try:
            for name in os.listdir(root):
                with contextlib.suppress(OSError):  # it has just been removed, or is no directory
                    listed += self._read_one(name, root, found)
        finally:
            os.close(root)
        self._known = found
        return listed

    def _read_one(self, name: str, root: int, found: dict[bytes, Entry]) -> list[Listed]:
        directory = open_directory(name, root)
        try:
            if not _is_private(os.fstat(directory), stat.S_ISDIR) or not _is_held(directory):
                return []
            for _ in range(ATTEMPTS):
                with contextlib.suppress(_TornError):
                    return list(self._entries(_contents(directory), found))
                time.sleep(ATTEMPT_SECONDS)
            # One that is torn for so long is broken, and the others are not.
            return list(self._entries(_contents(directory), found, broken=True))
        finally:
            os.close(directory)

    def _entries(
        self, data: bytes, found: dict[bytes, Entry], broken: bool = False
    ) -> Iterator[Listed]:
        """What a roster says; `broken`: leave out what can't be read."""
        if len(data) < BLOCK or not data.startswith(MAGIC):
            return
        _, owner_pid, started = HEADER.unpack_from(data)
        owner_started = started.rstrip(b"\0").decode()
        at = BLOCK
        while at + ENTRY.size <= len(data):
            _, _, length, blocks = ENTRY.unpack_from(data, at)
            written = data[at : at + ENTRY.size + length]
            if length and blocks and (written in self._known or _is_whole(written)):
                with contextlib.suppress(ValueError, struct.error):
                    entry = found[written] = self._known.get(written) or _decoded(written)
                    yield Listed(entry, owner_pid, owner_started)
            elif not broken and (length or not blocks):
                raise _TornError
            at += max(blocks, 1) * BLOCK


def _is_whole(written: bytes) -> bool:
    _, expected, length, _ = ENTRY.unpack_from(written)
    body = written[ENTRY.size :]
    return len(body) == length and bool(checksum(body) == expected)


def _decoded(written: bytes) -> Entry:
    """The entry in what is whole; raises as `unpack`."""
    entry = unpack(written[ENTRY.size :])
    if entry.state == "starting" and ENTRY.unpack_from(written)[0] == entry.pid:
        return entry._replace(state="running")
    return entry


def _is_held(directory: int) -> bool:
    """Whether a process of those that it is about lives. Numbers of processes come round again
    after the system was started anew, and locks do not."""
    try:
        with unless_held(directory):
            return False
    except BlockingIOError:
        return True


def _is_private(found: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    mine = is_kind(found.st_mode) and found.st_uid == os.geteuid()
    return mine and not found.st_mode & 0o077


def _contents(directory: int) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(FILE, flags, dir_fd=directory)
    try:
        found = os.fstat(fd)
        return os.pread(fd, MOST, 0) if _is_private(found, stat.S_ISREG) else b""
    finally:
        os.close(fd)


class _TornError(Exception):
    """An entry is just being written."""
