"""Actors with an event loop from their birth to their end."""

import asyncio
import gc
import os
import signal
import threading
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, options, remote, spawn
from tests.coroutines.actors import Desk, count_events
from tests.tools import until

WAYS: list[dict[str, Any]] = [{}, {"engine": "thread"}, {"event_loop": "uvloop"}]
ways = pytest.mark.parametrize("way", WAYS, ids=["process", "thread", "uvloop"])


@remote
class Worker:
    """Works by a coroutine, and leaves word of its end in a file."""

    def __init__(self, path: str, stubborn: bool = False) -> None:
        self.path = path
        self.stubborn = stubborn
        self.rounds = 0
        self.enough = asyncio.Event()

    @remote.work
    async def loop(self) -> None:
        while self.remote.listening_ or self.stubborn:
            self.rounds += 1
            await asyncio.sleep(0.001)

    async def wait(self) -> str:
        try:
            await self.enough.wait()
        finally:
            self._say("waited")
        return "done"

    def let(self) -> None:
        self.enough.set()

    @remote.cleanup
    async def close(self) -> None:
        await asyncio.sleep(0)
        self._say("cleaned up")

    def _say(self, words: str) -> None:
        with open(self.path, "a") as file:
            file.write(f"{words}\n")


@remote
class Ledger:
    """Keeps a sum, and takes its time to restore it."""

    def __init__(self) -> None:
        self.total = 0
        self.restored = False

    async def add(self, n: int) -> int:
        await asyncio.sleep(0)
        self.total += n
        return self.total

    async def each(self, *numbers: int) -> Any:
        for n in numbers:
            yield await self.add(n)

    async def die(self) -> None:
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)

    @remote.checkpoint
    def save(self) -> int:
        return self.total

    @remote.restore
    async def load(self, total: int) -> None:
        await asyncio.sleep(0)
        self.total, self.restored = total, True


@ways
def test_a_stop_waits_for_what_runs_and_runs_what_has_arrived(way: dict[str, Any]) -> None:
    desk = Desk.options(**way).spawn()
    waiting = desk.future_.pass_door("last")
    until(lambda: desk.inside.get_() == 1)
    later = [desk.future_.turns("t", 2), desk.future_.passto(count_events, 0)]
    opener = desk.future_.open("last")
    desk.stop_()
    assert waiting.result(0) == "through last"
    assert opener.result(0) is None
    assert later[1].result(0) >= 1


def test_a_stop_that_refuses_what_waits_still_lets_what_runs_end() -> None:
    desk = Desk.options(fulfill_final=False, max_concurrency=1).spawn()
    waiting = desk.future_.turns("t", 500)
    refused = desk.future_.plainly()
    until(lambda: desk.status_().queued or waiting.done())
    desk.stop_()
    assert waiting.result(0) is None
    assert refused.done()


@ways
def test_a_stop_cancels_what_nobody_waits_for(way: dict[str, Any], tmp_path: Path) -> None:
    words = tmp_path / "words"
    worker = Worker.options(**way).spawn(str(words))
    future = worker.future_.wait()
    until(lambda: worker.rounds.get_() > 2)
    future.cancel()
    worker.stop_()
    assert words.read_text().split("\n") == ["waited", "cleaned up", ""]


def test_a_coroutine_that_never_returns_is_ended_by_the_time_limit_of_the_stop(
    tmp_path: Path,
) -> None:
    words = tmp_path / "words"
    worker = Worker.spawn(str(words), stubborn=True)
    future = worker.future_.wait()
    until(lambda: worker.rounds.get_() > 2)
    with pytest.raises(ActorDiedError, match="did not stop within"):
        with worker:
            worker.stop_(timeout=0.1)
    with pytest.raises(ActorDiedError) as caught:
        future.result(0)
    assert caught.value.maybe_executed
    assert sorted(words.read_text().split()) == ["cleaned", "up", "waited"]


def test_a_killed_actor_leaves_no_coroutine_waited_for() -> None:
    desk = Desk.spawn()
    futures = [desk.future_.pass_door("never") for _ in range(3)]
    until(lambda: desk.inside.get_() == 3)
    desk.kill_()
    for one in futures:
        assert isinstance(one.exception(5), ActorDiedError)
    desk.stop_()


@ways
def test_the_work_loop_and_calls_share_the_event_loop(way: dict[str, Any], tmp_path: Path) -> None:
    with Worker.options(**way).spawn(str(tmp_path / "words")) as worker:
        waiting = worker.future_.wait()
        rounds = worker.rounds.get_()
        until(lambda: worker.rounds.get_() > rounds + 2)
        worker.let()
        assert waiting.result(5) == "done"


def test_a_loop_that_awaits_is_paced_by_async_for() -> None:
    with Paced.spawn() as paced:
        until(lambda: len(paced.numbers.get_()) > 2)
        numbers = paced.take()
        assert numbers == sorted(set(numbers))
    with pytest.raises(RuntimeError, match="by `async for`"):
        with Paced.spawn(wrongly=True) as wrong:
            wrong.exited_.result(5)


@remote
class Paced:
    def __init__(self, wrongly: bool = False) -> None:
        self.wrongly = wrongly
        self.numbers: list[int] = []

    async def take(self) -> list[int]:
        return self.numbers

    @remote.work
    async def loop(self) -> None:
        if self.wrongly:
            for tick in self.remote.every_(0.001):
                self.numbers.append(tick.number)
        async for tick in self.remote.every_(0.002):
            self.numbers.append(tick.number)


def test_an_init_that_is_a_coroutine_function_is_refused() -> None:
    async def init(_: object) -> None: ...

    with pytest.raises(TypeError, match="should return None, not 'coroutine'"):
        spawn(type("Late", (), {"__init__": init}))


def test_what_the_work_loop_raises_is_told_to_the_owner() -> None:
    class Failing:
        async def ping(self) -> str:
            return "pong"

        @remote.work
        async def loop(self) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("in the loop")

    handle = spawn(Failing)
    handle.exited_.result(5)
    with pytest.raises(ZeroDivisionError, match="in the loop"):
        with handle:
            pass


@pytest.mark.parametrize("every", [0.0, None])
def test_a_state_is_kept_before_the_reply_and_restored_by_a_coroutine(every: float | None) -> None:
    way: dict[str, Any] = {"restart": "on-failure", "backoff": 0.0, "checkpoint_every": every}
    with Ledger.options(**way).spawn() as ledger:
        assert ledger.add(2) == 2
        assert list(ledger.each(1, 2)) == [3, 5]
        if every is None:
            ledger.checkpoint_()
        with pytest.raises(ActorDiedError):
            ledger.die()
        assert ledger.add(1) == 6
        assert ledger.restored.get_()


def test_what_the_object_left_running_ends_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    class Chatty:
        def __init__(self) -> None:
            self.task = asyncio.create_task(self._run())

        async def ping(self) -> None:
            pass

        async def _run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                print("background ended", flush=True)

    # A fork server has the standard streams that it was started with.
    chatty: Any = options(start_method="fork").spawn(Chatty)
    with chatty:
        chatty.ping()
    assert capfd.readouterr() == ("background ended\n", "")


def test_a_client_that_leaves_does_not_end_what_it_has_begun() -> None:
    with Desk.spawn() as desk:
        leaver = Desk.spawn()
        leaver.passto(_begin, desk)
        until(lambda: desk.inside.get_() == 1)
        leaver.kill_()
        gc.collect()
        desk.open("left")
        until(lambda: desk.inside.get_() == 0)
        assert "cancelled at left" not in desk.take_events()
        leaver.stop_()


async def _begin(_: Any, desk: Any) -> None:
    desk.future_.pass_door("left")


def test_a_slow_reader_holds_up_nobody_else() -> None:
    other: Any = spawn(dict)
    with Desk.spawn() as desk, other:
        big = [desk.future_.at_once(bytes(1 << 20)) for _ in range(8)]
        assert desk.passto(len_of, other) == 0
        assert [len(one.result(10)) for one in big] == [1 << 20] * 8


async def len_of(_: Any, other: Any) -> Any:
    return await other.async_.passto(len)


def test_an_inline_actor_has_no_thread_for_an_event_loop() -> None:
    with pytest.raises(ValueError, match=r'`async def` methods, .* use engine="thread"'):
        Desk.options(engine="inline").spawn()
    with pytest.raises(ValueError, match="max_concurrency=2"):
        options(engine="inline", max_concurrency=2).spawn(dict)


def test_uvloop_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PathFinder, "find_spec", lambda *_: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "remoteobj\[uvloop\]"'):
        Desk.options(event_loop="uvloop").spawn()


@pytest.mark.parametrize(
    "wrong",
    [{"max_concurrency": 0}, {"max_concurrency": True}, {"event_loop": "trio"}],
    ids=str,
)
def test_options_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Desk.options(**wrong)


def test_a_class_without_coroutines_awaits_what_it_is_given_to_its_end() -> None:
    letters: Any = spawn(list, "ab")
    with letters:
        assert letters.passto(_later, 3) == 5
        letters.cast_.passto(_append)
        assert len(letters) == 3
    with options(start_method="spawn").spawn(__import__, "sys") as interpreter:
        assert "asyncio" not in interpreter.modules


async def _later(letters: list[str], n: int) -> int:
    await asyncio.sleep(0)
    return len(letters) + n


async def _append(letters: list[str]) -> None:
    await asyncio.sleep(0)
    letters.append("c")


def test_process_requests_is_not_for_an_event_loop() -> None:
    with Desk.spawn() as desk:
        with pytest.raises(RuntimeError, match="runs calls by itself"):
            desk.passto(_process)
        assert desk.at_once(1) == 1


async def _process(desk: Any) -> None:
    desk.remote.process_requests()


def test_a_plain_work_loop_and_an_event_loop_get_along() -> None:
    both: Any = spawn(Both)
    with both:
        assert both.nap() == "rested"
        assert both.thread.get_() != both.nap_thread.get_()
        both.done = True


class Both:
    done = False
    thread = nap_thread = 0

    async def nap(self) -> str:
        await asyncio.sleep(0)
        self.nap_thread = threading.get_ident()
        return "rested"

    @remote.work(requests="thread")
    def loop(self) -> None:
        self.thread = threading.get_ident()
        while not self.done:
            threading.Event().wait(0.001)


def test_a_plain_work_loop_runs_coroutines_whenever_it_asks_for_calls() -> None:
    asking: Any = _Asking.spawn()
    with asking:
        assert asking.nap() == "rested"
    with pytest.raises(NotListeningError):
        asking.nap()


@remote
class _Asking:
    async def nap(self) -> str:
        await asyncio.sleep(0.001)
        return "rested"

    @remote.work
    def loop(self) -> None:
        while self.remote.listening_:
            self.remote.process_requests(0.01)
