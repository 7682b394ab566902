"""How long the web service of the examples takes to end, with a request in hand that would not."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from statistics import median

from benchmarks.harness import FIGURES, Figure

EXAMPLES = Path(__file__).parents[1] / "examples"
ROUNDS = 5
REACH = 2.0


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read())


def ignored(url: str) -> None:
    """A request of whose end nobody wants to know."""
    with suppress(urllib.error.URLError, OSError):
        get(url)


def shutdown() -> float:
    """Seconds from SIGTERM to the end of the server."""
    server = subprocess.Popen(
        [sys.executable, "-u", "web_service.py", "0"],
        cwd=EXAMPLES,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with server:
        assert server.stdout is not None
        url = None
        while url is None:
            url = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        slow = threading.Thread(target=ignored, args=(f"{url[0]}/predict?x=1&seconds=60",))
        slow.start()
        while '"running":"' not in get(f"{url[0]}/health"):
            time.sleep(0.01)
        start = time.perf_counter()
        server.send_signal(signal.SIGTERM)
        server.stdout.read()
        server.wait(timeout=30)
        seconds = time.perf_counter() - start
        slow.join()
    return seconds


def main() -> None:
    seconds = median(shutdown() for _ in range(ROUNDS))
    figure = Figure("a web service ends, a request in hand", seconds, "s", REACH)
    FIGURES.append(figure)
    print(f"\nThe end of a web service\n  {seconds:.2f} s, to reach {REACH}: {figure.verdict}")


if __name__ == "__main__":
    main()
