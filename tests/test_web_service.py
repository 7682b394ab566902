"""The web service of the examples, as a program and by real HTTP: how it serves and how it ends."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.tools import Call, until, until_gone

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 20.0
ENDING = 10.0
"""Seconds that the server may take to end: it means to take less than two. A request in hand takes
far longer."""


class Answer(NamedTuple):
    status: int
    body: str


class Service:
    """The program, on a port that the system has chosen."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error::ResourceWarning", "web_service.py", "0"],
            cwd=EXAMPLES,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.log = ""
        for line in self.process.stdout:
            self.log += line
            if match := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(match[1])
                break
        else:
            pytest.fail(f"it does not start:\n{self.log}")

    def get(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.get("/health").body)
        return answer

    def in_hand(self, path: str) -> Call:
        """A request that the actor has begun to execute."""
        call = Call(self.get, path)
        until(lambda: self.health()["running"])
        return call

    def end(self, number: signal.Signals) -> str:
        """What it wrote, when it has ended by this signal, and its actor too."""
        actor = self.health()["pid"]
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=ENDING)
        assert until_gone(actor, 0.0), "the server leaves its actor behind"
        return self.log + output

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def service() -> Iterator[Service]:
    started = Service()
    yield started
    started.close()


def test_it_serves_and_goes_on_when_its_actor_was_killed(service: Service) -> None:
    assert service.get("/predict?x=3") == (200, "6.0")
    assert service.get("/steps?count=3") == (200, "0.0\n2.0\n4.0\n")
    first = service.health()
    assert first["pid"] != service.process.pid

    os.kill(first["pid"], signal.SIGKILL)
    assert until_gone(first["pid"], SECONDS)
    assert service.get("/predict?x=4") == (200, "8.0")
    second = service.health()
    assert (first["restarts"], second["restarts"]) == (0, 1)
    assert second["pid"] != first["pid"]


def test_of_many_requests_that_meet_a_crash_each_is_answered_and_the_actor_is_restarted_once(
    service: Service,
) -> None:
    running = service.in_hand("/predict?x=1&seconds=60")
    behind = [Call(service.get, f"/predict?x={x}") for x in range(8)]
    sent = http.client.HTTPConnection.getresponse
    until(lambda: all(call.is_in(sent) for call in behind))
    os.kill(service.health()["pid"], signal.SIGKILL)
    answer = running.result()
    assert answer.status == 503
    assert "may have been executed" in answer.body
    # None of these had begun, and that is sure, so each was asked again.
    for x, call in enumerate(behind):
        assert call.result() == (200, f"{2.0 * x}")
    assert service.health()["restarts"] == 1


def test_a_request_that_ends_soon_is_finished_before_the_server_ends(service: Service) -> None:
    request = service.in_hand("/predict?x=3&seconds=0.3")
    output = service.end(signal.SIGINT)
    assert request.result() == (200, "6.0"), output


def test_a_request_that_takes_too_long_is_given_up_when_the_server_ends(service: Service) -> None:
    request = service.in_hand("/predict?x=3&seconds=60")
    output = service.end(signal.SIGTERM)
    assert request.result() == (503, '{"detail":"the server is being stopped"}'), output
    assert "Application shutdown complete" in output
    assert "Traceback" not in output
