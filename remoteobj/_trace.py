"""`remoteobj.trace`: a timeline of calls across actors, in a file."""

from __future__ import annotations

import atexit
import os
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ._os.fork_safety import fork_generation
from ._os.lazy_import import import_lock

if TYPE_CHECKING:
    from ._timeline import TimelinePlan

__all__ = ["Trace", "trace"]


class Trace:
    """A recording of all calls of this program and its actors: what `trace` gives.

    Use it in `with`, or call `start` and `stop`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._plan: TimelinePlan | None = None
        self._generation = fork_generation[0]

    def start(self) -> Self:
        """Begin to record, in this process and in its actors.

        Raises:
            RuntimeError: it records already.
            OSError: no file can be made beside the one that is to be written.
        """
        if self._plan is not None:
            raise RuntimeError(f"the trace {self.path} is being recorded already; stop it first")
        with import_lock:
            import tempfile  # at start-up few need these

            from . import _observation, _timeline  # as above, at start-up

        directory, name = os.path.split(os.path.abspath(self.path))
        parts = tempfile.mkdtemp(prefix=f"{name}.", suffix=".parts", dir=directory)
        self._plan, self._generation = _timeline.TimelinePlan(parts), fork_generation[0]
        atexit.register(self.stop)
        _observation.observe(self._plan)
        return self

    def stop(self) -> None:
        """Record no more, and write the file. Harmless if it does not record.

        Raises:
            OSError: the file can't be written. What was recorded is left in a directory beside it.
        """
        with import_lock:
            import shutil  # at start-up few need these

            from . import _observation, _timeline_merge  # as above, at start-up

        plan, self._plan = self._plan, None
        if plan is None or self._generation != fork_generation[0]:
            return
        atexit.unregister(self.stop)
        _observation.observe_no_more(plan)
        _timeline_merge.write_trace(plan.directory, self.path)
        shutil.rmtree(plan.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self if self._plan is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def trace(path: str | os.PathLike[str]) -> Trace:
    """Record a timeline of all calls of this program and its actors, for Perfetto.

    The file is written at the end of the `with` block, or by `stop`, in the JSON format of Chrome's
    traces: open it at https://ui.perfetto.dev, or in `chrome://tracing`. See the guide on traces.

    Args:
        path: of the file, which is replaced. Its directory must exist.

    >>> import json, tempfile, remoteobj
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with remoteobj.trace(f"{directory}/out.json"), remoteobj.spawn(dict, a=1) as stock:
    ...         _ = stock.get("a")
    ...     with open(f"{directory}/out.json") as file:
    ...         events = json.load(file)["traceEvents"]
    >>> [one["cat"] for one in events if one["ph"] == "X" and one["name"] == "dict.get"]
    ['call', 'request']
    """
    return Trace(os.fspath(path))
