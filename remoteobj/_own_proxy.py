"""An actor's proxy of itself: what `current()` gives, and its object finds as `self.remote`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._os.lazy_import import import_lock

if TYPE_CHECKING:
    from ._proxy import Proxy
    from ._reference import Reference

__all__ = ["OwnProxy"]


class OwnProxy:
    """Gives the proxy, which it makes at the first call: a `ProxyMaker`."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._proxy: Proxy | None = None

    def __call__(self) -> Proxy:
        if self._proxy is None:
            with import_lock:  # which also keeps two threads from making one each
                if self._proxy is None:
                    self._proxy = self._made()
        return self._proxy

    def _made(self) -> Proxy:
        from ._proxy import proxy_from  # for a faster start-up

        made: Proxy = proxy_from(self._reference)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (OwnProxy, (self._reference,))
