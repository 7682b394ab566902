"""`remoteobj attach`: a Python prompt with an actor in it, or one piece of code."""

from __future__ import annotations

import argparse
import ast
import code
import os
import sys
from typing import Any

from .. import Proxy, Status, get
from .._observer import Observer, find
from .orders import told_of
from .streams import complain, is_read
from .text import shown
from .tracebacks import print_theirs

__all__ = ["attach"]


def attach(asked: argparse.Namespace) -> int:
    """Open the prompt, or run the code."""
    sys.path.insert(0, "")  # classes of results are those that one would import here
    with Observer(find(asked.name)) as observer:
        # One that does not answer would let the first call at the prompt wait for ever.
        status = observer.status(asked.timeout)
        names: dict[str, Any] = {"actor": observer.proxy()}
        info = observer.info
        # Of what a function makes, the class is known once that has returned.
        named = ", ".join(filter(None, (shown(info.name), shown(info.class_name))))
        who = f"{named} (pid {info.pid})"
    at = _what_calls_wait_for(status)
    if asked.command is None:
        doing = f"It {at}; calls wait for that." if at else "It is idle."
        _prompt(f"`actor` is {who}. {doing} Ctrl-D leaves it as it is.", names)
        return 0
    if at:
        complain(f"it {at}; waiting for that")
    return _run(asked.command, names)


def _what_calls_wait_for(status: Status) -> str:
    """What it is at, after "it"; empty: nothing."""
    if status.state == "starting":
        return "is starting"
    return "" if status.call is None else f"runs {shown(told_of(status))}"


def _run(command: str, names: dict[str, Any]) -> int:
    """Run code, and print the value of the last expression in it, as a prompt would."""
    names["__name__"] = "__main__"
    told = ""
    try:
        body = ast.parse(command, "<command>").body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "<command>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<command>", "eval"), names)
            value = get(value) if _is_part(value) else value
            told = "" if value is None else f"{value!r}\n"
    except Exception as exc:
        if isinstance(exc, BrokenPipeError) and not is_read():
            raise
        print_theirs(exc)  # as `python -c` would
        return 1
    print(told, end="")
    return 0


def _is_part(value: object) -> bool:
    """Whether it is a proxy of a part of an object, which stands for that part's value."""
    if not isinstance(value, Proxy):
        return False
    try:
        hash(value)
    except TypeError:  # which whole objects never raise, and parts always do
        return True
    return False


def _prompt(banner: str, names: dict[str, Any]) -> None:
    try:
        from IPython import start_ipython  # at start-up only where there is a prompt
        from traitlets.config import Config
    except ImportError:
        _plain_prompt(banner, names)
        return
    config = Config()
    config.TerminalInteractiveShell.banner1 = f"{banner}\n"
    config.TerminalInteractiveShell.confirm_exit = False
    config.TerminalInteractiveShell.enable_tip = False
    if os.environ.get("NO_COLOR"):
        config.TerminalInteractiveShell.colors = "NoColor"
    start_ipython(argv=[], user_ns=names, config=config)


def _plain_prompt(banner: str, names: dict[str, Any]) -> None:
    try:
        import readline  # at start-up only where there is a prompt
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:  # Python was built without it
        pass
    code.interact(banner, local=names, exitmsg="")
