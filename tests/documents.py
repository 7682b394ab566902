"""The code blocks of a Markdown document, as one script that says the same lines.

Every ```` ```python ```` block runs, in order, as a script of its own: in a process of its own, as
``__main__``, so that classes and functions in it travel as those of any user's script do. A
```` ```pycon ```` block in between is a session whose answers are compared. A block right after
``<!-- not run: reason -->`` is left out.
"""

import re
import textwrap
from dataclasses import dataclass

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\S*)[^`]*$")
NOT_RUN = re.compile(r"^\s*<!--\s*not run:(?P<reason>.*)-->\s*$")

# Stands beside the script, for the sessions in it.
SESSIONS = '''
import doctest

def check(namespace, text, line):
    """Run a session in the script's own namespace; a wrong answer ends the script."""
    session = doctest.DocTestParser().get_doctest(text, {}, "session", "document", line)
    session.globs = namespace
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    if runner.run(session, clear_globs=False).failed:
        raise SystemExit(1)
'''


@dataclass(frozen=True)
class Block:
    """``first`` is the number of its first line of code, counted from 1."""

    language: str
    first: int
    lines: list[str]
    not_run: str | None


def blocks(document: str) -> list[Block]:
    """Every fenced block, whatever its language: one that is not Python may hold fences."""
    found, lines, number = [], document.splitlines(), 0
    while number < len(lines):
        if fence := FENCE.match(lines[number]):
            end = _closing(lines, number, fence["ticks"])
            code = textwrap.dedent("\n".join(lines[number + 1 : end])).split("\n")
            found.append(Block(fence["language"], number + 2, code, _not_run(lines[:number])))
            number = end
        number += 1
    return found


def _closing(lines: list[str], opening: int, ticks: str) -> int:
    for number in range(opening + 1, len(lines)):
        bare = lines[number].strip()
        if bare.startswith(ticks) and not bare.strip("`"):
            return number
    raise ValueError(f"line {opening + 1}: this block is never closed")


def _not_run(above: list[str]) -> str | None:
    mark = NOT_RUN.match(next((line for line in reversed(above) if line.strip()), ""))
    if mark is None:
        return None
    if not mark["reason"].strip():
        raise ValueError(f"line {len(above)}: a block that is not run needs a reason")
    return mark["reason"].strip()


def script(document: str) -> str:
    """Line n of the script is line n of the document; empty where there is nothing to run."""
    lines = [""] * (len(document.splitlines()) + 1)
    for block in blocks(document):
        if block.not_run is not None:
            continue
        if block.language == "python":
            lines[block.first - 1 : block.first - 1 + len(block.lines)] = block.lines
        elif block.language == "pycon":
            text = "\n".join(block.lines) + "\n"
            call = f"check(globals(), {text!r}, {block.first - 1})"
            lines[block.first - 1] = f"from _sessions import check; {call}"
    return "\n".join(lines).rstrip() + "\n"
