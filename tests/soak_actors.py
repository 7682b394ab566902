"""The actors of the soak test, and the one that kills a tree of supervisors and a pool."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from remoteobj import Pool, Supervisor, remote

PATIENCE = 30.0
"""Seconds after which an outcome is taken for lost."""
FOREVER = 10**9
"""So many restarts are allowed."""


@remote(start_method="fork")
class Worker:
    """Appends the token of each execution to a file, with how many there were, before all else.

    Each of its processes has a file of its own: a SIGKILL may tear the last line. How many there
    were is its state. So if a state is lost at a death, a number comes twice.
    """

    def __init__(self, path: str) -> None:
        name = f"{path}-{time.monotonic_ns()}-{os.getpid()}"
        self.fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.count = 0

    def note(self, token: int) -> None:
        self.count += 1
        os.write(self.fd, b"%d %d\n" % (token, self.count))

    def execute(self, token: int) -> int:
        self.note(token)
        return -token

    def rows(self, token: int, count: int) -> Iterator[tuple[int, int]]:
        self.note(token)
        for i in range(count):
            yield token, i

    def add_one(self, token: int, array: Any) -> Any:
        self.note(token)
        return array + 1

    @remote.checkpoint
    def save(self) -> int:
        return self.count

    @remote.restore
    def load(self, count: int) -> None:
        self.count = count


@remote
class LoopBridge:
    """Tells the clients which actor works now; it is the one that nobody kills."""

    def __init__(self) -> None:
        self.now: tuple[int, Any] = (0, None)

    def announce(self, life: int, worker: Any) -> None:
        self.now = (life, worker)

    def current(self) -> tuple[int, Any]:
        return self.now


class PoolFace:
    """A pool of workers, with the face of one of them."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.future_ = PoolFutures(pool)

    def execute(self, token: int) -> Any:
        return self.future_.execute(token).result(PATIENCE)


class PoolFutures:
    """The same, for who does not wait."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def execute(self, token: int) -> Future[Any]:
        future: Future[Any] = self._pool.submit(Worker.execute, token)
        return future

    def add_one(self, token: int, array: Any) -> Future[Any]:
        future: Future[Any] = self._pool.submit(Worker.add_one, token, array)
        return future


class Grove:
    """A supervisor of two workers and of a supervisor of two more, and a pool of two, all of which
    are killed at random as long as it is there.

    Args:
        path: of the files of a life.
        first, of_pool: the lives of the supervised workers begin with the one, that of the pool is
            the other.
    """

    def __init__(
        self, path: Callable[[int], str], first: int, of_pool: int, rng: random.Random
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._rng = rng
        self._path = Path(path(of_pool))
        self._closing = threading.Event()
        self.deaths = 0
        tree = self._stack.enter_context(
            Supervisor(max_restarts=FOREVER, checkpoint_every=0.0, start_method="fork")
        )
        workers = [tree.spawn(Worker, path(first + n)) for n in range(2)]
        nested = tree.supervisor("rest-for-one", max_restarts=5, within=0.5)
        workers += [nested.spawn(Worker, path(first + n)) for n in range(2, 4)]
        self._handles = workers
        pool = Pool(2, Worker, str(self._path))
        self._stack.enter_context(pool)
        self.faces: list[tuple[int, Any]] = [*enumerate(workers, first), (of_pool, PoolFace(pool))]
        """What to call, each with its life."""
        self._killer = threading.Thread(target=self._kill, name="soak-killer")
        self._killer.start()

    def _kill(self) -> None:
        while not self._closing.wait(self._rng.uniform(0.02, 0.3)):
            pid = self._rng.choice([*(one.pid_ for one in self._handles), *self._pool_pids()])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.deaths += 1

    def _pool_pids(self) -> list[int]:
        """Those of its workers that began last; they may be dead by now."""
        names = sorted(one.name for one in self._path.parent.glob(f"{self._path.name}-*"))
        return [int(name.rpartition("-")[2]) for name in names[-2:]]

    def close(self) -> None:
        self._closing.set()
        self._killer.join()
        self._stack.close()
        for one in self._handles:
            one.exc_.clear()
