"""What the clients of an object are told when it stops."""

from __future__ import annotations

import time

from .._pickling.exceptions import pack_error
from .._protocol.messages import Bytes, Frame, Kind
from ..errors import NotListeningError
from .client_set import ClientSet
from .clients import Client
from .execution import Executor

__all__ = ["end_streams", "say_goodbye"]


def say_goodbye(clients: ClientSet, executor: Executor, last_word: Bytes, seconds: float) -> None:
    """End the streams of all clients, tell them so, and hang up.

    They have so many seconds, all together, to take in what was written for them.
    """
    end = time.monotonic() + seconds
    for client in list(clients):
        end_streams(client, executor)
        client.send(Frame(Kind.GOODBYE, 0, last_word))
        while not client.flush() and time.monotonic() < end:
            if not client.channel.wait_to_write(False, end):
                break
        clients.forget(client)
        client.channel.close()


def end_streams(client: Client, executor: Executor) -> None:
    """End the streams of a client, and tell it so."""
    for stream in list(client.streams.values()):
        stream.end()
        if executor.is_running(client, stream.call_id):
            executor.give_up(client, stream.call_id)
        else:
            executor.close(stream)
        ended = NotListeningError("the stream ended early: its listener stopped")
        client.send(Frame(Kind.ERROR, stream.call_id, pack_error(ended)))
