"""pytest, as far as a process needs it that only imports the module of a test.

An actor that is started anew imports the module of its class. That this is a module of tests means
nothing to it, and yet `import pytest` would take five times as long there as all of `remoteobj`
does. So it gets a stand-in: marks and fixtures leave what they decorate as it is, a type is a mere
name in an annotation, a library that a test may do without is not imported, and all else,
`pytest.raises` say, loads pytest at its first use.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["stand_in"]

DECORATING = {"fixture", "hookimpl", "importorskip", "mark", "param", "StashKey"}
ANNOTATING = {
    "CaptureFixture",
    "Config",
    "FixtureRequest",
    "Item",
    "LogCaptureFixture",
    "MarkDecorator",
    "Metafunc",
    "MonkeyPatch",
    "Parser",
    "Pytester",
    "TempPathFactory",
    "TestReport",
}


def stand_in() -> bool:
    """From now on `import pytest` is quick, except where pytest is there already: then False."""
    if "_pytest" in sys.modules:
        return False
    sys.modules["pytest"] = _StandIn("pytest")
    return True


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system and pickle ask what else a module may have
            raise AttributeError(name)
        if "_pytest" not in sys.modules:
            if name in DECORATING:
                return _Decoration()
            if name in ANNOTATING:
                return _Annotation(name)
        return getattr(_pytest(), name)


def _pytest() -> ModuleType:
    if isinstance(sys.modules["pytest"], _StandIn):
        del sys.modules["pytest"]
    return importlib.import_module("pytest")


class _Decoration:
    """Called with what it decorates, it gives that back; called with options, itself."""

    __iter__ = None

    def __getattr__(self, name: str) -> "_Decoration":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: object) -> "_Decoration":
        return self

    def __call__(self, *args: Any, **options: Any) -> Any:
        decorates = len(args) == 1 and callable(args[0]) and not options
        return args[0] if decorates else self


class _Annotation:
    """A type of pytest's; whatever is asked of it is asked of the type itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, key: object) -> "_Annotation":
        return self

    def __or__(self, other: object) -> "_Annotation":
        return self

    __ror__ = __or__

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(_pytest(), self._name), name)
