"""A call while two other processes keep both processors busy, against the same over a pipe."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import ExitStack

from benchmarks.call import forked, handle, pipe
from benchmarks.harness import compare, judge, repeated, report

CALLS = 300
ROUNDS = 9


def compute() -> None:
    while True:
        pass


def main() -> None:
    with ExitStack() as stack:
        calls = {
            "remoteobj handle": stack.enter_context(handle()),
            "multiprocessing Pipe, echo": stack.enter_context(pipe()),
        }
        for _ in range(min(2, os.cpu_count() or 1)):
            stack.enter_context(forked(compute))
        time.sleep(0.2)
        rivals = compare({name: repeated(call, CALLS) for name, call in calls.items()}, ROUNDS)
    report("One call while both processors are busy", rivals)
    judge("sync call, both processors busy", rivals, reach=1.0)


if __name__ == "__main__":
    multiprocessing.freeze_support()
    main()
