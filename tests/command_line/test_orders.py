"""What the verbs ask of an observer, and what they print: over one that is made up, and as the page
on the command line shows it."""

from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorInfo, Status
from remoteobj.cli.arguments import ORDERS, parse
from remoteobj.cli.listing import ls
from remoteobj.cli.orders import VERBS
from remoteobj.errors import RemoteObjError

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "command-line.md"
PLANNER = ActorInfo("planner", "Planner", 4712, 4700, "running", 7285.0, False, "process", "a")
FRONT = PLANNER._replace(name="front", class_name="Camera", pid=4711, public=True)
TABLE = PLANNER._replace(name="Table-1", class_name="Table", pid=4733, owner_pid=4730, age=12.0)
STATUS = Status(
    "running",
    "?.plan(...)",
    12.0,
    ("?.plan(...)", "?.goal"),
    1733,
    212 << 20,
    ("MainThread", "remoteobj-control-planner"),
)


class FakeObserver:
    """Notes for how long it may take, and answers as it was told to."""

    def __init__(self, status: Status = STATUS, does: bool = True) -> None:
        self.info = PLANNER
        self.told, self.does = status, does
        self.timeouts: list[float] = []
        self.call: int | None = None

    def status(self, timeout: float) -> Status:
        self.timeouts.append(timeout)
        return self.told

    def stack(self, timeout: float) -> str:
        self.timeouts.append(timeout)
        return "in plan"

    def interrupt(self, timeout: float, call: int | None) -> bool:
        self.timeouts.append(timeout)
        self.call = call
        return self.does

    def stop(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        return self.does

    kill = stop


def said(observer: Any, verb: str, *typed: str) -> str:
    return VERBS[verb](observer, parse([verb, "planner", *typed]))


def shown_on_page(command: str) -> str:
    """What is said there after this command."""
    _, _, rest = PAGE.read_text("utf-8").partition(f"\n$ remoteobj {command}\n")
    return rest.partition("\n```")[0]


def test_what_the_page_shows_of_a_status_is_so() -> None:
    assert said(FakeObserver(), "status") == shown_on_page("status planner")


def test_what_the_page_shows_of_a_list_is_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("remoteobj.cli.listing.actors", lambda: [PLANNER, FRONT, TABLE])
    assert ls(parse(["ls"])) == 0
    assert capsys.readouterr().out.rstrip() == shown_on_page("ls")


def test_what_the_page_shows_of_a_restart_is_so() -> None:
    again = said(FakeObserver(), "kill").replace("planner", "front")
    assert again == shown_on_page("kill front")
    assert said(FakeObserver(does=False), "stop") == "planner: stopped"


def test_a_status_tells_what_its_end_waits_for_and_a_breakpoint() -> None:
    told = STATUS._replace(call=None, queued=(), waits_for=("pump", "fan"), debugged=True)
    lines = dict(line.split(maxsplit=1) for line in said(FakeObserver(told), "status").split("\n"))
    assert lines["state"] == "running (at a breakpoint)"
    assert (lines["call"], lines["queued"]) == ("none", "nothing")
    assert lines["waits"] == "for  pump, fan"


@pytest.mark.parametrize(
    ("queued", "length", "told"),
    [
        (("?.plan(...)",), 1, "?.plan(...)"),
        (("?.plan(...)",), 1234, "?.plan(...), at least 1,233 more"),
        ((), 2, "at least 2"),
    ],
)
def test_a_status_tells_how_many_requests_wait_that_it_does_not_name(
    queued: tuple[str, ...], length: int, told: str
) -> None:
    status = STATUS._replace(queued=queued, queue_length=length)
    assert f"queued   {told}\n" in said(FakeObserver(status), "status")


@pytest.mark.parametrize("verb", ORDERS)
def test_the_time_that_is_typed_is_the_time_it_has(verb: str) -> None:
    observer = FakeObserver()
    said(observer, verb, "--timeout", "3.5")
    said(observer, verb)
    assert observer.timeouts == [3.5, 10.0 if verb == "stop" else 0.5]


def test_a_call_is_interrupted_by_its_number_and_what_is_not_is_an_error() -> None:
    observer = FakeObserver()
    assert said(observer, "interrupt", "--call", "7") == "planner: interrupted"
    assert observer.call == 7
    observer.does = False
    for typed, why in ((["--call", "7"], "no such call"), ([], "nothing that could be")):
        with pytest.raises(RemoteObjError, match=f"planner runs {why}"):
            said(observer, "interrupt", *typed)
