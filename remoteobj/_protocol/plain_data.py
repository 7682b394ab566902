"""Plain data as bytes, for what is read before it is known whose call it is: JSON.

A pickle is a program, which may raise anything, or take memory that its few bytes do not announce.
To read these bytes runs nothing, and takes memory in proportion to them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .._os.lazy_import import import_lock
from .messages import Bytes

__all__ = ["quoted", "read_plain"]


def read_plain(data: Bytes) -> Any:
    """The value: of lists, texts, numbers, and dicts by texts.

    Raises:
        ValueError: these bytes are none.

    >>> read_plain(b'{"a": [1, "b"]}')
    {'a': [1, 'b']}
    """
    try:
        return _json().loads(str(data, "utf-8", "strict"))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def quoted(text: str) -> str:
    """A text as JSON. (The rest of a small value is written by hand, since `json.dumps` would take
    five times as long.)

    >>> quoted('"')
    '"\\\\""'
    """
    return _encoder().encode(text)  # type: ignore[no-any-return]


@cache
def _json() -> Any:
    with import_lock:
        import json  # for a faster start-up: only actors that call actors need it

    return json


@cache
def _encoder() -> Any:
    return _json().JSONEncoder()
