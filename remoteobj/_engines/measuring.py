"""The coverage of the lines that run in an actor, where `coverage` is measuring its owner.

::

    owner   Coverage.current() ── settings ──> the new process
                   ^                                │  its own Coverage, with the same settings
                   │                                v
                   └──── taken in, when it ── .coverage.actor-...  written when it ends in order
                         has ended

So an owner's own report has the lines of its actors, and of theirs. A file that nobody takes in, of
an owner that was killed, is one as `coverage combine` wants it. Of an actor that is killed nothing
is known.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
from typing import Any, Final

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageException

from .._fast_typing import NamedTuple

__all__ = ["Measurement", "Settings", "measure", "measurement_here"]

SETTINGS: Final = (
    "run:branch",
    "run:concurrency",
    "run:context",
    "run:core",
    "run:cover_pylib",
    "run:dynamic_context",
    "run:include",
    "run:omit",
    "run:plugins",
    "run:relative_files",
    "run:source",
    "run:source_pkgs",
    "run:timid",
)
"""Those by which lines are measured. Some come from the command line, and are in no file."""
WARNINGS: Final = ("module-not-imported", "module-not-measured", "no-data-collected")
"""What the owner's measurement warns of where it is true of the whole program."""


class Settings(NamedTuple):
    """How an actor is to be measured."""

    data_file: str
    suffix: str
    """Of the name of the actor's own file."""
    config_file: Any
    options: dict[str, Any]


class Measurement:
    """The part that one actor has in the measurement of its owner."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        options = {}
        for name in SETTINGS:
            with contextlib.suppress(CoverageException):  # this version has no such option
                options[name] = coverage.get_option(name)
        self.settings = Settings(
            os.path.abspath(str(coverage.get_option("run:data_file"))),
            f"actor-{os.urandom(8).hex()}",
            coverage.config.config_file or False,
            options,
        )

    def take_in(self) -> None:
        """The actor has ended: add what it has written to what its owner has."""
        path = f"{self.settings.data_file}.{self.settings.suffix}"
        if not os.path.exists(path):
            return
        try:
            data = self._coverage.get_data()
            if self._coverage is not Coverage.current() and not os.path.exists(
                data.data_filename()
            ):
                return  # it was saved and combined with others': so may this be, by the next
            actors = CoverageData(path)
            actors.read()
            data.update(actors)
            actors.erase()
        except CoverageException as exc:  # it was killed while it wrote, say
            warnings.warn(f"the coverage of an actor is left in {path}: {exc}", stacklevel=1)


def measurement_here() -> Measurement | None:
    """That of an actor that is about to be started; None: its owner is not measured."""
    running = Coverage.current()
    return None if running is None else Measurement(running)


def measure(settings: Settings) -> None:
    """Measure this process, which is new, from now on; the result is written when it ends."""
    if (running := Coverage.current()) is not None:
        running.stop()  # the parent's, in a fork
    coverage = Coverage(
        settings.data_file, settings.suffix, auto_data=False, config_file=settings.config_file
    )
    for name, value in settings.options.items():
        coverage.set_option(name, value)
    coverage.set_option("run:disable_warnings", [*WARNINGS])

    def save() -> None:
        coverage.stop()
        coverage.save()

    coverage.start()
    atexit.register(save)
