"""What `remoteobj serve` is to serve, as it was typed: a class, its arguments, its options."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, cast

from .. import Handle, options
from .._fast_typing import NamedTuple
from .._spawn import options_for
from ..errors import RemoteObjError
from .arguments import value_of

if TYPE_CHECKING:
    from .. import SpawnOptions

__all__ = ["Target", "TargetError"]


class TargetError(RemoteObjError):
    """What was to be served can't be found, or can't be served so."""


class Target(NamedTuple):
    """What is to be served."""

    factory: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    changes: dict[str, Any]
    """The options that differ from those of the class."""
    restarts: bool
    """Whether a process of it may be followed by another one."""

    @classmethod
    def of(cls, asked: argparse.Namespace) -> Self:
        """It, by what was typed.

        Raises:
            TargetError: there is no such thing, or no such option.
            Exception: what the module raised.
        """
        factory = _found(asked.target)
        args, kwargs = _arguments(asked.arguments)
        changes: dict[str, Any] = {"public": True, "wait": False, **dict(asked.options)}
        for option in ("name", "restart", "start_method"):
            if (value := getattr(asked, option)) is not None:
                changes[option] = value
        try:
            chosen = options_for(factory, cast("SpawnOptions", changes))
        except (TypeError, ValueError) as exc:
            raise TargetError(str(exc)) from exc
        if chosen.name is None:
            changes["name"] = str(getattr(factory, "__name__", asked.target))
        return cls(factory, args, kwargs, changes, chosen.restart != "never")

    def spawn(self) -> Handle[Any]:
        """The actor, as soon as it is started.

        Raises:
            TargetError: it can't be, with these options.
        """
        try:
            return options(**self.changes).spawn(self.factory, *self.args, **self.kwargs)
        except (TypeError, ValueError) as exc:
            raise TargetError(str(exc)) from exc


def _found(target: str) -> Callable[..., Any]:
    """What `module:Class` stands for.

    Raises:
        TargetError: there is no such thing.
    """
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise TargetError(f"{target!r} is not of the form MODULE:CLASS")
    _check_module(module, path)
    sys.path.insert(0, "")  # `python -m` has it there, and a script has not
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise  # it is one that the module imports
        where = " here or among those installed"
        if module.endswith(".py"):
            where = f"; type {module.removesuffix('.py')}:{path}"
        raise TargetError(f"there is no module {exc.name!r}{where}") from exc
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as exc:
            raise TargetError(f"{module} has no {path!r}") from exc
    if not callable(found):
        raise TargetError(f"{target} can't be called, so it makes no object: {found!r}")
    return found  # type: ignore[no-any-return]


def _check_module(module: str, path: str) -> None:
    """Refuse what can't be imported, such as the path of a file."""
    if all(part.isidentifier() for part in module.split(".")):
        return
    directory, name = os.path.split(module)
    name = name.removesuffix(".py")
    hint = f"; go there, and type {name}:{path}" if directory and name.isidentifier() else ""
    raise TargetError(f"{module!r} is no name of a module{hint}")


def _arguments(typed: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """What was typed as arguments of a call.

    >>> _arguments(["1", "b.txt", "fps=30"])
    ([1, 'b.txt'], {'fps': 30})
    """
    args, kwargs = [], {}
    for one in typed:
        name, equals, value = one.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = value_of(value)
        else:
            args.append(value_of(one))
    return args, kwargs
