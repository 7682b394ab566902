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
from benchmarks.peers import remoteobj_
from benchmarks.peers._base import Peer

__all__ = ["Turns", "ask", "measure"]

ROUNDS = 15

Turns = dict[str, tuple[Contender, Contender]]
"""By the name of the work: remoteobj's figures and the peer's."""


def measure(name: str) -> None:
    """In that interpreter: print the seconds of all rounds, as JSON."""
    found: dict[str, list[list[float]]] = {}
    with remoteobj_.works() as ours:  # first, since it forks, and a peer may start threads
        peer = cast("Peer", importlib.import_module(f"benchmarks.peers.{name.lower()}_"))
        with peer.works() as theirs:
            for work, measured in theirs.items():
                rivals = compare({"remoteobj": ours[work], name: measured}, ROUNDS)
                found[work] = [rival.seconds for rival in rivals]
    print(json.dumps(found))


def ask(name: str, label: str, patience: float) -> Turns:
    """Measure it in another interpreter; no turns if that fails, which it has told by then."""
    # A file: a pipe that a peer's own processes inherit would be read until they end, too.
    with tempfile.TemporaryFile("w+") as output:
        try:
            run(name, patience, output)
        except subprocess.SubprocessError as error:
            print(f"{label}: {error}", flush=True)
            return {}
        output.seek(0)
        *_, figures = output  # whatever the peer itself prints comes before
    return {
        work: (Contender("remoteobj", ours), Contender(label, theirs))
        for work, (ours, theirs) in json.loads(figures).items()
    }


def run(name: str, patience: float, output: IO[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", name]
    with subprocess.Popen(command, stdout=output, start_new_session=True) as child:
        try:
            status = child.wait(patience)
        finally:
            # Its session, and so its group, is named by its own id: all that it left goes with it.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if status:
        raise subprocess.CalledProcessError(status, command)
