"""The verb `replay`: the requests of an actor that has died are run again, here."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import pdb
import platform
import sys
import sysconfig
import time
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from ..errors import RemoteObjError, describe
from ..replay import Record, Replay, Request, Step
from .text import shown

__all__ = ["replay"]

DIFFERENT: Final = 3
"""The exit code where something is not as it was recorded."""
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep
_PYTHONS: Final = sysconfig.get_path("stdlib") + os.sep
_PACKAGES: Final = sysconfig.get_path("purelib") + os.sep


class NoReplayError(RemoteObjError):
    """There is nothing that could be run."""


def replay(asked: argparse.Namespace) -> int:
    """Show what is in the file, or run it."""
    try:
        record = Record.read(asked.file)
    except ValueError as exc:
        raise NoReplayError(str(exc)) from None
    requests = record.requests
    if asked.until is not None:
        requests = tuple(one for one in requests if one.number <= asked.until)
        if not requests or requests[-1].number != asked.until:
            raise NoReplayError(f"there is no request of number {asked.until} in {record.path}")
    printer: _Printer = _JsonPrinter(record) if asked.json else _Printer(record)
    printer.head()
    if asked.list:
        for request in requests:
            printer.listed(request)
        return 0
    if not requests:
        raise NoReplayError(f"there is no request in {record.path}")
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stderr may be no file
        faulthandler.enable()
    sys.stdout.flush()
    with Replay(record) as replayed:
        return _run(replayed, requests, printer, asked.pdb)


def _run(replayed: Replay, requests: Sequence[Request], printer: _Printer, debug: bool) -> int:
    if requests[0].number != 0:  # cut off, or over before the checkpoint
        made = replayed.run(requests[0]._replace(number=0, kind="make", cut=False, stream=0))
        if made.error is not None:
            raise NoReplayError(f"the object can't be made: {describe(made.error)}")
    fatal = replayed.record.fatal
    code = 0
    for request in requests:
        printer.before(request, replayed.shown(request), request is fatal)
        try:
            if debug and request is requests[-1]:
                step = replayed.run(request, _stopping)
                if step.error is not None:
                    pdb.post_mortem(_users_traceback(step.error))
            else:
                step = replayed.run(request)
        except BdbQuit:
            return code
        printer.after(step, request is fatal)
        if not step.same:
            code = DIFFERENT
        if request.number == 0 and step.error is not None:
            raise NoReplayError(f"the object can't be made: {describe(step.error)}")
    return code


# --- the debugger --------------------------------------------------------------------------


def _stopping(call: Callable[[], Any]) -> Any:
    """Call it, and stop under pdb at the first line of code that is the user's."""
    debugger = pdb.Pdb(skip=["remoteobj", "remoteobj.*"])

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        if event == "call" and _is_users(frame.f_code.co_filename):
            debugger.set_trace(frame)
            return debugger.trace_dispatch
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


def _is_users(file: str) -> bool:
    if file.startswith((_OURS, "<frozen ")):
        return False
    return not file.startswith(_PYTHONS) or file.startswith(_PACKAGES)


def _users_traceback(error: BaseException) -> Any:
    """From the first line on that is the user's."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        if _is_users(traceback.tb_frame.f_code.co_filename):
            break
        traceback = traceback.tb_next
    return traceback


# --- what is printed -------------------------------------------------------------------------


class _Printer:
    """Lines for people: each request before it runs, and then what came of it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.wide = len(str(record.requests[-1].number)) if record.requests else 1

    def head(self) -> None:
        record, about = self.record, self.record.about
        begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about["time"]))
        named = about["class"].rpartition(":")[2]
        print(f"{shown(about['name'])}, {shown(named)} (pid {about['pid']}), begun {begun}")
        version = platform.python_version()
        if about["python"] != version:
            print(f"it ran on Python {about['python']}, and this is {version}")
        if record.state is not None:
            print("it begins with the state of a checkpoint")
        if record.cut:
            print(f"{record.cut} requests before these were cut off: the state may differ")
        if record.torn:
            print(f"the last {record.torn} bytes are torn, and left out")

    def listed(self, request: Request) -> None:
        outcome = request.outcome
        came = "it was running when the actor died" if outcome is None else str(outcome)
        self._line(request, request.call, f"-> {came}")

    def before(self, request: Request, text: str, fatal: bool) -> None:
        if fatal:
            print("the actor died while it ran this one:")
        self._line(request, text, "...")

    def after(self, step: Step, fatal: bool) -> None:
        before = step.request.outcome
        verdict = "as recorded"
        if step.outcome is None:
            verdict = "the state may differ from here on"
        elif before is None:
            verdict = "here it came through"
        elif not step.same:
            verdict = f"DIFFERENT: recorded was {shown(str(before))}"
        print(f"{'':{self.wide}}    -> {shown(step.text)}  ({verdict})", flush=True)

    def _line(self, request: Request, text: str, end: str) -> None:
        moment = time.strftime("%H:%M:%S", time.localtime(request.time))
        millis = int(request.time % 1 * 1000)
        known = " (begun before the checkpoint)" if request.before_state and request.number else ""
        caller = f" {shown(request.caller)}" if request.caller else ""
        print(
            f"{request.number:{self.wide}}  {moment}.{millis:03}{caller} {request.kind} "
            f"{shown(text)}{known} {end}",
            flush=True,
        )


class _JsonPrinter(_Printer):
    """One object per line for programs: of a request that was running when its actor died, one
    before it runs, and one after, if there is an after."""

    def head(self) -> None:
        pass

    def listed(self, request: Request) -> None:
        self._print(request, request.call, None, {})

    def before(self, request: Request, text: str, fatal: bool) -> None:
        self.text = text
        if fatal:
            self._print(request, text, None, {"outcome": None, "same": None})

    def after(self, step: Step, fatal: bool) -> None:
        self._print(step.request, self.text, step, {"outcome": step.text, "same": step.same})

    def _print(
        self, request: Request, text: str, step: Step | None, more: dict[str, object]
    ) -> None:
        outcome = request.outcome
        told: dict[str, object] = {
            "number": request.number,
            "time": request.time,
            "caller": request.caller,
            "kind": request.kind,
            "stream": request.stream,
            "call": text,
            "recorded": None if outcome is None else str(outcome),
            "fatal": request is self.record.fatal,
        }
        print(json.dumps({**told, **more}), flush=True)
