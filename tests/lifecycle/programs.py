"""What programs of the lifecycle tests begin with, and the diary in which they and actors write."""

import os
from pathlib import Path


class Diary:
    """Lines that any process can add, and that outlive it."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "diary")

    def add(self, line: object) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    @property
    def lines(self) -> list[str]:
        path = Path(self.path)
        return path.read_text().splitlines() if path.exists() else []


PRELUDE = """\
import contextlib, os, signal, sys, threading, time
import remoteobj
from remoteobj import DeadlockError, remote, util

def note(line):
    with open(sys.argv[1], "a") as file:
        file.write(f"{line}\\n")

@remote
class Actor:
    def __init__(self, path):
        sys.argv[1:] = [path]
    def sleep(self, seconds):
        time.sleep(seconds)
    def fail(self):
        raise ValueError("from the actor")
    @remote.cleanup
    def close(self):
        note("cleanup")

def pause():
    # Until a handler raises. One that is to run just before `signal.pause()` sleeps would not.
    while True:
        time.sleep(0.01)

def spawn(**options):
    actor = Actor.options(**options).spawn(sys.argv[1])
    print(actor.pid_, flush=True)
    return actor

"""
"""How each program of the fixture `script` begins; its first argument is the path of the diary."""
