"""The errors of calls that get no answer, which name the actor."""

from __future__ import annotations

from collections.abc import Callable

from .._pickling.exceptions import unpack_error
from .._protocol.calls import ErrorFactory
from .._protocol.messages import Bytes
from ..errors import ActorDiedError, CallTimeoutError, ExitReport, NotListeningError

__all__ = ["CallErrors"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class CallErrors:
    """The errors of calls that get no answer, which name the actor.

    Apart from `Endpoint`, so that a connection, which needs these, does not lead back to the
    endpoint that holds it: a dropped proxy lets go of its socket at once.
    """

    def __init__(
        self,
        name: str,
        lost: ErrorFactory | None = None,
        told: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._lost = lost
        """Its owner's, who knows how it died."""
        self._told = told
        """Called when somebody is told what it failed with."""

    def lost(self, maybe_executed: bool) -> BaseException:
        """The error when the actor is gone without a word."""
        if self._lost is not None:
            error = self._lost(maybe_executed)
            if error.__cause__ is not None:
                self._told()
            return error
        return ActorDiedError.from_exit(ExitReport(self.name), maybe_executed)

    def goodbye_error(self, payload: Bytes) -> ErrorFactory:
        """The error when the actor said that it closes, and why."""
        if payload:
            reason = bytes(payload)

            def failed(maybe_executed: bool) -> BaseException:
                self._told()
                report = ExitReport(self.name, reason="failed", error=unpack_error(reason))
                return ActorDiedError.from_exit(report, maybe_executed)

            return failed
        return lambda maybe_executed: self.not_listening("it has stopped listening")

    def not_in_time(self, restarts: bool) -> NotListeningError | CallTimeoutError:
        if not restarts:
            return self.not_listening("its process listens, but did not answer in time")
        return CallTimeoutError(
            f"{self.name} did not take the call up in time: it is being restarted, or does not "
            "answer; the call was not executed"
        )

    def not_listening(self, why: str = "nobody listens") -> NotListeningError:
        return NotListeningError(f"{self.name} can't be called: {why}")
