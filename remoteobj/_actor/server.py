"""An object served from this process: its mailbox, its control thread, and who runs requests.

Requests run in one of two places: a background thread, or the thread of the owner whenever
it calls `process_requests`. In the mode `AUTO` the first such call takes over for good.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from .._catching.unseen import tell
from .._os.fork_safety import Closable
from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind, raise_in_thread
from .._pickling.exceptions import pack_error
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.identity import ActorId
from .._protocol.messages import Bytes, Frame, refusal_of_unknown
from .._wire.auth import FOLLOWS, ORDERS
from .._wire.registry import transport_of
from .._wire.transport import Address, ByteStream
from ..errors import NotListeningError
from .client_set import ClientSet
from .clients import Client
from .control import Control, start, unblock
from .execution import USER_ENTRY_POINTS, ExecutorMaker, SerialExecutor
from .mailbox import Mailbox
from .reentrancy import Reentrancy
from .runner import LoopDriver, Runner
from .served_here import Mode, local_servers

if TYPE_CHECKING:
    from .._wire.channel import Channel
    from .observers import Observers
    from .own_loop import OwnLoop
    from .pacing import Pacer
    from .publication import Publication
    from .state_keeper import StateKeeper

__all__ = ["Server"]

LOOK_SECONDS = 0.05
"""How often who waits for the second thread looks whether that is to be left."""
DROP_SECONDS = 0.5
"""How long a second thread whose request is dropped has for its `finally` blocks."""


class Server:
    """Serves one object at one address, until `stop`.

    Guarantee: a request that arrives while it stops is fulfilled or refused.
    """

    drops_request = False
    """Whether what the second thread runs at the end is dropped, and not finished."""
    _holds_on = False
    """Whether that thread did not let go of what was dropped."""
    _background = False
    loop_thread: int | None = None
    """The one thread that may have a loop of its own; None: any may."""
    state_keeper: StateKeeper | None = None
    """What keeps the state of the object, if anything does."""
    loop_runner: LoopDriver | None = None
    """What drives the requests, where that is an event loop."""
    _publication: Publication | None = None
    _own_loop: OwnLoop | None = None
    _observers: Observers | None = None

    def __init__(
        self,
        root: object,
        actor_id: ActorId,
        address: Address,
        fulfil: bool = True,
        mode: Mode = Mode.AUTO,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        reentrant: bool = True,
        make_executor: ExecutorMaker = SerialExecutor,
    ) -> None:
        self.root = root
        self.mode = mode
        self.actor_id = actor_id
        self.address = address
        self.fulfil = fulfil
        self.last_word: Bytes = b""
        self.born = True
        """Whether there is an object that requests can be run on."""
        self.home_threads: set[int] | None = None
        """The threads that are its home; None: every thread of this process is."""
        self.ends_itself = True
        """False: whoever runs it calls `finish` and `close` when it is told to stop."""
        self.wire_options = wire_options
        self.control = Control(self, actor_id.name)
        executor = make_executor(lambda: self.root, self.report)
        clients = ClientSet(self.control.flush_later, wire_options)
        rules = Reentrancy(actor_id, reentrant, USER_ENTRY_POINTS)
        self.mailbox = Mailbox(clients, executor, rules)
        self.runner: Runner = self.mailbox
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        """Whether the second thread runs nothing any more."""
        self._starting = threading.RLock()
        """Held while the background thread starts: another thread, which sees that the object is
        served, may want to join it at that very moment."""
        self._take_over = threading.Lock()
        self._finishing = threading.Lock()  # taken once, by whoever ends it, and never released
        self._stop_seen = False

    def open(self) -> None:
        """Begin to accept callers; they are served once a thread runs requests.

        Raises:
            FileExistsError: another process serves this address.
        """
        self.control.start(transport_of(self.address).listen(self.address))
        self.register_local()

    def register_local(self) -> None:
        """Be the home of the object for this process, without accepting callers."""
        local_servers[self.actor_id] = self

    @property
    def listening(self) -> bool:
        return not self.mailbox.lifecycle.stopping

    # --- running requests --------------------------------------------------------------

    def run_in_background(self) -> None:
        """Run requests in a thread of their own from now on."""
        self._background = True
        self._ended.clear()
        with self._starting:
            self._thread = threading.Thread(
                target=self._run, name=f"remoteobj-mailbox-{self.actor_id.name}", daemon=True
            )
            start(self._thread)

    def _run(self) -> None:
        try:
            self._serve_in_background()
        finally:
            self._ended.set()

    def _serve_in_background(self) -> None:
        unblock()
        if self.home_threads is not None:
            self.home_threads.add(threading.get_ident())
        try:
            self.runner.serve(until=lambda: not self._background)
        except ThreadUnwind:
            return  # whoever ends it has dropped the request, and goes on
        except BaseException as exc:
            if self.drops_request:
                return  # it was held too long, and its clients have been told
            # Never leave callers with nobody who serves them.
            self.last_word = pack_error(exc)
            self.mailbox.stop()
            self.report(exc)
        if self.ends_itself and (self._background or not self.listening):
            self._finish()

    def take_over(self) -> None:
        """Run requests in the calling thread from now on, no longer in the background."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        with self._take_over:
            if self._thread is not None:
                self._background = False
                self.mailbox.wake()
                if self._has_ended(thread):
                    self._thread = None

    def _has_ended(self, thread: threading.Thread) -> bool:
        """Wait until the second thread has ended. False: its request is dropped, but holds on to
        it, in the kernel or in code in C."""
        # No `join`: on Python 3.11 one that a signal's handler ends takes the thread for ended.
        while not (self._ended.is_set() or self.drops_request):
            self._ended.wait(LOOK_SECONDS)
        if not (self._ended.is_set() or self._holds_on):
            if self.mailbox.executor.current is not None:
                raise_in_thread(thread, ThreadUnwind)
            self._holds_on = not self._ended.wait(DROP_SECONDS)
        return self._ended.is_set()

    def process(self, timeout: float | None = 0.0, limit: int = sys.maxsize) -> int:
        """Run the requests that have arrived, waiting up to `timeout` s for the first."""
        if not self.listening:
            if self._stop_seen:
                raise NotListeningError(f"{self.actor_id.name} does not listen any more")
            # The stop may have come since the owner's loop last looked: no fault of it.
            self._stop_seen = True
            return 0
        deadline = None if timeout is None else time.monotonic() + timeout
        nested = self.mailbox.serving.within_request
        done = self.runner.process(deadline, limit, lasting=True)
        if not self.listening and not nested and self.ends_itself:
            self._finish()
        return done

    def stand_by(self, timeout: float | None) -> int:
        """Let the background run the requests: wait for the stop, so no loop spins or hangs."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return 0

    def paced(self, period: float) -> Pacer:
        """The ticks of a loop in this thread, which runs requests in between.

        Raises:
            RuntimeError: this thread is within a request, or in another loop so paced, or it is not
                the one that runs requests, or may.
        """
        loop = self._own_loop = self._own_loop or self._made_loop()
        loop.check(others_may_serve=self._thread is not None)
        serve = self.stand_by
        if self.mode is not Mode.BACKGROUND:
            self.take_over()
            serve = partial(self.process, limit=1)
        return loop.paced(period, serve, lambda: self.listening)

    def _made_loop(self) -> OwnLoop:
        with import_lock:
            from .own_loop import OwnLoop  # for a faster start-up: few need one

        return OwnLoop(self.actor_id.name, self.mailbox.serving, self.loop_thread)

    def serve(self) -> None:
        """Run requests in this thread until it is told to stop. Does not drain yet."""
        self.take_over()
        if self.listening:
            self.runner.serve(until=lambda: False)

    # --- what is published -----------------------------------------------------------------

    @property
    def publication(self) -> Publication:
        """What the object publishes, made when somebody first follows."""
        if self._publication is None:
            with import_lock:  # by which two threads do not make one each
                from .publication import Publication  # for a faster start-up

                if self._publication is None:
                    self._publication = Publication(self.control, self.wire_options)
        return self._publication

    def inline_channel(self) -> Channel | None:
        """By which one follows it that has no control thread; None: it has one."""
        return None if self.control.begun else self.publication.inline_channel()

    def publish(self, item: object) -> None:
        """Give an item to all who follow the object. From any thread.

        Raises:
            UnsendableError: it can't be pickled, and somebody follows.
        """
        if self._publication is not None:
            self._publication.publish(item)
            # An interruption that came meanwhile was put off: no frame must be left half written.
            if threading.current_thread() is threading.main_thread():
                self.mailbox.safe_point()

    @property
    def observers(self) -> Observers:
        """Those who look in, made when the first one comes: in the control thread alone."""
        if self._observers is None:
            with import_lock:
                from .observers import Observers  # for a faster start-up

            self._observers = Observers(self.control, self.handle_order)
        return self._observers

    # --- ending ------------------------------------------------------------------------

    def stop(self) -> None:
        """End: fulfil or refuse what has arrived, then close. Harmless when done twice.

        From within a request it only begins to end: the request is answered first.
        """
        self.begin_to_end()
        if self.mailbox.serving.within_request or not self.ends_itself:
            return
        with self._starting:
            thread = self._thread
        if thread is None:
            self._finish()
        elif thread is not threading.current_thread():
            thread.join()

    def begin_to_end(self) -> None:
        """Tell the thread that serves to stop, and the loop of an actor that waits for items."""
        self.mailbox.stop()
        if self._own_loop is not None:
            self._own_loop.end()

    def end_with_loop(self, follower: Closable) -> None:
        """If the loop of an actor has just made this, close it once that is to end."""
        if self.loop_thread is not None:
            loop = self._own_loop = self._own_loop or self._made_loop()
            if loop.closes(follower) and not self.listening:
                follower.close()

    def serve_to_the_end(self) -> None:
        """Run requests until it is served no more: in this thread, or wait where another does."""
        if self.mode is Mode.MANUAL:
            self.mailbox.serve(until=lambda: False)
            self.stop()
            return
        with self._starting:
            thread = self._thread
        if thread is not None:
            thread.join()

    def finish(self) -> None:
        """Fulfil or refuse what has arrived, in this thread; orders are still heard."""
        self.mailbox.stop()
        thread = self._thread
        alone = thread in (None, threading.current_thread()) or self._has_ended(thread)
        self.control.stop_accepting()
        if alone:
            self.runner.drain(self.fulfil and self.born, self.last_word)
        else:
            self.mailbox.leave(self.last_word)
        if self._publication is not None:
            failed = bool(self.last_word) or not self.born
            self._publication.finish(self.last_word if failed else None)

    def close(self) -> None:
        """Let go of everything; nothing runs here any more."""
        self.close_control()
        self.release()

    def close_control(self) -> None:
        """End the control thread, and the connections of those who look in."""
        self.control.close()
        if self._observers is not None:
            self._observers.close()

    def release(self) -> None:
        """Let go of everything but the control thread."""
        self.mailbox.close()
        local_servers.pop(self.actor_id, None)

    def abort(self) -> None:
        """Let go of a server that could not open."""
        self._finishing.acquire(blocking=False)
        self.control.abort()
        self.mailbox.close()

    def _finish(self) -> None:
        if not self._finishing.acquire(blocking=False):
            return
        self.finish()
        self.close()

    # --- what the control thread reports -----------------------------------------------

    def attach(self, stream: ByteStream, purpose: int) -> None:
        if purpose == FOLLOWS:
            self.publication.attach(stream)
        elif purpose == ORDERS:
            self.observers.attach(stream)
        else:
            self.mailbox.clients.attach(stream)

    def resume(self, client: Client) -> None:
        self.mailbox.clients.resume(client)

    def handle_order(self, order: Frame) -> Frame | None:
        """An object that its own process serves has no owner who gives orders."""
        return refusal_of_unknown(order, "it is no actor with an owner, and follows no order")

    def owner_gone(self) -> None:
        """Nor one that could be gone."""

    def report(self, exc: BaseException) -> None:
        """A one-way call failed, or a generator in its `finally`, after its consumer had left: tell
        it, since nobody waits for the outcome. It raises nothing, and the object is served on."""
        tell(f"{self.actor_id.name}: what nobody waits for failed", exc)
