"""A terminal without a screen: a test reads what programs show there, and types."""

import codecs
import os
import select
import time

TAKE = """
import fcntl as _fcntl, os as _os, sys as _sys, termios as _termios
_fcntl.ioctl(_os.open(_sys.argv.pop(1), _os.O_RDWR), _termios.TIOCSCTTY, 0)
"""
"""A prelude of a script, for `script(..., terminal.path, prelude=TAKE)`: the terminal is that of
its session from then on, and nothing else of it is: its standard input is another."""
PROMPT = "(Pdb) "


class PseudoTerminal:
    """The terminal, and what was shown there and not yet read."""

    def __init__(self) -> None:
        self._screen, self._line = os.openpty()
        self.path = os.ttyname(self._line)
        self._shown = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def until(self, text: str, seconds: float = 20.0) -> str:
        """What is shown up to this text, which is waited for."""
        end = time.monotonic() + seconds
        while text not in self._shown:
            if not select.select([self._screen], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} was not shown within {seconds} s: {self._shown!r}")
            self._shown += self._decode(os.read(self._screen, 65536)).replace("\r\n", "\n")
        before, found, self._shown = self._shown.partition(text)
        return before + found

    def prompt(self) -> str:
        """What is shown up to pdb's prompt."""
        return self.until(PROMPT)

    def type(self, line: str) -> None:
        os.write(self._screen, f"{line}\n".encode())

    def ask(self, line: str) -> str:
        """Type a command at the prompt; what is shown up to the next."""
        self.type(line)
        return self.prompt()

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def close(self) -> None:
        os.close(self._screen)
        os.close(self._line)
