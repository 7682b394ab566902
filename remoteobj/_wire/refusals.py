"""Refused connections: nobody is told the reason but who watches this process.

Each makes one audit event, `remoteobj.refuse`, and one record of the level DEBUG at the logger
`remoteobj`. Where it is raised as well, that is the caller's to see, and this the administrator's.
"""

from __future__ import annotations

import sys
from typing import Literal

from .._os.callback_errors import report_callback_error
from .._os.lazy_import import import_lock

__all__ = ["Reason", "report_refusal"]

Reason = Literal["user", "proof", "relay", "timeout", "crowd", "resources", "frame"]
"""Why a connection is refused:

- `"user"`: the other side is another user's.
- `"proof"`: it does not have the key, or does not speak this protocol.
- `"relay"`: what it says comes by another process.
- `"timeout"`: it took too long to prove itself.
- `"crowd"`: too many others are at it, and it had begun first.
- `"resources"`: this process has no descriptors left for its pipes.
- `"frame"`: once it was let in, it sent what is no message.
"""


def report_refusal(reason: Reason, why: str) -> None:
    """Let whoever watches know. To be called once the refusal is done: a hook may take its time,
    and what it raises must not keep the connection open."""
    try:
        sys.audit("remoteobj.refuse", reason, why)
        if "logging" in sys.modules:  # else the program has no handler that could show it
            with import_lock:
                import logging  # for a faster start-up: most programs refuse nobody

            logging.getLogger("remoteobj").debug("refused a connection (%s): %s", reason, why)
    except Exception as exc:
        report_callback_error(exc)
