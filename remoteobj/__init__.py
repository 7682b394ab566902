"""Any Python object, live in another process.

`@remote` turns a class into one whose objects can live in a process of their own, and
`Cls.spawn(...)` gives a handle on which every operation happens to the live object.
"""

from typing import TYPE_CHECKING

from ._os.lazy_import import late_names

if TYPE_CHECKING:
    from . import errors, util
    from ._access import awaitable, current, future, get
    from ._actor.status import RunningCall, Status
    from ._caller.streams import Stream
    from ._catching.catchers import Except, LocalExcept
    from ._each import Each, each
    from ._handle import Handle
    from ._instrument import Instrumentation, instrument
    from ._looking import ActorInfo, actors, connect
    from ._option_types import SpawnOptions
    from ._pool import Pool
    from ._proxy import Proxy
    from ._remote import remote
    from ._spawn import Spawner, options, spawn
    from ._supervisor import Supervisor
    from ._trace import Trace, trace
    from .errors import (
        ActorDiedError,
        CallTimeoutError,
        DeadlockError,
        ExitReport,
        NameTakenError,
        NotListeningError,
        RemoteError,
        RemoteObjError,
        RestartLimitError,
        SpawnTimeoutError,
        UnsendableError,
    )

__all__ = [
    "ActorDiedError",
    "ActorInfo",
    "CallTimeoutError",
    "DeadlockError",
    "Each",
    "Except",
    "ExitReport",
    "Handle",
    "Instrumentation",
    "LocalExcept",
    "NameTakenError",
    "NotListeningError",
    "Pool",
    "Proxy",
    "RemoteError",
    "RemoteObjError",
    "RestartLimitError",
    "RunningCall",
    "SpawnOptions",
    "SpawnTimeoutError",
    "Spawner",
    "Status",
    "Stream",
    "Supervisor",
    "Trace",
    "UnsendableError",
    "actors",
    "awaitable",
    "connect",
    "current",
    "each",
    "errors",
    "future",
    "get",
    "instrument",
    "options",
    "remote",
    "spawn",
    "trace",
    "util",
]

if not TYPE_CHECKING:  # to which a misspelt name would be an Any
    _homes = {"Proxy": "_proxy", "Handle": "_handle", "remote": "_remote", "util": "util"}
    _homes |= dict.fromkeys(("Spawner", "options", "spawn"), "_spawn")
    _homes |= {"Each": "_each", "each": "_each", "Pool": "_pool", "Supervisor": "_supervisor"}
    _homes |= dict.fromkeys(("awaitable", "current", "future", "get"), "_access")
    _homes |= {"SpawnOptions": "_option_types"}
    _homes |= dict.fromkeys(("Trace", "trace"), "_trace")
    _homes |= dict.fromkeys(("Instrumentation", "instrument"), "_instrument")
    _homes |= dict.fromkeys(("ActorInfo", "actors", "connect"), "_looking")
    _homes |= dict.fromkeys(("RunningCall", "Status"), "_actor.status")
    _homes |= {"Stream": "_caller.streams"}
    _homes |= dict.fromkeys(("Except", "LocalExcept"), "_catching.catchers")
    __getattr__, __dir__ = late_names(globals(), _homes, otherwise="errors")
