"""What ends a thread that runs other people's code, and must not be taken for an error of it."""

from __future__ import annotations

import threading

from .lazy_import import import_lock

__all__ = ["ThreadUnwind", "raise_in_thread", "take_back_from_thread"]


class ThreadUnwind(BaseException):
    """Unwinds the thread that runs requests: never the outcome of one."""


def raise_in_thread(thread: threading.Thread, error: BaseException | type[BaseException]) -> None:
    """Raise an exception, or one of a class, in another thread, when that next runs Python code.

    What it waits for in the kernel, or computes in C, comes to its end before.
    """
    _set_pending(thread, error if isinstance(error, type) else _class_of_one(error))


def _class_of_one(error: BaseException) -> type[BaseException]:
    """A class that gives this one exception in place of any new one. The interpreter takes classes
    alone, and believes the instance that it gets."""
    cls = type(error)
    return type(cls.__name__, (cls,), {"__new__": lambda *_: error})


def take_back_from_thread(thread: threading.Thread) -> None:
    """Raise nothing in it, if what was to be raised there has not been."""
    _set_pending(thread, None)


def _set_pending(thread: threading.Thread, kind: type[BaseException] | None) -> None:
    with import_lock:
        import ctypes  # for a faster start-up: little else needs it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), None if kind is None else ctypes.py_object(kind)
    )
