"""Labels before lines, on whatever a program has as its output."""

from __future__ import annotations

import sys

import pytest

from remoteobj._engines.labelled_output import label_output


class Bare:
    """A stream that can be written to, and nothing else."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """There is nothing to flush."""


def test_what_is_no_file_and_what_is_closed_can_be_labelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = Bare()
    monkeypatch.setattr(sys, "stdout", bare)
    monkeypatch.setattr(sys, "stderr", None)
    end_lines = label_output("two\nlines")
    print("whole\nbegun", end="")
    assert sys.stderr is None
    end_lines()
    assert bare.text == "[two\\nlines] whole\n[two\\nlines] begun\n"
