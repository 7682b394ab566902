"""One peer and remoteobj, in turns, in an interpreter of their own.

So a peer that crashes, hangs or can't bear a fork takes nothing with it but its own row.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO, cast

from benchmarks.harness import Contender, compare
from benchmarks.peers._base import Peer

__all__ = ["Turns", "ask", "measure"]

ROUNDS = 15

Turns = dict[str, tuple[Contender, Contender]]
"""By the name of the work: remoteobj's figures and the peer's."""


def measure(name: str, ours: str = "remoteobj") -> None:
    """In that interpreter: print the seconds of all rounds, as JSON."""
    found: dict[str, list[list[float]]] = {}
    # Ours first, since it forks, and a peer may start threads.
    with _peer(ours).works() as mine, _peer(name).works() as theirs:
        for work in (work for work in theirs if work in mine):
            rivals = compare({ours: mine[work], name: theirs[work]}, ROUNDS)
            found[work] = [rival.seconds for rival in rivals]
    print(json.dumps(found))


def _peer(name: str) -> Peer:
    return cast("Peer", importlib.import_module(f"benchmarks.peers.{name.lower()}_"))


def ask(name: str, label: str, patience: float, ours: str = "remoteobj") -> Turns:
    """Measure it in another interpreter; no turns if that fails, which it has told by then.

    Args:
        name: the module of the peer, without its last underscore.
        label: its name in what is printed.
        patience: seconds.
        ours: the module of remoteobj: `remoteobj`, or `on_ray`.
    """
    # A file: a pipe that a peer's own processes inherit would be read until they end, too.
    with tempfile.TemporaryFile("w+") as output:
        try:
            run([name, ours], patience, output)
        except subprocess.SubprocessError as error:
            print(f"{label}: {error}", flush=True)
            return {}
        output.seek(0)
        *_, figures = output  # whatever the peer itself prints comes before
    return {
        work: (Contender(ours, mine), Contender(label, theirs))
        for work, (mine, theirs) in json.loads(figures).items()
    }


def run(names: list[str], patience: float, output: IO[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", *names]
    with subprocess.Popen(command, stdout=output, start_new_session=True) as child:
        try:
            status = child.wait(patience)
        finally:
            # Its session, and so its group, is named by its own id: all that it left goes with it.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if status:
        raise subprocess.CalledProcessError(status, command)
