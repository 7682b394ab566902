"""Functions in processes and threads of their own, with their results and exceptions."""

from typing import TYPE_CHECKING

from ._os.lazy_import import late_names

if TYPE_CHECKING:
    from ._job_processes import job, listener, process
    from ._jobs import thread

__all__ = ["job", "listener", "process", "thread"]

if not TYPE_CHECKING:  # to which a misspelt name would be an Any
    __getattr__, __dir__ = late_names(globals(), {"thread": "_jobs"}, otherwise="_job_processes")
