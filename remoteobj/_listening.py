"""How an object is served from this process: the part of a proxy's face that its home uses."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ._actor.server import Mode
from ._reference import RemoteRef

__all__ = ["ListenScope", "ListenMixin"]


class ListenMixin:
    """What a proxy has for the process in which its object lives, and for those who wait."""

    __slots__ = ()

    _ref: RemoteRef

    def listen_(self, bg: bool | None = None) -> ListenScope:
        """Serve the object from this process; `with proxy.listen_():` ends it again.

        Args:
            bg: True runs the requests in a background thread. False runs them only within
                `process_requests` and `poll`. None begins in the background, until this
                process first calls one of these two, which then takes over.

        Raises:
            RuntimeError: it is listening already, or the object is not in this process.
        """
        mode = {None: Mode.AUTO, True: Mode.BACKGROUND, False: Mode.MANUAL}[bg]
        self._ref.listen(mode)
        return ListenScope(self)

    def stop_listen_(self) -> None:
        """Stop serving; what has arrived is fulfilled, or refused (`fulfill_final=False`).

        Harmless when nothing is served from this process. From within a request, the
        request is answered first.
        """
        home = self._ref.home
        if home is not None:
            home.stop()

    @property
    def listening_(self) -> bool:
        """Whether the object can be called now; true to the fact, from every process."""
        return self._ref.listening

    def process_requests(self, timeout: float | None = 0.0) -> int:
        """Run the requests that have arrived, in this thread; how many were run.

        Args:
            timeout: seconds to wait for the first; None waits for ever.

        Raises:
            NotListeningError: the object is not served from this process.
        """
        return self._ref.process(timeout)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Run one request, in this thread, if one has arrived within `timeout` seconds."""
        return bool(self._ref.process(timeout, 1))

    def wait_until_listening(
        self, process: Any = None, fail: bool = True, timeout: float | None = None
    ) -> bool:
        """Wait until some process serves the object.

        Args:
            process: the process (or thread) that will; its end ends the wait.
            fail: False gives False where True raises.
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            ActorDiedError: `process` ended first.
            SpawnTimeoutError: the time was up first.
        """
        return self._ref.wait(process, fail, timeout)

    def __enter__(self) -> Any:
        self.listen_(bg=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop_listen_()


class ListenScope:
    """The time in which a process serves an object; leaving it, by `with`, ends it."""

    def __init__(self, proxy: ListenMixin) -> None:
        self._proxy = proxy

    def __enter__(self) -> Any:
        return self._proxy

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._proxy.stop_listen_()
