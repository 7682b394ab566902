"""All benchmarks that need no peer: ``python -m benchmarks``; ``--write`` keeps the table."""

import os
import platform
import sys
from pathlib import Path

from benchmarks import (
    arrays,
    call,
    idle,
    import_time,
    loaded,
    many,
    memory,
    pipelined,
    spawn,
    stream,
)
from benchmarks.harness import FIGURES

RESULTS = Path(__file__).parents[1] / "docs" / "_results.md"


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {cpu}, {system}, Python {platform.python_version()}"


def table() -> str:
    rows = [
        "| what | ours | against | theirs | ratio | to reach | |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in FIGURES:
        verdict = "reached" if one.reached else "missed"
        rows.append(
            f"| {one.what} | {one.ours} | {one.against} | {one.theirs} | {one.ratio:.2f} "
            f"| {one.reach:g} | {verdict} |"
        )
    return "\n".join(rows)


for module in (import_time, spawn, call, loaded, pipelined, stream, arrays, many, memory):
    module.main()
idle_status = idle.main()
print(f"\n{table()}\n\n{machine()}")
if "--write" in sys.argv:
    RESULTS.write_text(f"{table()}\n\nBy `make bench`, on {machine()}.\n", encoding="utf-8")
sys.exit(idle_status)
