"""A call or a stream that fails, is left, or comes in a crowd costs no other call anything."""

import os
import signal
import time
from functools import partial

import pytest

from remoteobj import RemoteError
from remoteobj.testing import Gate
from tests import internals
from tests.internals import is_read
from tests.lifecycle.actors import Plain
from tests.lifecycle.busy import Busy, OfStrict
from tests.tools import Call, ended, processes, until

BACKLOG = 4
CALLERS = 40


def test_closing_a_stream_ends_the_wait_of_another_thread_for_its_next_item(gate: Gate) -> None:
    with Plain.spawn() as actor:
        stream = iter(actor.one_and_more(gate))
        assert next(stream) == 1
        rest = Call(list, stream)
        until(partial(is_read, actor))
        gate.wait_for_arrival()
        stream.close()
        gate.open()
        assert rest.result() == []
        assert actor.ping() == "pong"


def test_many_processes_that_call_at_once_are_all_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    internals.BACKLOG.set(monkeypatch, BACKLOG)
    with Plain.options(start_method="fork").spawn() as actor:
        ready, say_ready = os.pipe()
        go, hold = os.pipe()

        def call() -> None:
            os.close(hold)
            os.write(say_ready, b"!")
            os.read(go, 1)
            assert actor.echo(os.getpid()) == os.getpid()

        try:
            with processes("fork", call, *[()] * CALLERS) as callers:
                said = 0
                while said < CALLERS:
                    said += len(os.read(ready, CALLERS))
                os.kill(actor.pid_, signal.SIGSTOP)  # so that they queue up
                os.close(hold)
                time.sleep(0.2)
                os.kill(actor.pid_, signal.SIGCONT)
                deadline = time.monotonic() + 15
                for caller in callers:
                    caller.join(max(0.0, deadline - time.monotonic()))
                assert [caller.exitcode for caller in callers] == [0] * CALLERS
        finally:
            for fd in (ready, say_ready, go):
                os.close(fd)


@pytest.mark.parametrize("method", ["result_that_fails", "error_that_fails"])
def test_a_result_or_an_error_whose_pickling_is_interrupted_costs_that_call_alone(
    method: str,
) -> None:
    with ended(Busy.spawn()) as actor:
        with pytest.raises(RemoteError):
            Call(getattr(actor, method)).result()
        assert Call(actor.ping).result() == "pong"


def test_a_result_whose_class_raises_when_it_is_asked_for_an_attribute_is_given_back() -> None:
    with ended(Busy.spawn()) as actor:
        assert type(Call(actor.of_strict).result()) is OfStrict
        assert Call(actor.ping).result() == "pong"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ValueError])
def test_a_generator_that_fails_after_its_consumer_left_stops_nobody(
    kind: type[BaseException],
) -> None:
    with ended(Busy.spawn()) as actor:
        stream = actor.fail_at_the_end(kind)
        assert next(stream) == 0
        stream.close()
        assert Call(actor.ping).result() == "pong"
        assert len(actor.exc_.group("work")) == 1
