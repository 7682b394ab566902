"""The key of an address is where it is needed, and nowhere that somebody may look."""

import contextlib
import copy
import hmac
import inspect
import multiprocessing
import os
import pickle
import pprint
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cloudpickle
import pytest
from rich.traceback import Traceback

from remoteobj import CallTimeoutError, NotListeningError, Proxy, each, remote, util
from remoteobj.testing import Gate
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

    def where(self, _: Any = None) -> str:
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

        if not isinstance(exc, OSError):  # of which it asks for an attribute that is not there
            assert exc.__traceback__ is not None
            text += cgitb.text((type(exc), exc, exc.__traceback__))
    trace = Traceback.extract(type(exc), exc, exc.__traceback__, show_locals=True)
    for stack in trace.stacks:
        for frame in stack.frames:
            # As rich prints them, without the lines of source code, which take it most of the time.
            values = {name: node.render(1000) for name, node in (frame.locals or {}).items()}
            text += "".join(f"{name} = {value}\n" for name, value in values.items())
    return text


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


@pytest.mark.engines(skip={"inline": "runs in the caller's thread, below what pickles for it"})
def test_a_call_with_a_proxy_shows_no_key_among_the_locals_of_either_side(
    launch: Launch, gate: Gate
) -> None:
    other: Any = Proxy([])
    with Vault.options(**launch).spawn() as vault:
        assert hides(vault.where(other))
        for timeout in (None, 30.0):  # which are two ways through the code
            with pytest.raises(AttributeError) as raised:
                vault.with_(timeout=timeout).fail(other)
            assert hides(with_locals(raised.value))
            with pytest.raises(ZeroDivisionError) as unreadable:
                vault.with_(timeout=timeout).passto(lambda _, p: [p, Unreadable()], other)
            assert hides(with_locals(unreadable.value))
        with pytest.raises(CallTimeoutError) as late:
            vault.with_(timeout=0.1).passto(lambda _obj, gate, _other: gate.park(), gate, other)
        gate.open()
        assert hides(with_locals(late.value))
    ways = vault.keep, each([vault]).keep, vault.future_.keep, vault.cast_.keep
    for call in ways:
        with pytest.raises(NotListeningError) as gone:
            call(other)
        assert hides(with_locals(gone.value))


class Unreadable:
    """Fails where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return divmod, (1, 0)


# ------------------------------------------------------------------ who may pickle a proxy


@remote(picklable=False)
class Safe(Vault):
    def own_pickled(self) -> int:
        return self.pickled(self.remote)

    def fail_with(self, proxy: Any) -> None:
        raise HasProxyError(proxy)

    def each(self, proxy: Any) -> Iterator[Any]:
        yield [proxy]


class HasProxyError(Exception):
    pass


class Holder:
    """Pickled by whatever pickler it meets, with all that it has."""

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy


def ping(proxy: Any) -> Any:
    return proxy.ping()


def ping_and_report(proxy: Any, outcome: Any) -> None:
    outcome.put(proxy.ping())


@pytest.fixture
def safe(launch: Launch) -> Iterator[Any]:
    with Safe.options(**launch).spawn() as handle:
        yield handle


@pytest.mark.parametrize("what", ["the handle", "a part", "inside of something"])
@pytest.mark.parametrize(
    "pickler", [pickle.dumps, cloudpickle.dumps, ForkingPickler.dumps, copy.copy, copy.deepcopy]
)
def test_a_proxy_that_must_not_be_pickled_says_so_and_what_to_do(
    pickler: Callable[[Any], Any], what: str
) -> None:
    proxy: Any = Proxy([], picklable=False)
    value = {"the handle": proxy, "a part": proxy.append, "inside of something": Holder(proxy)}[
        what
    ]
    if what == "inside of something" and pickler is copy.copy:
        assert copy.copy(value).proxy is proxy
        return
    with pytest.raises(pickle.PicklingError, match=r"picklable=False.* argument of a call"):
        pickler(value)


def test_a_proxy_that_must_not_be_pickled_goes_into_no_pool() -> None:
    with (
        Safe.spawn() as safe,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(pickle.PicklingError, match="picklable=False"),
    ):
        pool.submit(ping, safe).result()


def test_one_that_may_be_pickled_goes_into_a_pool() -> None:
    with (
        Vault.spawn() as vault,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        assert pool.submit(ping, vault).result() == "pong"


@pytest.mark.engines(skip={"inline": "listens at no address"})
def test_a_proxy_that_must_not_be_pickled_travels_in_calls_and_results_all_the_same(
    safe: Any,
) -> None:
    class Local(Holder):
        pass

    error = HasProxyError(safe)
    for value in (safe, [safe], {"a": (safe,)}, Holder(safe), Local(safe), (error, [safe])):
        safe.keep(value)
    assert safe.keep([safe])[0].ping() == "pong"
    assert safe.keep(Holder(safe)).proxy.ping() == "pong"
    assert safe.passto(lambda obj, proxy=safe: type(proxy).__name__) is not None
    assert safe.keep(error).args[0].ping() == "pong"
    with pytest.raises(HasProxyError) as caught:
        safe.fail_with(safe)
    assert caught.value.args[0].ping() == "pong"
    assert [item[0].ping() for item in safe.each(safe)] == ["pong"]


def test_a_proxy_that_must_not_be_pickled_needs_no_cloudpickle_to_travel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy: Any = Proxy([], picklable=False)
    internals.do_without_cloudpickle(monkeypatch)
    for value in (proxy, [proxy.append], Holder(proxy), [ValueError(), proxy]):
        internals.sent(value)


def test_a_copy_that_has_travelled_must_not_be_pickled_there_either(safe: Any) -> None:
    back = safe.keep([safe])[0]
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(back)
    with pytest.raises(pickle.PicklingError):
        safe.pickled(back)
    with pytest.raises(pickle.PicklingError):
        safe.own_pickled()


def test_a_proxy_that_must_not_be_pickled_is_part_of_what_is_started(start_method: str) -> None:
    context: Any = multiprocessing.get_context(start_method)
    with Safe.options(start_method=start_method).spawn() as safe:
        with Keeper.options(start_method=start_method).spawn(safe) as keeper:
            assert keeper.ping() == "pong"
        with util.process(ping, safe, start_method_=start_method) as p:
            pass
        assert p.result == "pong"
        outcome = context.SimpleQueue()
        process: Any = context.Process(target=ping_and_report, args=(safe, outcome))
        process.start()
        process.join()
        assert outcome.get() == "pong"
        outcome.close()
        process.close()


@remote
class Keeper:
    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def ping(self) -> Any:
        return self.proxy.ping()
