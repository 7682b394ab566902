"""`remoteobj.trace`: the file that it writes, read as Perfetto reads it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import remoteobj
from remoteobj import ActorDiedError, Pool, Proxy, remote
from remoteobj.testing import Gate
from tests.forks import code_of, in_child
from tests.instructions import Instructions
from tests.timeline_picture import PICTURE, picture
from tests.tools import Scripts
from tests.traced_actors import Baker, Mill, double

Event = dict[str, Any]


class Seen(NamedTuple):
    """A trace that was read."""

    events: list[Event]

    @classmethod
    def at(cls, path: Path) -> Seen:
        return cls(json.loads(path.read_text("utf-8"))["traceEvents"])

    def processes(self) -> dict[int, str]:
        return {one["pid"]: one["args"]["name"] for one in self.named("process_name")}

    def named(self, name: str, ph: str = "", process: str = "") -> list[Event]:
        found = [one for one in self.events if one["name"] == name and one["ph"].startswith(ph)]
        if process:
            processes = self.processes()
            found = [one for one in found if processes[one["pid"]] == process]
        return found

    def slices(self, name: str, cat: str) -> list[Event]:
        return [one for one in self.named(name, "X") if one["cat"] == cat]


def encloses(outer: Event, inner: Event) -> bool:
    return bool(
        outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    )


@pytest.fixture(scope="module", params=["fork", "spawn"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What was recorded of all kinds of calls, some of them on an actor that was there before."""
    method, path = request.param, tmp_path_factory.mktemp("traces") / "out.json"
    with Baker.options(start_method=method, name="baker").spawn(method) as baker:
        baker.bake(0)  # nobody records this
        with remoteobj.trace(path):
            victim = Mill.options(start_method=method, name="victim").spawn()
            with pytest.raises(ActorDiedError):
                victim.die()
            with pytest.raises(ActorDiedError), victim:
                pass
            assert baker.bake(1) == 3
            assert list(baker.loaves(3)) == [0, 2, 4]
            with Mill.options(start_method=method, name="late").spawn() as late:
                with Gate() as gate:
                    parked, queued = late.future_.wait(gate), late.future_.grind(4)
                    gate.wait_for_arrival()
                    gate.open()
                    assert (parked.result(), queued.result()) == (None, 8)
                late.speed.__
                late.cast_.grind(5)
                with pytest.raises(ValueError, match="stuck"):
                    late.break_down()
                remoteobj.each([late, late]).grind(6)
        baker.bake(9)  # nor this
    assert os.listdir(path.parent) == ["out.json"]
    return Seen.at(path)


def test_each_process_is_a_row_with_the_name_of_its_actor(seen: Seen) -> None:
    names = Counter(seen.processes().values())
    for name in ("baker", "mill", "late", "victim"):
        assert names[name] == 1
    assert len(names) == 5, "and the program itself"
    assert os.getpid() in seen.processes()


def test_a_call_is_a_slice_at_both_ends_within_each_other(seen: Seen) -> None:
    [call] = seen.slices("Baker.bake", "call")
    [request] = seen.slices("Baker.bake", "request")
    assert call["pid"] == os.getpid()
    assert seen.processes()[request["pid"]] == "baker"
    assert call["ts"] <= request["ts"], "the clock is the same in both processes"
    inner = [one for one in seen.slices("Mill.grind", "call") if one["pid"] == request["pid"]]
    within = [one for one in inner if encloses(request, one)]
    assert len(within) == 1, "what it calls itself is within its own slice"
    assert within[0]["tid"] == request["tid"]


def test_the_slices_of_a_thread_are_nested_or_apart(seen: Seen) -> None:
    threads: dict[tuple[int, int], list[Event]] = {}
    for one in seen.events:
        if one["ph"] == "X":
            threads.setdefault((one["pid"], one["tid"]), []).append(one)
    for slices in threads.values():
        open_ones: list[Event] = []
        for one in sorted(slices, key=lambda one: (one["ts"], -one["dur"])):
            while open_ones and open_ones[-1]["ts"] + open_ones[-1]["dur"] <= one["ts"]:
                open_ones.pop()
            assert not open_ones or encloses(open_ones[-1], one), (open_ones[-1], one)
            open_ones.append(one)


def test_an_arrow_leads_from_each_call_to_its_request(seen: Seen) -> None:
    starts = {one["id"]: one for one in seen.events if one["ph"] == "s"}
    ends = {one["id"]: one for one in seen.events if one["ph"] == "f"}
    assert len(starts) == len([one for one in seen.events if one["ph"] == "s"])
    assert ends.keys() <= starts.keys()
    for number, end in ends.items():
        start = starts[number]
        assert start["name"] == end["name"]
        assert start["ts"] <= end["ts"]
        assert start["pid"] != end["pid"]
        for point, cat in ((start, "call"), (end, "request")):
            assert any(
                one["ts"] <= point["ts"] <= one["ts"] + one["dur"]
                for one in seen.slices(point["name"], cat)
                if one["tid"] == point["tid"]
            ), "an arrow begins and ends at a slice"


def test_how_long_a_request_has_waited_is_told_apart(seen: Seen) -> None:
    [parked] = seen.slices("Mill.wait", "request")
    waits = seen.named("Mill.grind (waits)", process="late")
    begin, end = waits[0], waits[1]
    assert (begin["ph"], end["ph"], begin["id"]) == ("b", "e", end["id"])
    assert begin["ts"] < parked["ts"] + parked["dur"] <= end["ts"]
    [wait] = [one for one in seen.named("Mill.wait (waits)") if one["ph"] == "e"]
    assert wait["ts"] == parked["ts"]


def test_a_stream_lasts_until_its_end_at_both_ends(seen: Seen) -> None:
    processes = seen.processes()
    ends: dict[str, list[str]] = {}
    for one in seen.named("Baker.loaves (stream)"):
        ends.setdefault(processes[one["pid"]], []).append(one["ph"])
    assert sorted(ends.values()) == [["b"], ["b", "e"]] or list(ends.values()) == [["b", "e"]] * 2
    assert len(seen.slices("Baker.loaves", "request")) >= 2, "each turn of it is a slice"


def test_what_no_thread_waits_for_has_a_row_of_its_own(seen: Seen) -> None:
    begun = {one["id"] for one in seen.events if one["ph"] == "b" and one["cat"] == "call"}
    ended = {one["id"] for one in seen.events if one["ph"] == "e" and one["cat"] == "call"}
    assert begun == ended
    assert len(begun) == 4, "two futures, and a round of two"
    hows = Counter(one["args"].get("how") for one in seen.slices("Mill.grind", "call"))
    assert hows["cast"] == 1
    assert hows["async"] == 3


def test_a_failed_call_says_what_it_raised(seen: Seen) -> None:
    for cat in ("call", "request"):
        [one] = seen.slices("Mill.break_down", cat)
        assert one["args"]["error"] == "ValueError"


def test_of_a_killed_actor_nothing_is_lost_that_it_had_begun(seen: Seen) -> None:
    [request] = seen.slices("Mill.die", "request")
    assert request["args"]["error"] == "unfinished"
    [died] = seen.named("victim ended: SIGKILL")
    assert died["ph"] == "i"
    assert request["ts"] + request["dur"] == pytest.approx(died["ts"])
    assert request["pid"] == died["pid"]
    [call] = seen.slices("Mill.die", "call")
    assert call["args"]["error"] == "no answer"


def test_starts_and_ends_are_instants(seen: Seen) -> None:
    assert len(seen.named("late started", "i")) == 1
    assert len(seen.named("late ended: exit code 0", "i")) == 1


def test_a_property_is_named_as_it_is_asked_for(seen: Seen) -> None:
    assert len(seen.slices("Mill.speed", "call")) == 1


# --- others --------------------------------------------------------------------------------


def test_restarts_tasks_and_callers_in_other_processes_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    recording = remoteobj.trace(path)
    assert recording.start() is recording
    with pytest.raises(RuntimeError, match="already"):
        recording.start()
    with Mill.options(name="lasting", restart="on-failure", backoff=0.0).spawn() as mill:
        with pytest.raises(ActorDiedError):
            mill.die()
        assert code_of(in_child(lambda: mill.grind(1) == 2)) == 0
    with Pool(1) as pool:
        assert pool.submit(double, 4).result() == 8
    with Proxy(Mill()).listen_(bg=True) as local:
        assert code_of(in_child(lambda: local.grind(3) == 6)) == 0
    recording.stop()
    recording.stop()
    seen = Seen.at(path)
    assert len(seen.named("lasting restarted", "i")) == 1
    calls, requests = (seen.slices("Mill.grind", cat) for cat in ("call", "request"))
    assert len(calls) == len(requests) == 2
    assert {one["pid"] for one in calls}.isdisjoint(one["pid"] for one in requests)
    assert os.getpid() not in {one["pid"] for one in calls}
    assert os.getpid() in {one["pid"] for one in requests}, "it serves an object itself"
    assert len(seen.slices("double", "request")) == 1
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("engine", ["thread", "inline"])
def test_an_actor_in_this_process_is_seen_in_it(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with Mill.options(engine=engine).spawn() as before:
        with remoteobj.trace(path), Mill.options(engine=engine).spawn() as later:
            assert (before.grind(1), later.grind(2)) == (2, 4)
        assert before.grind(1) == 2
    seen = Seen.at(path)
    assert len(seen.slices("Mill.grind", "call")) == 2
    assert len(seen.slices("Mill.grind", "request")) == 2
    assert set(seen.processes()) == {os.getpid()}


def test_a_program_that_ends_without_stop_has_its_trace(script: Scripts, tmp_path: Path) -> None:
    source = """
        import sys
        import remoteobj

        remoteobj.trace(sys.argv[1]).start()
        with remoteobj.spawn(dict, a=1) as stock:
            stock.get("a")
        raise SystemExit(3)
    """
    path = tmp_path / "out.json"
    assert script(source, path).finish().code == 3
    assert len(Seen.at(path).slices("dict.get", "request")) == 1


def test_two_traces_at_once_see_the_same(tmp_path: Path) -> None:
    paths = tmp_path / "a.json", tmp_path / "b.json"
    with remoteobj.trace(paths[0]), Mill.spawn() as mill:
        mill.grind(1)
        with remoteobj.trace(paths[1]):
            mill.grind(2)
        mill.grind(3)
    assert [len(Seen.at(path).slices("Mill.grind", "request")) for path in paths] == [3, 1]


def test_a_directory_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remoteobj.trace(tmp_path / "none" / "out.json").start()


def test_the_picture_in_the_documentation_is_drawn_from_such_a_trace() -> None:
    """`make picture` makes it anew."""
    assert PICTURE.read_text("utf-8") == picture()


def test_lines_that_make_no_sense_count_for_nothing(tmp_path: Path) -> None:
    """A disk that is full, say, keeps a part of a line, and then the next one."""
    path = tmp_path / "out.json"
    with remoteobj.trace(path), Mill.options(engine="thread").spawn() as mill:
        mill.grind(1)
        [parts] = tmp_path.glob("*.parts")
        [file] = parts.glob("*.jsonl")
        with file.open("ab") as lines:
            lines.write(b'["call", 1, 2\n["end", 77, 1, ""]\n7\n["no such", 1]\n["stream"]\n')
        mill.grind(2)
    assert len(Seen.at(path).slices("Mill.grind", "call")) == 2


def test_a_trace_whose_parts_are_gone_is_empty_and_valid(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with remoteobj.trace(path):
        [parts] = tmp_path.glob("*.parts")
        shutil.rmtree(parts)
        with Mill.spawn() as mill:
            assert mill.grind(1) == 2
    assert Seen.at(path).events == []


# ------------------------------------------------------------------ what it costs when it is off


@remote
class Counted:
    """An actor that says how many instructions it runs."""

    def begin(self) -> None:
        self.instructions = Instructions()
        self.instructions.begin()

    def end(self) -> dict[str, int]:
        return self.instructions.end()

    def same(self, value: int) -> int:
        return value


def instructions_of_calls(counted: Any) -> list[dict[str, int]]:
    """Of some calls, on both sides; the fewest of several times, since what comes by chance adds to
    them: a finalizer, or a reply in two parts."""
    for i in range(100):
        counted.same(i)
    found: list[tuple[dict[str, int], dict[str, int]]] = []
    for _ in range(10):
        here = Instructions()
        here.begin()
        for i in range(10):
            counted.same(i)
        callers = here.end()
        counted.begin()
        for i in range(10):
            counted.same(i)
        found.append((callers, counted.end()))
    return [min(side, key=lambda one: sum(one.values())) for side in zip(*found, strict=True)]


def test_once_it_is_off_again_a_call_runs_the_very_same_instructions_as_before(
    tmp_path: Path,
) -> None:
    with Counted.options(start_method="fork").spawn() as counted:
        before = instructions_of_calls(counted)
        with remoteobj.trace(tmp_path / "out.json"):
            traced = instructions_of_calls(counted)
        assert [sum(one.values()) for one in traced] > [sum(one.values()) for one in before]
        assert instructions_of_calls(counted) == before
