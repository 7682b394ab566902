"""To import all of the package in a fresh interpreter, against what it can't do without.

Most of it is imported when an actor is first spawned. What a module pays that only decorates a
class is shown too.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import Measure, compare, compile_package, judge, report

ROUNDS = 15
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def running(imports: str) -> Measure:
    command = [sys.executable, "-c", TIMED.format(imports)]
    return lambda: float(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    compile_package()
    rivals = {
        "from remoteobj import remote": running("from remoteobj import remote"),
        "remoteobj, all of it": running("from remoteobj import *"),
        "cloudpickle, tblib, mp.connection": running(
            "import multiprocessing.connection, cloudpickle, tblib"
        ),
    }
    found = compare(rivals, ROUNDS)
    report("Importing it", found, "ms")
    decorator, everything, theirs = found
    judge("import to decorate a class", (decorator, theirs), reach=0.5, unit="ms")
    judge("import of all", (everything, theirs), reach=1.3, unit="ms")


if __name__ == "__main__":
    main()
