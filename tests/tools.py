"""What tests of several modules take: waiting, calls in threads, processes, scripts."""

import contextlib
import itertools
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
"""For the tests themselves, also while the package has to do without it."""

# ------------------------------------------------------------------ waiting


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Ask, now and then, until the answer is yes, and give it; to wait for long is a failure."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} s: {_source_of(condition)}")
        time.sleep(0.001)
    return answer


def until_it_sleeps(thread: int) -> None:
    """Wait until a thread, by its ident, sleeps in our code: it is where it was some looks ago.

    A signal is to come only then: the interpreter looks for signals before it goes to sleep, and
    does not find one that comes just after that.
    """
    seen: list[tuple[int, int]] = []

    def sleeps() -> bool:
        frame = sys._current_frames()[thread]
        seen.append((id(frame), frame.f_lasti))
        return "remoteobj/_" in frame.f_code.co_filename and seen[-4:] == seen[-1:] * 4

    until(sleeps)


def is_in(thread: int, func: Callable[..., Any]) -> bool:
    """Whether a thread, by its ident, is in this function, or in one that this has called."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code is func.__code__:
            return True
        frame = frame.f_back
    return False


def counted(read: list[int]) -> Iterator[int]:
    """Numbers without an end, which also tell how many of them were read."""
    for number in itertools.count():
        read.append(number)
        yield number


def _source_of(condition: Callable[[], Any]) -> str:
    import inspect  # not at the top, since actors that are started anew import this too: start-up

    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):  # there is none: it was pickled, or is no function
        return repr(condition)


# ------------------------------------------------------------------ calls in threads


class Call:
    """What came of a function that runs in a thread of its own."""

    def __init__(self, func: Callable[..., Any], *args: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended_at = 0.0
        self._work = (func, args)
        self._thread = threading.Thread(target=self._run, name="test-call")
        self._thread.start()

    def _run(self) -> None:
        func, args = self._work
        del self._work
        try:
            self.value = func(*args)
        except BaseException as error:
            self.error = error
        self.ended_at = time.monotonic()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def is_in(self, func: Callable[..., Any]) -> bool:
        """Whether it is in this function now, or in one that this function has called."""
        return is_in(self._thread.ident or 0, func)

    def wait(self) -> "Call":
        """Itself, when the function has ended."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "the call did not end"
        return self

    def result(self) -> Any:
        """What the function returned; raises what it raised."""
        self.wait()
        if self.error is not None:
            raise self.error
        return self.value


# ------------------------------------------------------------------ processes


def start(method: str, target: Callable[..., Any], *args: Any) -> Any:
    """A process of `multiprocessing`'s own, started."""
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=target, args=args)
    process.start()
    return process


def finish(process: Any) -> int:
    """The exit code of a process that ends by itself."""
    process.join(20)
    assert process.exitcode is not None, "it has not ended within 20 s"
    code: int = process.exitcode
    process.close()
    return code


def run(method: str, target: Callable[..., Any], *args: Any) -> int:
    """The exit code of a function in a process of its own."""
    return finish(start(method, target, *args))


@contextlib.contextmanager
def processes(
    method: str, target: Callable[..., Any], *args: tuple[Any, ...]
) -> Iterator[list[Any]]:
    """One process for each tuple of arguments; killed if it does not end by itself."""
    started: list[Any] = []
    try:
        for each in args:
            started.append(start(method, target, *each))  # noqa: PERF401 - each must be ended
        yield started
        for one in started:
            one.join(20)
    finally:
        for one in started:
            if one.is_alive():
                one.kill()
                one.join(10)
            one.close()


@contextlib.contextmanager
def process(method: str, target: Callable[..., Any], *args: Any) -> Iterator[Any]:
    """One process; killed if it does not end by itself."""
    with processes(method, target, args) as (child,):
        yield child


# ------------------------------------------------------------------ programs


class Ended(NamedTuple):
    """How a program ended: its exit code, and what it wrote that was not read before."""

    code: int
    out: str
    err: str


class Script:
    """A program of its own, in a process group of its own."""

    def __init__(
        self, path: Path, source: str, *args: object, prelude: str = "", **environment: str
    ) -> None:
        path.write_text(prelude + textwrap.dedent(source))
        self.process = subprocess.Popen(
            [sys.executable, str(path), *map(str, args)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().removesuffix("\n")
        if not line:
            out, err = self.process.communicate(timeout=20)
            pytest.fail(f"the script said nothing:\n{out}{err}")
        return line

    def finish(self, seconds: float = 20.0) -> Ended:
        try:
            out, err = self.process.communicate(timeout=seconds)
        except BaseException:
            self.close()
            raise
        return Ended(self.process.returncode, out, err)

    def close(self) -> None:
        """Kill it, and all that it started, if it still runs."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


Scripts: TypeAlias = Callable[..., Script]
"""Starts a program: ``script(source, *args, prelude="", **environment)``, see `tests.conftest`."""


def until_gone(pid: int, seconds: float) -> bool:
    """Whether a process has ended after so many seconds; it need not be a child of ours."""
    if pidfd_open is None:
        end = time.monotonic() + seconds
        while (gone := _is_gone(pid)) is False and time.monotonic() < end:
            time.sleep(0.005)
        return gone
    try:
        fd = pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


def left_in(runtime: Path) -> list[Path]:
    """What lies in the runtime directory of a program, but for the directory of the user."""
    user = runtime / f"remoteobj-{os.getuid()}"
    # Not by `rglob`, which fails where what it is about to look into is removed.
    found = (Path(at, name) for at, *names in os.walk(runtime) for name in itertools.chain(*names))
    return [path for path in found if path != user]


def kill(*handles: Any) -> None:
    """Kill their processes together, and wait until these are dead."""
    dying = [handle.pid_ for handle in handles]
    for pid in dying:
        os.kill(pid, signal.SIGKILL)
    assert all(until_gone(pid, 10.0) for pid in dying)


def _is_gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


@contextlib.contextmanager
def ended(actor: Any) -> Iterator[Any]:
    """Whatever becomes of this actor in a test, it does not outlive it."""
    try:
        yield actor
    finally:
        actor.kill_()
        actor.stop_()
