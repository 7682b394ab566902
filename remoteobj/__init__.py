"""Any Python object, live in another process.

`@remote` turns a class into one whose objects can live in a process of their own, and
`Cls.spawn(...)` gives a handle on which every operation happens to the live object.
"""

from . import errors, util
from ._access import current, get
from ._actor.status import Status
from ._catching.catchers import Except, LocalExcept
from ._handle import Handle
from ._proxy import Proxy
from ._remote import remote
from .errors import (
    ActorDiedError,
    CallTimeoutError,
    DeadlockError,
    ExitReport,
    NotListeningError,
    RemoteError,
    RemoteObjError,
    SpawnTimeoutError,
    UnsendableError,
)

__all__ = [
    "ActorDiedError",
    "CallTimeoutError",
    "DeadlockError",
    "Except",
    "ExitReport",
    "Handle",
    "LocalExcept",
    "NotListeningError",
    "Proxy",
    "RemoteError",
    "RemoteObjError",
    "SpawnTimeoutError",
    "Status",
    "UnsendableError",
    "current",
    "errors",
    "get",
    "remote",
    "util",
]
