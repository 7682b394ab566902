"""The outline of a pickle: its strings, tuples and lists, read without running what is in it.

A pickle is a program for a machine with a stack and a memo. Here it runs on a machine that knows
no classes and calls nothing: whatever is not a string, a tuple or a list is `OPAQUE`.
"""

from __future__ import annotations

import contextlib
import pickletools
from typing import Any, Final

__all__ = ["MARK", "OPAQUE", "outline"]


class _Symbol:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MARK: Final = _Symbol("MARK")
"""Where a container begins that is not complete yet."""
OPAQUE: Final = _Symbol("OPAQUE")
"""A value that is not looked into."""


def outline(data: bytes) -> list[Any]:
    """What is on the machine's stack at the end of a pickle: the one value that it holds.

    Of a pickle that was cut off it is the stack at that point: the parts of the containers that
    are not complete, from the outermost inwards. Bytes that are no pickle give what was read
    before that was known. Nothing is raised.

    >>> import pickle
    >>> data = pickle.dumps(("attr", ["a", 1.5], print), 5)
    >>> outline(data)
    [('attr', ['a', OPAQUE], OPAQUE)]
    >>> outline(data[:30])
    ['attr', [], MARK, 'a']
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    with contextlib.suppress(Exception):  # cut off, or no pickle at all: garbage fails anyhow
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name != "STOP":
                _step(opcode, argument, stack, memo)
    return stack


def _step(
    opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any], memo: dict[int, Any]
) -> None:
    name, result = opcode.name, [kind.name for kind in opcode.stack_after]
    if name == "MARK":
        stack.append(MARK)
    elif name == "MEMOIZE" or name.endswith("PUT"):
        memo[len(memo) if argument is None else argument] = stack[-1]
    elif name.endswith("GET"):
        stack.append(memo.get(argument, OPAQUE))
    else:
        taken = _pop(stack, [kind.name for kind in opcode.stack_before])
        if result == ["tuple"]:
            stack.append(tuple(taken))
        elif result == ["str"]:
            stack.append(argument)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS") and type(taken[0]) is list:
            taken[0].extend(taken[1:])
            stack.append(taken[0])
        else:
            stack.extend([OPAQUE] * len(result))


def _pop(stack: list[Any], kinds: list[str]) -> list[Any]:
    """Take from the stack what an opcode takes, which may be all down to the last mark."""
    start = len(stack) - len(kinds)
    if "mark" in kinds:
        start = len(stack) - 1 - stack[::-1].index(MARK) - kinds.index("mark")
    if start < 0:
        raise ValueError("the pickle takes more than there is")
    taken = [one for one in stack[start:] if one is not MARK]
    del stack[start:]
    return taken
