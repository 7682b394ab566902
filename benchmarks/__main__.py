"""All benchmarks that need no peer: ``python -m benchmarks``.

``--write`` keeps the table and a picture of it, for the documentation.
"""

import sys
from pathlib import Path

from benchmarks import (
    arrays,
    awaits,
    call,
    checkpoints,
    coroutines,
    descriptors,
    fan_out,
    idle,
    import_time,
    loaded,
    looking,
    many,
    memory,
    pacing,
    picture,
    pipelined,
    pools,
    recording,
    slow,
    spawn,
    starts,
    stream,
    tracing,
    vector_env,
    web_service,
)
from benchmarks.harness import FIGURES, machine, table

DOCS = Path(__file__).parents[1] / "docs"

for module in (
    import_time,
    spawn,
    starts,
    call,
    tracing,
    loaded,
    checkpoints,
    coroutines,
    pipelined,
    stream,
    pacing,
    arrays,
    many,
    fan_out,
    awaits,
    vector_env,
    web_service,
    pools,
    recording,
    slow,
    memory,
    descriptors,
    looking,
):
    module.main()
idle_status = idle.main()
print(f"\n{table(FIGURES)}\n\n{machine()}")
if "--write" in sys.argv:
    text = f"{table(FIGURES)}\n\nBy `make bench`, on {machine()}.\n"
    (DOCS / "_results.md").write_text(text, encoding="utf-8")
    (DOCS / "_static" / "performance.svg").write_text(picture.ratios(FIGURES), encoding="utf-8")
sys.exit(idle_status)
