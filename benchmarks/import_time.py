"""`import remoteobj` in a fresh interpreter, against what it can't do without."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import Measure, compare, compile_package, judge, report

ROUNDS = 15
TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def importing(modules: str) -> Measure:
    command = [sys.executable, "-c", TIMED.format(modules)]
    return lambda: float(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    compile_package()
    rivals = {
        "remoteobj": importing("remoteobj"),
        "cloudpickle, tblib, mp.connection": importing(
            "multiprocessing.connection, cloudpickle, tblib"
        ),
    }
    found = compare(rivals, ROUNDS)
    report("Importing it", found, "ms")
    judge("import", found, reach=1.3, unit="ms")


if __name__ == "__main__":
    main()
