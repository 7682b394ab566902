"""Any Python object, live in another process.

`@remote` turns a class into one whose objects can live in a process of their own, and
`Cls.spawn(...)` gives a handle on which every operation happens to the live object.
"""

from typing import TYPE_CHECKING

from ._os.lazy_import import late_names

if TYPE_CHECKING:
    from . import errors, util
    from ._access import current, get
    from ._actor.status import Status
    from ._catching.catchers import Except, LocalExcept
    from ._each import Each, each
    from ._handle import Handle
    from ._proxy import Proxy
    from ._remote import remote
    from ._spawn import options, spawn
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
    "Each",
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
    "each",
    "errors",
    "get",
    "options",
    "remote",
    "spawn",
    "util",
]

if not TYPE_CHECKING:  # to which a misspelt name would be an Any
    _homes = {"Proxy": "_proxy", "Handle": "_handle", "remote": "_remote", "util": "util"}
    _homes |= {"spawn": "_spawn", "options": "_spawn"}
    _homes |= {"Each": "_each", "each": "_each"}
    _homes |= {"current": "_access", "get": "_access", "Status": "_actor.status"}
    _homes |= {"Except": "_catching.catchers", "LocalExcept": "_catching.catchers"}
    __getattr__, __dir__ = late_names(globals(), _homes, otherwise="errors")
