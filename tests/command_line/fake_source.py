"""A source of rows for `top` without any actor: it shows what a test has put in, and notes what it
was told to do."""

from collections.abc import Collection

from remoteobj.cli.rows import Row
from remoteobj.errors import RemoteObjError

ROWS = [
    Row("a", "front", "Camera", 4711, "running", "?.grab(...)", 0.021, 0, 29.8, 0.34, 84 << 20),
    Row("b", "planner", "Planner", 4712, "running", "?.plan(...)", 12.4, 3, 0.5, 0.99, 212 << 20),
    Row("c", "table-1", "dict", 4713, "running", None, 0.0, 0, 1250.0, 0.08, 9 << 20),
    Row("d", "arm", "Arm", 4714, "silent", "?.move_to(...)", 71.0, 1, 0.0, 0.0, 31 << 20),
    Row("e", "index", "Index", 4715, "draining", "?.add(...)", 1.4, 12, 88.0, 0.61, 640 << 20),
    Row("f", "model", "Model", 4716, "starting", None, 0.0, 0, 0.0, 1.0, 1900 << 20),
]


class FakeSource:
    """What is shown is `rows`; if `error` is set, each method raises it."""

    def __init__(self, rows: Collection[Row] = ROWS) -> None:
        self.rows = list(rows)
        self.wanted: list[list[str]] = []
        self.did: list[tuple[str, str]] = []
        self.error: RemoteObjError | None = None

    def look(self, on_screen: Collection[str]) -> list[Row]:
        self._check()
        self.wanted.append(list(on_screen))
        return self.rows

    def stack(self, key: str) -> str:
        self._note("stack", key)
        return 'Thread MainThread:\n  File "front.py", line 7, in grab\n    \x1b[2Jread(self)\n'

    def interrupt(self, key: str) -> bool:
        self._note("interrupt", key)
        return key not in ("c", "f")

    def stop(self, key: str) -> bool:
        self._note("stop", key)
        return key == "e"

    def kill(self, key: str) -> bool:
        self._note("kill", key)
        return key == "e"

    def _note(self, order: str, key: str) -> None:
        self._check()
        self.did.append((order, key))

    def _check(self) -> None:
        if self.error is not None:
            raise self.error
