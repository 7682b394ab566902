"""What makes it safe to import a module only once it is needed.

Much of what this package may need is not needed by most programs, and would double the time
that its own import takes. So it is imported inside functions, but only while `import_lock` is
held. A fork waits for that: else a child that is forked while another thread imports would
find the module half made, and wait for ever for a thread that it has not.
"""

from __future__ import annotations

import os
import threading
from typing import Final

__all__ = ["FORK_FAMILY", "import_lock"]

import_lock: Final = threading.RLock()

FORK_FAMILY: Final = os.urandom(16).hex()
"""What this process has in common with its forks, and with no other process. It is here since
a module that is imported late would make one of its own in each fork."""

os.register_at_fork(
    before=import_lock.acquire,
    after_in_parent=import_lock.release,
    after_in_child=import_lock.release,
)
