"""What ends a thread that runs other people's code, and must not be taken for an error of it."""

from __future__ import annotations

__all__ = ["ThreadUnwind"]


class ThreadUnwind(BaseException):
    """Unwinds the thread that runs requests: never the outcome of one."""
