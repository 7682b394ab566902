"""The requests of an actor are recorded, survive its death, and are run again elsewhere."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import remoteobj
from remoteobj import ActorDiedError, UnsendableError, current, remote
from remoteobj.cli.program import main
from remoteobj.replay import Record, Replay, Step
from tests.conftest import Launch


@remote
class Ledger:
    """Entries, which are its state."""

    def __init__(self, *entries: Any) -> None:
        self.entries = list(entries)

    def add(self, entry: Any) -> int:
        self.entries.append(entry)
        return len(self.entries)

    def fail(self, entry: Any) -> None:
        raise KeyError(entry)

    def ask(self, other: Any) -> Any:
        return other.add(1)

    def add_to_itself(self) -> Any:
        return self.remote.add("own")

    def double(self, array: Any) -> Any:
        return array * 2

    def pids(self, count: int) -> Any:
        return np.full(count, os.getpid())

    def talk(self) -> Iterator[Any]:
        heard: Any = None
        while True:
            try:
                heard = yield heard
            except KeyError as exc:
                heard = f"caught {exc}"

    def die(self, how: int = signal.SIGKILL) -> None:
        self.entries.append("last")
        os.kill(os.getpid(), how)

    @remote.checkpoint
    def save(self) -> Any:
        return self.entries

    @remote.restore
    def load(self, entries: Any) -> None:
        self.entries = entries


@remote
class Talker:
    """Its methods are awaited."""

    def __init__(self) -> None:
        self.sum = 0

    async def add(self, n: int) -> int:
        self.sum += n
        return self.sum

    async def count(self, n: int) -> AsyncIterator[int]:
        for one in range(n):
            yield one

    async def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def dies(call: Callable[..., Any], *args: Any) -> ActorDiedError:
    with pytest.raises(ActorDiedError) as caught:
        call(*args)
    return caught.value


def only(directory: Path) -> Record:
    (path,) = directory.glob("*.record")
    return Record.read(path)


def record_of(error: ActorDiedError) -> Record:
    assert error.report.record is not None
    return Record.read(error.report.record)


def told(record: Record) -> list[tuple[str, str, str | None]]:
    """Each request: its kind, what it calls, what came of it."""
    return [
        (one.kind, one.call, None if one.outcome is None else str(one.outcome))
        for one in record.requests
    ]


def replayed(record: Record) -> tuple[Any, list[Step]]:
    """The object, and the steps, of a replay in this process, but for what killed the actor."""
    with Replay(record) as replay:
        requests = [one for one in record.requests if one is not record.fatal]
        steps = [replay.run(one) for one in requests]
        obj = replay.obj
    with pytest.raises(RuntimeError, match="inside an actor"):
        current()  # this process is none, once it is over
    return obj, steps


def typed(*argv: object, text: str = "") -> subprocess.CompletedProcess[str]:
    """Type a command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "remoteobj", *map(str, argv)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def killed(tmp_path: Path) -> ActorDiedError:
    """The death of an actor that has run a few requests."""
    handle = Ledger.options(record=tmp_path, start_method="fork", name="../lédger").spawn("born")
    with pytest.raises(KeyError):
        handle.fail("k")
    handle.cast_.add("cast")
    handle.passto(lambda one: one.add("passed"))
    error = dies(handle.die, signal.SIGSEGV)
    handle.stop_()
    return error


# ------------------------------------------------------------------ what is recorded


def test_all_requests_are_in_the_record_up_to_the_one_that_killed_the_actor(
    killed: ActorDiedError, tmp_path: Path
) -> None:
    record = only(tmp_path)
    assert killed.report.record == record.path
    assert told(record) == [
        ("make", "the object", "done"),
        ("call", "?.fail(...)", "raised KeyError: 'k'"),
        ("cast", "?.add(...)", "done"),
        ("call", "f(?)", "3"),
        ("call", "?.die(...)", None),
    ]
    assert record.fatal is record.requests[-1]
    assert {one.caller for one in record.requests[1:]} == {"owner"}
    assert (record.about["pid"], record.about["name"]) == (killed.report.pid, "../lédger")
    assert (record.cut, record.torn, record.state) == (0, 0, None)


def test_the_file_is_its_users_alone_and_its_name_tells_actor_and_process(
    killed: ActorDiedError,
) -> None:
    path = Path(killed.report.record or "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name.startswith("__l_dger-2")
    assert path.name.endswith(f"-{killed.report.pid}.record")


def test_the_error_of_a_death_names_the_file_and_the_command(killed: ActorDiedError) -> None:
    command = f"(to run that again: python -m remoteobj replay {killed.report.record})"
    assert command in str(killed)
    assert command in str(killed.report)


def test_an_orderly_end_removes_the_file_unless_it_is_to_be_kept(
    launch: Launch, tmp_path: Path
) -> None:
    gone, kept = tmp_path / "not" / "there", tmp_path / "kept"
    for directory, keep in ((gone, False), (kept, True)):
        recorded = Ledger.options(record=directory, record_keep=keep, **launch)
        with recorded.spawn() as ledger:
            ledger.add(1)
    assert list(gone.iterdir()) == []
    assert told(only(kept)) == [("make", "the object", "done"), ("call", "?.add(...)", "1")]
    assert only(kept).fatal is None


def test_a_failed_init_leaves_a_record_whose_replay_fails_too(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remoteobj.options(record=tmp_path, start_method="fork").spawn(open, tmp_path / "none")
    record = only(tmp_path)
    assert "FileNotFoundError" in str(told(record)[0][2])
    _, (step,) = replayed(record)
    assert step.same
    assert isinstance(step.error, FileNotFoundError)


def test_one_way_failures_are_the_outcome_of_their_request(tmp_path: Path) -> None:
    exc = remoteobj.Except()
    handle = Ledger.options(record=tmp_path, start_method="fork", exc=exc).spawn()
    handle.cast_.fail("c")
    record = record_of(dies(handle.die))
    with pytest.raises(KeyError):
        handle.exc_.raise_any("work")
    handle.stop_()
    assert told(record)[1] == ("cast", "?.fail(...)", "raised KeyError: 'c'")


def test_arguments_that_cannot_be_pickled_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsendableError, match=r"args\[1\]"):
        Ledger.options(record=tmp_path, start_method="fork").spawn(1, sys._getframe())
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_made_is_told_at_the_spawn(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Ledger.options(record=tmp_path / "file").spawn()


@pytest.mark.parametrize(
    "wrong", [{"record": 1}, {"record_limit": 10}, {"record_requests": 1}, {"record_keep": 2}]
)
def test_options_that_cannot_be_right_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Ledger.options(**wrong)


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    plain: Any = remoteobj.options(start_method="forkserver").spawn(dict)
    with plain:
        loaded = plain.passto(lambda _: [one for one in sys.modules if "_actor.record" in one])
    assert loaded == []


def test_an_actor_whose_disk_is_full_goes_on_without_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def allow_little() -> None:
        import resource  # start-up: where it is needed

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    limited = Ledger.options(record=tmp_path, start_method="fork", initializer=allow_little)
    with limited.spawn() as ledger:
        assert [ledger.add(b"x" * 30_000) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert "no more requests are recorded" in caplog.text


# ------------------------------------------------------------------ bounds and checkpoints


def test_the_eldest_requests_are_cut_off_by_number_and_the_record_says_so(tmp_path: Path) -> None:
    recorded = Ledger.options(record=tmp_path, record_requests=10, start_method="fork")
    handle = recorded.spawn()
    for n in range(57):
        handle.add(n)
    record = record_of(dies(handle.die))
    handle.stop_()
    assert 5 <= len(record.requests) <= 10
    assert record.requests[-1].number == 58
    assert record.cut == 58 - len(record.requests)


def test_the_eldest_are_cut_off_by_bytes_and_what_is_too_large_is_named(tmp_path: Path) -> None:
    recorded = Ledger.options(record=tmp_path, record_limit=400_000, start_method="fork")
    handle = recorded.spawn()
    for _ in range(20):
        handle.add(b"x" * 50_000)
    handle.double(np.zeros(30_000))  # 240 kB, which do not lie within the pickle
    handle.double(np.zeros(100_000))
    error = dies(handle.die)
    handle.stop_()
    record = record_of(error)
    assert os.path.getsize(record.path) < 500_000
    assert record.cut > 10
    small, large = record.requests[-3:-1]
    assert (small.cut, large.cut, large.call) == (False, True, "?.double(...)")
    with Replay(record) as replay:
        replay.run(record.requests[0]._replace(number=0, kind="make"))
        assert replay.run(small).same
        assert replay.run(large).text == "not run: its arguments could not be kept"


def test_at_a_checkpoint_the_record_begins_anew_with_the_state(tmp_path: Path) -> None:
    options: dict[str, Any] = {"restart": "on-failure", "backoff": 0.01, "start_method": "fork"}
    with Ledger.options(record=tmp_path, **options).spawn("a") as ledger:
        ledger.add("b")
        ledger.checkpoint_()
        ledger.add("c")
        first = record_of(dies(ledger.die))
        ledger.add("d")
        second = record_of(dies(ledger.die))
    assert first.path != second.path
    assert [one[1] for one in told(first)] == ["f(?)", "?.add(...)", "?.die(...)"]
    assert [one[1] for one in told(second)] == ["the object", "?.add(...)", "?.die(...)"]
    obj, steps = replayed(second)
    assert obj.entries == ["a", "b", "d"]
    assert all(step.same for step in steps)
    assert first.requests[0].before_state
    assert main(["replay", first.path, "--until", "3"]) == 0


def test_after_a_checkpoint_for_each_request_only_the_last_one_is_there(tmp_path: Path) -> None:
    handle = Ledger.options(record=tmp_path, checkpoint_every=0.0, start_method="fork").spawn()
    handle.add(1)
    record = record_of(dies(handle.die))
    handle.stop_()
    assert told(record) == [("call", "?.die(...)", None)]
    assert record.state is not None


# ------------------------------------------------------------------ reading


def test_a_torn_or_damaged_end_is_left_out_wherever_it_is_torn(
    killed: ActorDiedError, tmp_path: Path
) -> None:
    whole = Path(killed.report.record or "").read_bytes()
    record = only(tmp_path)
    torn = tmp_path / "torn"
    begin = whole.index(b"\xabreq\5")  # of the first request
    for size in range(begin, len(whole), 7):
        torn.write_bytes(whole[:size])
        found = Record.read(torn)
        assert told(found)[:-1] == told(record)[: max(0, len(found.requests) - 1)]
        torn.write_bytes(whole[:size] + bytes([whole[size] ^ 1]) + whole[size + 1 :])
        assert told(Record.read(torn)) != told(record)


@pytest.mark.parametrize(
    "content", [b"", b"something", b"remoteobj record\1", b"remoteobj state\1"]
)
def test_what_is_no_record_is_one_line_of_an_error(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="other is"):
        Record.read(path)
    assert main(["replay", str(path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_file_that_others_can_write_is_not_run(
    killed: ActorDiedError, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed.report.record or ""
    os.chmod(path, 0o620)
    with pytest.raises(PermissionError, match="can be written by others"):
        Record.read(path)
    assert main(["replay", path, "--list"]) == 1
    os.mkfifo(f"{path}.fifo")
    with pytest.raises(OSError, match="is no file"):
        Record.read(f"{path}.fifo")


# ------------------------------------------------------------------ running again


def test_a_replay_in_a_program_has_the_object_and_each_outcome(killed: ActorDiedError) -> None:
    obj, steps = replayed(record_of(killed))
    assert obj.entries == ["born", "cast", "passed"]
    assert [step.same for step in steps] == [True] * 4
    assert isinstance(steps[1].error, KeyError)


def test_a_replay_ends_as_the_actor_did_and_announces_that(killed: ActorDiedError) -> None:
    ended = typed("replay", killed.report.record)
    assert ended.returncode == -signal.SIGSEGV
    *_, announced, last = ended.stdout.splitlines()
    assert announced == "the actor died while it ran this one:"
    assert f"?.die({signal.SIGSEGV!r})" in last
    assert ended.stdout.count("(as recorded)") == 4
    assert "in die" in ended.stderr  # faulthandler's


def test_a_replay_until_some_request_comes_out_as_it_was_recorded(
    killed: ActorDiedError, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed.report.record or ""
    assert main(["replay", path, "--until", "2"]) == 0
    assert "(as recorded)" in capsys.readouterr().out
    assert main(["replay", path, "--until", "9"]) == 1
    assert "no request of number 9" in capsys.readouterr().err


def test_a_list_runs_nothing(killed: ActorDiedError, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", killed.report.record or "", "--list"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.endswith("owner call ?.die(...) -> it was running when the actor died")


def test_json_tells_programs_the_same(
    killed: ActorDiedError, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed.report.record or ""
    assert main(["replay", path, "--list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["fatal"] for one in listed] == [False] * 4 + [True]
    assert main(["replay", path, "--until", "1", "--json"]) == 0
    *_, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (last["call"], last["outcome"], last["same"]) == (
        "?.fail('k')",
        "raised KeyError: 'k'",
        True,
    )


def test_pdb_stops_at_the_first_line_of_what_killed_the_actor(killed: ActorDiedError) -> None:
    commands = "p how\nn\np self.entries[-1]\nq\n"
    ended = typed("replay", killed.report.record, "--pdb", text=commands)
    assert ended.returncode == 0, ended.stderr
    assert f"(Pdb) {signal.SIGSEGV!r}" in ended.stdout
    assert "(Pdb) 'last'" in ended.stdout


def test_pdb_goes_to_where_an_exception_was_raised(killed: ActorDiedError) -> None:
    path = killed.report.record
    ended = typed("replay", path, "--until", 1, "--pdb", text="c\np 'at', entry\nq\n")
    assert ended.returncode == 0, ended.stderr
    assert "('at', 'k')" in ended.stdout


def test_what_comes_out_otherwise_is_told_with_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.options(record=tmp_path, record_keep=True, start_method="fork").spawn() as ledger:
        pid = ledger.passto(lambda _: os.getpid())
    path = only(tmp_path).path
    assert main(["replay", path]) == 3
    assert f"-> {os.getpid()}  (DIFFERENT: recorded was {pid})" in capsys.readouterr().out


def test_a_large_array_that_comes_out_otherwise_is_told_and_the_replay_goes_on(
    tmp_path: Path,
) -> None:
    handle = Ledger.options(record=tmp_path, start_method="fork").spawn()
    handle.pids(300_000)
    handle.add(1)
    record = record_of(dies(handle.die))
    handle.stop_()
    _, (_, pids, added) = replayed(record)
    assert not pids.same
    assert added.same


def test_other_actors_are_not_called_in_a_replay_and_the_error_names_them(tmp_path: Path) -> None:
    recorded = Ledger.options(record=tmp_path, start_method="fork")
    with Ledger.options(name="other", start_method="fork").spawn() as other:
        handle = recorded.spawn(other)
        assert handle.ask(other) == 1
        assert handle.add_to_itself() == 2
        record = record_of(dies(handle.die))
        handle.stop_()
        _, (_, asked, own) = replayed(record)
        assert other.entries.__ == [1]
    assert not asked.same
    assert str(asked.error).startswith("other, which is not called in a replay, can't be called")
    assert own.same


def test_each_step_of_a_stream_is_run_again_with_what_it_was_sent(tmp_path: Path) -> None:
    handle = Ledger.options(record=tmp_path, start_method="fork").spawn()
    stream: Any = handle.talk()
    assert next(stream) is None
    assert stream.send("hello") == "hello"
    assert stream.throw(KeyError("k")) == "caught 'k'"
    stream.close()
    record = record_of(dies(handle.die))
    handle.stop_()
    kinds = [one.kind for one in record.requests]
    assert kinds[:5] == ["make", "call", "next", "send", "throw"]
    assert kinds[-2:] == ["close", "call"]
    _, steps = replayed(record)
    assert all(step.same for step in steps)


def test_what_is_awaited_is_recorded_as_it_began_and_awaited_in_a_replay(tmp_path: Path) -> None:
    handle = Talker.options(record=tmp_path, start_method="fork").spawn()
    futures = [handle.future_.add(n) for n in (1, 2, 3)]
    assert [one.result() for one in futures] == [1, 3, 6]
    assert list(handle.count(2)) == [0, 1]
    record = record_of(dies(handle.die))
    handle.stop_()
    obj, steps = replayed(record)
    assert obj.sum == 6
    assert [step.same for step in steps] == [True] * 8
    assert record.fatal is record.requests[-1]


def test_threads_record_in_the_order_in_which_they_begin(tmp_path: Path) -> None:
    handle = Ledger.options(record=tmp_path, max_concurrency=2, start_method="fork").spawn()
    for future in [handle.future_.add(n) for n in range(6)]:
        future.result()
    record = record_of(dies(handle.die))
    handle.stop_()
    assert [one.number for one in record.requests] == [*range(8)]
    assert len(replayed(record)[0].entries) == 6


def test_the_tasks_of_a_pool_are_replayed_without_the_pool(tmp_path: Path) -> None:
    with remoteobj.options(record=tmp_path, start_method="fork").pool(1, Ledger, "a") as pool:
        assert pool.submit(Ledger.add, "b").result() == 2
        assert list(pool.map(Ledger.add, ["c", "d"])) == [3, 4]
        with pytest.raises(ActorDiedError) as caught:
            pool.submit(Ledger.die).result()
    record = record_of(caught.value)
    obj, steps = replayed(record)
    assert obj.entries == ["a", "b", "c", "d"]
    assert all(step.same for step in steps)
    with Replay(record) as replay:
        assert [replay.shown(one) for one in record.requests][-1].endswith("Ledger.die()")


def test_each_child_of_a_supervisor_has_a_record_per_incarnation(tmp_path: Path) -> None:
    with remoteobj.Supervisor(record=tmp_path, start_method="fork") as supervisor:
        child = supervisor.spawn(Ledger, "a")
        paths = {record_of(dies(child.die)).path for _ in range(2)}
    assert len(paths) == 2


SCRIPT = """
    import os, pickle, signal, sys
    from dataclasses import dataclass
    import remoteobj

    @dataclass
    class Point:
        x: int

    @remoteobj.remote
    class Sum:
        def __init__(self, start):
            self.sum = start.x
        def add(self, point):
            self.sum += point.x
            return pickle.loads(pickle.dumps(Point(self.sum)))  # which find it in `__main__`
        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        for method in sys.argv[2:]:
            try:
                with Sum.options(record=sys.argv[1], start_method=method).spawn(Point(1)) as one:
                    one.add(Point(2))
                    one.passto(lambda obj: obj.add(Point(3)))
                    one.die()
            except remoteobj.ActorDiedError as exc:
                print(exc.report.record)
"""


def test_classes_of_a_script_are_found_in_a_replay(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    methods = ["fork", "spawn", "forkserver"]
    made = subprocess.run(
        [sys.executable, script, tmp_path / "run", *methods],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    paths = made.stdout.split()
    assert len(paths) == 3, made.stderr
    for path in paths:
        ended = typed("replay", path)
        assert ended.returncode == -signal.SIGKILL, ended
        assert ended.stdout.count("(as recorded)") == 3
        assert "?.add(Point(x=2))" in ended.stdout
