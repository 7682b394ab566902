"""The state of an object is kept for the next process of its actor, and given to it there."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import remoteobj
from remoteobj import ActorDiedError, Handle, UnsendableError, remote
from remoteobj.testing import Gate, fake
from tests.conftest import Launch
from tests.internals import (
    executor_of,
    keepers_of,
    let_time_pass,
    state_in,
    wait_no_longer_for_a_file,
)
from tests.tools import until


class Rows(Iterator[int]):
    """Notes in a log that it was closed."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __next__(self) -> int:
        return 1

    def close(self) -> None:
        self.log.append("closed")


@remote
class Ledger:
    """Entries, which are its state."""

    def __init__(self, *entries: Any) -> None:
        self.entries = list(entries)
        self.born_with = list(entries)
        self.log = ["__init__"]
        self.fine: int | None = None
        """How many checkpoints go well before one fails."""

    def add(self, entry: Any = "entry") -> int:
        self.entries.append(entry)
        return len(self.entries)

    def add_and_fail(self, entry: Any) -> None:
        self.add(entry)
        raise KeyError(entry)

    def add_each(self, count: int) -> Iterator[int]:
        for n in range(count):
            yield self.add(n)
        self.add("all")

    def rows(self) -> Iterator[int]:
        return Rows(self.log)

    def spoil_next(self) -> None:
        self.fine = 1  # that of this very call

    @remote.checkpoint
    def save(self) -> Any:
        if self.fine == 0:
            self.fine = None
            raise ArithmeticError("spoilt")
        if self.fine is not None:
            self.fine -= 1
        return self.entries

    @remote.restore
    def load(self, entries: Any) -> None:
        self.entries = entries
        self.log.append("restored")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def ledger(path: Path) -> Iterator[Handle[Ledger]]:
    """One whose state is kept after each request."""
    with kept_in(path, 0.0).spawn() as handle:
        yield handle


def kept_in(path: Path, every: float | None = None, **launch: Any) -> Any:
    launch.setdefault("start_method", "fork")
    return Ledger.options(checkpoint_path=path, checkpoint_every=every, **launch)


# ------------------------------------------------------------------ what is kept


@pytest.mark.parametrize("state", [["a"], None, {"deep": [1, (2, b"x" * 50_000)]}], ids=str)
def test_the_next_one_has_the_state_after_its_init_and_before_any_call(
    state: Any, path: Path
) -> None:
    with kept_in(path).spawn() as first:
        first.entries = state
        first.checkpoint_()
        first.entries = "lost"
    with kept_in(path).spawn("given") as second:
        assert second.entries.__ == state
        assert second.born_with.__ == ["given"]
        assert second.log.__ == ["__init__", "restored"]


def test_so_it_is_under_each_start_method_and_without_a_process(launch: Launch, path: Path) -> None:
    with Ledger.options(**launch, checkpoint_every=0.0, checkpoint_path=path).spawn() as first:
        first.add("a")
        first.add("b")
    with Ledger.options(**launch, checkpoint_path=str(path)).spawn() as second:
        assert second.entries.__ == ["a", "b"]
        second.add("c")
        second.checkpoint_()
        assert state_in(path) == ["a", "b", "c"]


@pytest.mark.parametrize("engine", ["thread", "inline"])
def test_without_a_process_it_is_kept_in_memory_as_well(engine: str) -> None:
    with Ledger.options(engine=engine, checkpoint_every=0.0).spawn() as ledger:
        ledger.checkpoint_()
        assert ledger.add() == 1


def test_large_arrays_are_kept_and_come_back_writable(path: Path) -> None:
    array = np.arange(3_000_000)
    with kept_in(path).spawn() as first:
        first.entries = [array, bytes(2_000_000)]
        first.checkpoint_()
    with kept_in(path).spawn() as second:
        second.passto(lambda obj: obj.entries[0].__setitem__(0, 7))
        there, zeros = second.entries.__
        assert there[0] == 7
        assert (there[1:] == array[1:]).all()
        assert zeros == bytes(2_000_000)


def test_a_state_of_a_hundred_megabytes_is_kept_in_memory() -> None:
    with Ledger.options(start_method="fork").spawn() as ledger:
        ledger.passto(lambda obj: obj.entries.append(bytes(100_000_000)))
        for _ in range(3):
            ledger.checkpoint_()


# ------------------------------------------------------------------ when


def test_after_each_request_with_zero_seconds(ledger: Handle[Any], path: Path) -> None:
    assert state_in(path) is ...
    assert ledger.add("a") == 1
    assert state_in(path) == ["a"]
    ledger.entries = ["set"]
    assert state_in(path) == ["set"]
    with pytest.raises(KeyError, match="b"):
        ledger.add_and_fail("b")
    assert state_in(path) == ["set", "b"]
    ledger.cast_.add("c")
    until(lambda: state_in(path) == ["set", "b", "c"])


def test_before_each_item_of_a_stream_is_sent(ledger: Handle[Any], path: Path) -> None:
    for n, length in enumerate(ledger.with_(window=1).add_each(3)):
        assert length == n + 1
        assert state_in(path)[: n + 1] == list(range(n + 1))
    assert state_in(path) == [0, 1, 2, "all"]


def test_after_so_many_seconds_with_the_next_request(path: Path) -> None:
    with kept_in(path, 3600).spawn() as ledger:
        ledger.add("a")
        assert state_in(path) is ...
        ledger.passto(let_time_pass, 3599)
        assert state_in(path) is ...
        ledger.passto(let_time_pass, 1)
        assert state_in(path) == ["a"]
        ledger.add("b")
        assert state_in(path) == ["a"]
        ledger.passto(let_time_pass, 3600)
        assert state_in(path) == ["a", "b"]


def test_only_when_it_is_asked_for_without_the_option(path: Path) -> None:
    with kept_in(path).spawn() as ledger:
        ledger.add("a")
        assert state_in(path) is ...
        assert ledger.checkpoint_() is None
        assert state_in(path) == ["a"]
        ledger.future_.add("b")
        ledger.future_.checkpoint_().result(10)
        assert state_in(path) == ["a", "b"]
        ledger.add("c")
        asyncio.run(awaited(ledger.async_.checkpoint_()))
        assert state_in(path) == ["a", "b", "c"]
        ledger.add("d")
        ledger.with_(timeout=10).checkpoint_()
        assert state_in(path) == ["a", "b", "c", "d"]
        ledger.add("e")
        ledger.cast_.checkpoint_()
        until(lambda: state_in(path) == ["a", "b", "c", "d", "e"])


def test_each_of_many_keeps_its_state_when_it_is_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / str(n) for n in range(2)]
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(kept_in(path, engine="inline").spawn("a")) for path in paths]
        assert remoteobj.each(many).checkpoint_() == [None, None]
        assert list(map(state_in, paths)) == [["a"], ["a"]]


def test_a_fake_of_an_actor_that_is_restarted_keeps_its_state_too() -> None:
    Restarted = remote(restart="on-failure", checkpoint_every=0.0)(type("Fake", (Ledger,), {}))
    with fake(Restarted, "a") as ledger:
        ledger.checkpoint_()
        assert ledger.add() == 2


async def awaited(what: Any) -> Any:
    return await what


@remote
class Looping(Ledger):
    """Asks for checkpoints itself."""

    @remote.work
    def work(self) -> None:
        self.add("by the loop")
        self.remote.checkpoint_()
        while self.remote.listening_:
            self.remote.process_requests(None)

    def add_and_keep(self, entry: str) -> None:
        self.add(entry)
        self.remote.checkpoint_()
        self.add("not kept")

    @remote.cleanup
    def close(self) -> None:
        self.add("by the cleanup")
        self.remote.checkpoint_()


def test_the_actor_asks_for_it_in_a_method_in_its_loop_and_in_its_cleanup(path: Path) -> None:
    with Looping.options(start_method="fork", checkpoint_path=path).spawn() as looping:
        until(lambda: state_in(path) == ["by the loop"])
        looping.add_and_keep("by a method")
        assert state_in(path) == ["by the loop", "by a method"]
    assert state_in(path) == ["by the loop", "by a method", "not kept", "by the cleanup"]


# ------------------------------------------------------------------ what fails


def test_who_called_is_told_that_the_call_ran_and_its_state_is_not_kept(
    ledger: Handle[Any], path: Path
) -> None:
    ledger.add("a")
    ledger.spoil_next()
    with pytest.raises(ArithmeticError, match="spoilt") as caught:
        ledger.add("b")
    (note,) = caught.value.__notes__
    assert note.startswith("The call was run in the actor, and the state after it could not be")
    assert state_in(path) == ["a"]
    assert ledger.add("c") == 3
    assert state_in(path) == ["a", "b", "c"]


def test_the_error_of_the_call_itself_is_its_context(ledger: Handle[Any]) -> None:
    ledger.spoil_next()
    with pytest.raises(ArithmeticError) as caught:
        ledger.add_and_fail("b")
    assert isinstance(caught.value.__context__, KeyError)


def test_a_state_that_can_t_be_pickled_names_where_and_the_one_before_stays(
    ledger: Handle[Any], path: Path
) -> None:
    ledger.add("a")
    with pytest.raises(UnsendableError, match=r"state\[1\]") as caught:
        ledger.passto(lambda obj: obj.entries.append(threading.Lock()))
    assert "The call was run" in caught.value.__notes__[-1]
    assert state_in(path) == ["a"]
    with pytest.raises(UnsendableError) as asked:
        ledger.checkpoint_()
    assert asked.value.__notes__ == caught.value.__notes__
    ledger.passto(lambda obj: obj.entries.pop() and None)
    assert state_in(path) == ["a"]


def test_of_a_cast_it_is_recorded_in_the_group_work(path: Path) -> None:
    ledger = kept_in(path, 0.0).spawn()
    ledger.spoil_next()
    ledger.cast_.add("a")
    assert ledger.add("b") == 2
    with pytest.raises(ArithmeticError):
        ledger.exc_.raise_any("work")
    with pytest.raises(ArithmeticError), ledger:
        pass


def test_of_a_stream_it_ends_that_and_is_recorded_too(path: Path) -> None:
    ledger = kept_in(path, 0.0).spawn()
    items = iter(ledger.with_(window=1).add_each(3))
    assert next(items) == 1
    before = state_in(path)
    ledger.spoil_next()
    with pytest.raises(ArithmeticError, match="spoilt"):
        for _ in items:
            pass
    assert state_in(path)[: len(before)] == before
    assert isinstance(ledger.exc_.last("work"), ArithmeticError)
    with pytest.raises(StopIteration):
        next(items)
    with pytest.raises(ArithmeticError), ledger:
        pass


def test_of_a_stream_that_has_just_begun_it_closes_that(ledger: Handle[Any]) -> None:
    ledger.spoil_next()
    with pytest.raises(ArithmeticError, match="spoilt"):
        next(iter(ledger.rows()))
    assert ledger.log.__ == ["__init__", "closed"]


def test_without_room_for_it_the_caller_is_told_and_the_actor_goes_on(
    ledger: Handle[Any], path: Path
) -> None:
    def limit(obj: Any, size: int) -> None:
        import resource  # start-up

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(1)[1]))

    ledger.add("a")
    ledger.passto(limit, 10_000)
    with pytest.raises(OSError, match="File too large"):
        ledger.add("b" * 20_000)
    assert state_in(path) == ["a"]
    ledger.entries = ["c"]
    assert state_in(path) == ["c"]


# ------------------------------------------------------------------ files


def refused(error: type[Exception], words: str, spawner: Any) -> None:
    with pytest.raises(error, match=words):
        spawner.spawn()


def test_two_live_actors_have_no_file_in_common(
    ledger: Handle[Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_no_longer_for_a_file(monkeypatch)
    for engine in ("process", "thread"):
        refused(RuntimeError, "another actor, which is alive", kept_in(path, engine=engine))
    assert ledger.add() == 1
    ledger.kill_()
    ledger.join_()
    with kept_in(path).spawn() as next_one:
        assert next_one.entries.__ == ["entry"]


def test_a_file_that_is_no_state_or_that_of_another_class_is_refused(path: Path) -> None:
    with kept_in(path, 0.0).spawn() as ledger:
        ledger.add("a")
    whole = path.read_bytes()
    refused(
        ValueError,
        "is the state of a tests.test_checkpoints:Ledger, and this is a .*Looping; give each class",
        Looping.options(start_method="fork", checkpoint_path=path),
    )
    for spoilt, words in [(whole[:-1], "is torn"), (b"notes", "holds no state of an actor")]:
        path.write_bytes(spoilt)
        refused(ValueError, words, kept_in(path))
        assert path.read_bytes() == spoilt
    path.unlink()
    refused(FileNotFoundError, "missing/state", kept_in(path.parent / "missing" / "state"))
    path.mkdir()
    refused(ValueError, "is no file", kept_in(path))


def test_a_relative_path_is_where_it_was_when_the_actor_was_spawned(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with kept_in(Path(path.name), 0.0).spawn() as ledger:
        monkeypatch.chdir("/")
        ledger.passto(lambda obj: os.chdir("/"))
        ledger.add("a")
    assert state_in(path) == ["a"]


def test_what_restore_raises_is_raised_by_spawn_and_the_state_stays(path: Path) -> None:
    with kept_in(path).spawn() as ledger:
        ledger.entries = "no list"
        ledger.checkpoint_()

    def load(self: Any, entries: Any) -> None:
        raise LookupError(entries)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(LookupError) as caught:
        patch.setattr(Ledger, "load", remote.restore(renamed(load, "Ledger.load")))
        kept_in(path).spawn()
    assert caught.value.__notes__ == [
        f"This was raised while the state that is kept in {path} was restored."
    ]
    assert state_in(path) == "no list"


def renamed(method: Any, name: str) -> Any:
    method.__qualname__ = name
    return method


# ------------------------------------------------------------------ within each other


@remote
class Asker:
    """Calls whom it is given."""

    def ask(self, other: Any, method: str) -> Any:
        return getattr(other, method)()


@remote
class Asking(Ledger):
    """Its checkpoint calls another actor, which may call back."""

    helper: Any = None

    def ask_with(self, helper: Any, method: str) -> None:
        self.helper, self.method = helper, method

    @remote.checkpoint
    def save(self) -> Any:
        if self.helper is None:
            return self.entries
        return self.entries, self.helper.ask(self.remote, self.method)

    def count(self) -> int:
        return len(self.entries)


def test_a_checkpoint_may_call_other_actors_which_call_back(path: Path) -> None:
    spawner = Asking.options(start_method="fork", checkpoint_path=path)
    with spawner.spawn() as asking, Asker.options(start_method="fork").spawn() as helper:
        asking.ask_with(helper, "add")
        asking.checkpoint_()
        assert state_in(path) == (["entry"], 1)
        asking.ask_with(helper, "checkpoint_")
        with pytest.raises(RuntimeError, match="can't be taken within a checkpoint"):
            asking.checkpoint_()
        asking.helper = None


def test_a_call_back_that_would_need_a_checkpoint_in_it_is_told_so(path: Path) -> None:
    spawner = Asking.options(start_method="fork", checkpoint_path=path, checkpoint_every=0.0)
    with spawner.spawn() as asking, Asker.options(start_method="fork").spawn() as helper:
        asking.add("a")
        with pytest.raises(RuntimeError, match="nor call an actor that calls back"):
            asking.ask_with(helper, "count")
        assert state_in(path) == ["a"]


def test_what_a_blocked_call_lets_in_is_kept_before_it_is_answered(path: Path) -> None:
    @remote
    class Waiting(Ledger):
        def ask(self, helper: Any) -> int:
            self.add("begun")
            length: int = helper.ask(self.remote, "add")
            assert state_in(path) == ["begun", "entry"]
            self.add("ended")
            return length

    spawner = Waiting.options(start_method="fork", checkpoint_path=path, checkpoint_every=0.0)
    with spawner.spawn() as waiting, Asker.options(start_method="fork").spawn() as helper:
        assert waiting.ask(helper) == 2
        assert state_in(path) == ["begun", "entry", "ended"]


@remote
class Early(Ledger):
    def __init__(self) -> None:
        super().__init__()
        self.remote.checkpoint_()


def test_before_it_has_its_state_there_is_nothing_to_keep(path: Path) -> None:
    refused(RuntimeError, "not in __init__", Early.options(start_method="fork"))


def test_of_two_that_overlap_the_one_that_began_last_is_kept() -> None:
    class Slow:
        waiting: Gate | None = None
        state = ""

        @remote.checkpoint
        def save(self) -> str:
            if self.waiting is None:
                return "late"
            self.waiting.park()
            return "early"

        @remote.restore
        def load(self, state: str) -> None:
            self.state = state

    slow = Slow()
    keeper, next_one = keepers_of(slow)
    with Gate() as gate:
        slow.waiting = gate
        early = threading.Thread(target=keeper.keep, args=(slow,), name="early")
        early.start()
        gate.wait_for_arrival()
        slow.waiting = None
        keeper.keep(slow)
        gate.open()
        early.join()
    next_one.open()
    next_one.restore(slow)
    assert slow.state == "late"


# ------------------------------------------------------------------ in the midst of one


@remote
class Held(Ledger):
    """Whose checkpoint waits at a gate, if it has one."""

    gate: Any = None

    def hold(self, gate: Any) -> str:
        self.gate = gate
        return "not told"

    @remote.checkpoint
    def save(self) -> Any:
        if self.gate is not None:
            self.gate.park()
        return self.entries


@pytest.fixture
def held(path: Path) -> Iterator[Any]:
    spawner = Held.options(start_method="fork", checkpoint_path=path, checkpoint_every=0.0)
    handle: Any = spawner.spawn()
    handle.add("a")
    yield handle
    handle.kill_()
    handle.stop_()


def test_a_call_whose_checkpoint_is_taken_is_still_seen_to_run(held: Any, gate: Gate) -> None:
    call = held.future_.hold(gate)
    gate.wait_for_arrival()
    status = held.status_()
    assert status.call is not None
    assert status.call.startswith("?.hold(")
    gate.open()
    assert call.result(10) == "not told"


def test_an_interruption_of_it_ends_it_and_leaves_the_state_before(
    held: Any, gate: Gate, path: Path
) -> None:
    call = held.future_.hold(gate)
    gate.wait_for_arrival()
    assert held.interrupt_(InterruptedError("enough"))
    with pytest.raises(InterruptedError, match="enough") as caught:
        call.result(10)
    assert "The call was run" in caught.value.__notes__[-1]
    assert state_in(path) == ["a"]
    gate.open()
    assert held.add("b") == 2
    assert state_in(path) == ["a", "b"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_death_in_it_tells_that_the_call_may_have_run_and_leaves_the_state_before(
    held: Any, gate: Gate, path: Path, number: signal.Signals
) -> None:
    call = held.future_.hold(gate)
    gate.wait_for_arrival()
    os.kill(held.pid_, number)
    with pytest.raises(ActorDiedError) as caught:
        call.result(10)
    assert caught.value.maybe_executed
    assert held.join_(10)
    assert state_in(path) == ["a"]


def test_a_fork_of_the_owner_can_ask_for_it_and_takes_nothing_with_it(path: Path) -> None:
    with kept_in(path).spawn() as ledger:
        pid = os.fork()
        if not pid:
            try:
                ledger.add("by a fork")
                ledger.checkpoint_()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert state_in(path) == ["by a fork"]


def test_a_checkpoint_that_forks_goes_on_in_the_parent_alone(path: Path) -> None:
    @remote
    class Forking(Ledger):
        @remote.checkpoint
        def save(self) -> Any:
            self.child = os.fork()
            return self.entries

        def child_ended(self) -> bool:
            return os.waitpid(self.child, 0)[1] == 0

    spawner = Forking.options(start_method="fork", checkpoint_path=path)
    with spawner.spawn("a") as forking:
        forking.checkpoint_()
        assert forking.child_ended()
        assert state_in(path) == ["a"]


# ------------------------------------------------------------------ classes


class Half:
    @remote.checkpoint
    def save(self) -> int:
        return 1


class OtherHalf:
    @remote.restore
    def load(self, state: int) -> None: ...


def test_one_without_the_other_is_a_mistake() -> None:
    for half, words in [
        (Half, "Half.save is marked @remote.checkpoint, and no method is marked @remote.restore"),
        (OtherHalf, "OtherHalf.load is marked @remote.restore, and no method .*checkpoint"),
    ]:
        with pytest.raises(TypeError, match=words):
            remote(half)
        with pytest.raises(TypeError, match=words):
            remoteobj.spawn(half)
    remote(type("Whole", (Half, OtherHalf), {}))


def test_methods_are_inherited_and_overridden_as_others(path: Path) -> None:
    class Whole(Half, OtherHalf):
        pass

    @remote
    class Derived(Whole):
        @remote.checkpoint
        def save(self) -> int:
            return super().save() + 1

        @remote.restore
        def load(self, state: int) -> None:
            self.state = state

    spawner = Derived.options(start_method="fork", checkpoint_path=path)
    with spawner.spawn() as first:
        first.checkpoint_()
    with spawner.spawn() as second:
        assert second.state.__ == 2


def test_what_a_function_makes_has_its_state_too(path: Path) -> None:
    spawner = remoteobj.options(start_method="fork", checkpoint_path=path, checkpoint_every=0.0)
    with spawner.spawn(lambda: Ledger()) as made:
        made.add("a")
    with spawner.spawn(lambda: Ledger()) as made:
        assert made.entries.__ == ["a"]  # type: ignore[attr-defined]
    with remoteobj.spawn(lambda: Ledger()) as made:
        with pytest.raises(TypeError, match="has no place for its state"):
            made.checkpoint_()  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", [{"checkpoint_every": 0.0}, {"checkpoint_path": "state"}])
def test_an_option_for_a_class_without_such_methods_is_refused(
    option: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "mark two methods of Asker"
    refused(TypeError, words, Asker.options(**option))
    with pytest.raises(TypeError, match="and Asker has none"):
        remoteobj.options(start_method="fork", **option).spawn(lambda: Asker())


def test_what_has_no_state_to_keep_says_so() -> None:
    with Asker.options(start_method="fork").spawn() as asker:
        with pytest.raises(TypeError, match=r"Asker has no methods marked @remote\.checkpoint"):
            asker.checkpoint_()
    with Ledger.options(engine="inline").spawn() as ledger:
        with pytest.raises(TypeError, match="checkpoint_ is of the whole object"):
            ledger.entries.checkpoint_()


def test_a_method_that_takes_the_wrong_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match=r"save takes arguments, and @remote\.checkpoint"):

        class Bad:
            @remote.checkpoint
            def save(self, n: int) -> None: ...

    with pytest.raises(TypeError, match=r"load takes more arguments, and @remote\.restore"):

        class Worse:
            @remote.restore
            def load(self, state: int, more: int) -> None: ...

    with pytest.raises(TypeError, match="takes no argument but self"):

        class Worst:
            @remote.restore
            def load(self) -> None: ...


def test_without_a_checkpoint_that_is_due_an_actor_has_the_plain_executor() -> None:
    for every, name in [(None, "SerialExecutor"), (0.0, "_CheckpointingExecutor")]:
        with Ledger.options(start_method="fork", checkpoint_every=every).spawn() as ledger:
            assert ledger.passto(executor_of) == name
