"""The key of an address is where it is needed, and nowhere that somebody may look."""

import contextlib
import copy
import hmac
import inspect
import io
import multiprocessing
import os
import pickle
import pprint
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from remoteobj import NotListeningError, Proxy, remote
from tests import internals
from tests.conftest import Launch
from tests.internals import Key, Stranger, address_of

SECRET = b"open sesame, says the old robber"


@pytest.fixture(autouse=True)
def known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(SECRET) == 32
    internals.give_everybody_the_key(monkeypatch, SECRET)


def hides(text: str) -> bool:
    """Whether no part of the secret is in the text, as it is or in hexadecimal."""
    return "sesame" not in text.lower() and SECRET.hex()[:16] not in text


@remote
class Vault:
    def __init__(self, sound: bool = True) -> None:
        assert sound, "the vault is broken"

    def ping(self) -> str:
        return "pong"

    def where(self) -> str:
        """All that a traceback with the values of locals would show, from the process's start."""
        return shown(inspect.currentframe())

    def keep(self, proxy: Any) -> Any:
        return proxy

    def pickled(self, proxy: Any) -> int:
        return len(pickle.dumps(proxy))


def shown(frame: Any) -> str:
    frames = traceback.walk_stack(frame)
    return "".join(traceback.StackSummary.extract(frames, capture_locals=True).format())


def with_locals(exc: BaseException) -> str:
    """A traceback with the values of locals, as tools print it."""
    text = "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import cgitb  # which also looks the attributes up that the lines name; up to Python 3.12

        text += cgitb.text((type(exc), exc, exc.__traceback__))
    console = Console(file=io.StringIO(), width=1000, record=True)
    console.print(Traceback.from_exception(type(exc), exc, exc.__traceback__, show_locals=True))
    return text + console.export_text()


# ------------------------------------------------------------------ what is shown


def test_no_text_about_an_address_or_a_key_shows_the_secret() -> None:
    proxy: Any = Proxy([])
    address = address_of(proxy)
    with pytest.raises(TypeError):
        vars(address.key)
    for one in (address, address.key, address._asdict(), tuple(address), proxy):
        texts = [repr(one), str(one), f"{one}", "%s %r" % (one, one), ascii(one)]  # noqa: UP031
        assert hides(" ".join([*texts, pprint.pformat(one)]))
    members = inspect.getmembers(address.key) + inspect.getmembers(address)
    assert hides(repr(members))
    assert pickle.loads(pickle.dumps(address)) == address
    assert copy.deepcopy(address) == address
    assert address.key != Key(bytes(32))


def failing(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


PLACES: dict[str, tuple[Any, str]] = {
    "signing": (hmac, "digest"),
    "comparing": (hmac, "compare_digest"),
    "the nonce": (os, "urandom"),
    "the pid": (os, "getpid"),
    "receiving": (socket.socket, "recv"),
    "sending": (socket.socket, "sendmsg"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_handshake_that_fails_in_the_caller_shows_no_key_among_the_locals(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Vault.spawn() as vault:
        address = address_of(vault)
        internals.import_for_handshakes()
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError) as caught:
            patch.setattr(*PLACES[place], failing)
            internals.connect_with_key(address)
    assert "address = " in with_locals(caught.value)
    assert hides(with_locals(caught.value))


@pytest.mark.parametrize("place", ["signing", "comparing", "the pid"])
def test_a_handshake_that_fails_in_the_listener_shows_no_key_among_the_locals(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = internals.new_address()
    with contextlib.closing(internals.listen(address)) as listener:
        calling = internals.connect(address)
        handshake = listener.accept()
        answer, _ = internals.answer_to(calling.recv(internals.GREETING), address.key)
        calling.sendall(answer)
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError) as caught:
            patch.setattr(*PLACES[place], failing)
            handshake.go_on()
        handshake.close()
        calling.close()
    assert "self = " in with_locals(caught.value)
    assert hides(with_locals(caught.value))


def test_a_refused_caller_and_a_failed_start_show_no_key_among_the_locals(
    start_method: str,
) -> None:
    with Vault.options(start_method=start_method).spawn() as vault:
        wrong = address_of(vault)._replace(key=Key(SECRET.upper()))
        with pytest.raises(NotListeningError) as refused:
            Stranger(wrong).call("ping")
    assert hides(with_locals(refused.value))
    with pytest.raises(AssertionError, match="broken") as broken:
        Vault.options(start_method=start_method).spawn(False)
    assert hides(with_locals(broken.value))


def test_a_traceback_within_an_actor_shows_no_key_among_the_locals(launch: Launch) -> None:
    with Vault.options(**launch).spawn() as vault:
        where = vault.where()
    assert "self = " in where
    assert hides(where)
