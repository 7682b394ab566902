"""Minutes of everything at once: processes and threads that call actors which are being killed.

Some are restarted by their owner, others by the library: alone, by supervisors, or in a pool.
`SOAK=3600 make soak` goes on for an hour. Time is cut into rounds, and after each the files in
which actors say what they did are compared with what their callers were told, and removed.
"""

import contextlib
import gc
import multiprocessing
import os
import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from remoteobj import ActorDiedError, NotListeningError, SpawnOptions
from tests import leaks
from tests.soak_actors import FOREVER, PATIENCE, Grove, LoopBridge, PoolFace, Worker

SECONDS = float(os.environ.get("SOAK", "60"))
CLIENTS = 4
"""So many processes, and so many threads of this one, call one actor after the other."""
FACES = 5
"""So many more threads call a supervised actor, or a pool, each."""
ROUND = 5.0
PAGE = Path(__file__).parents[1] / "docs" / "_soak.md"
MADE = "made"
"""In place of an outcome: the tokens from the first number to the second were made."""
ENDS = ["signal", "kill", "kill", "terminate", "stop", "stop"]
SUPERVISED, POOLS = 10**6, 2 * 10**6
"""Lives from these numbers on are those of supervised actors, and of pools."""
USUAL_ACTS = 60, 20, 10, 2, 8
ACTS_OF_POOLS = 60, 20, 0, 2, 0
"""How often each is done; a pool has no streams and no casts."""


# ------------------------------------------------------------------ those who call


class Wrong(Exception):
    """A value that is not what the call must give."""


class CutShort(Exception):
    """A stream ended before its end: it has run, and not to the end."""


def value_of(worker: Any, token: int) -> None:
    if worker.execute(token) != -token:
        raise Wrong("value")


def items_of(worker: Any, token: int, count: int) -> None:
    stream = worker.rows(token, count)
    try:
        items = list(stream)
    except NotListeningError as exc:
        raise CutShort from exc
    if items != [(token, i) for i in range(count)]:
        raise Wrong("items")


def array_of(future: Any, token: int, size: int, kept: list[Any]) -> None:
    came = future.result(timeout=PATIENCE)
    kept.append(came)
    if len(came) != size or not (came == token % 251 + 1).all():
        raise Wrong("array")


def array_for(token: int, size: int) -> Any:
    return np.full(size, token % 251, np.uint8)


def result_of(future: Any, token: int) -> None:
    if future.result(timeout=PATIENCE) != -token:
        raise Wrong("result")


def said(kind: str) -> str:
    """A word, and the exception that is at hand, in one line."""
    return f"{kind} {traceback.format_exc(chain=False)}".replace("\n", " | ")


def is_restarted(life: int) -> bool:
    """Whether the library restarts the actor that has this life."""
    return life % 2 == 0 or life >= SUPERVISED


class Client:
    """Makes calls until its time is up, and writes down what it was told of each.

    `find` gives the number of an actor's life and the actor.
    """

    def __init__(self, who: int, find: Callable[[], tuple[int, Any]]) -> None:
        self._who = who
        self._find = find
        self._rng = random.Random(who)
        self._next = who * 10**12
        self._told: Any = None
        self._life = self._gone = -1
        self.made = 0

    def work(self, until: float, told: Path) -> int:
        """Work for one round; the number of calls that were made in it."""
        self.made = 0
        self._life, worker, goes_on = -1, None, False
        with told.with_suffix(".part").open("w") as self._told:
            while time.monotonic() < until:
                if not goes_on:
                    worker = self._look(worker)
                    if worker is None:
                        time.sleep(0.001)  # its successor is being made
                        continue
                goes_on = self._step(worker)
                if not (goes_on or is_restarted(self._life)):
                    self._gone = self._life
                if self._gone == self._life:
                    worker, goes_on = None, False
        self._publish(told)
        return self.made

    def _look(self, worker: Any) -> Any:
        """The worker to call now: the one that was called before, if it is restarted."""
        life, found = self._find()
        if life == self._gone:
            return None
        if life != self._life:
            self._life, worker = life, found
        return worker

    def _publish(self, told: Path) -> None:
        """Give out what was written, with the tokens that were made before it."""
        part = told.with_suffix(".part")
        first = self._next - self.made
        told.write_text(f"{first} {self._next} 0 {MADE}\n{part.read_text()}")
        part.unlink()

    def _step(self, worker: Any) -> bool:
        """One thing; False: there is nobody any more."""
        weights = ACTS_OF_POOLS if isinstance(worker, PoolFace) else USUAL_ACTS
        act = self._rng.choices([0, 1, 2, 3, 4], weights)[0]
        if act == 0:
            return all(self._tell(value_of, worker) for _ in range(20))
        if act == 1:
            return self._futures(worker, self._rng.randrange(1, 100))
        if act == 2:
            return self._tell(items_of, worker, self._rng.randrange(60))
        if act == 3:
            return self._arrays(worker)
        return self._cast(worker)

    def _futures(self, worker: Any, count: int) -> bool:
        made = self._submit(count, worker.future_.execute)
        told = [self._note(token, result_of, future) for token, future in made]
        return len(made) == count and all(told)

    def _arrays(self, worker: Any) -> bool:
        """Several on their way at once, and all kept: none may be where another one still is."""
        size = self._rng.randrange(2_000_000, 20_000_000)
        future = worker.future_
        made = self._submit(3, lambda token: future.add_one(token, array_for(token, size)))
        kept: list[Any] = []
        told = [self._note(token, array_of, future, size, kept) for token, future in made]
        tokens = [token for token, _ in made]
        if len(kept) == 3 and [one[-1] for one in kept] != [token % 251 + 1 for token in tokens]:
            self._write(tokens[0], "wrong: one array was written over by another")
        return len(made) == 3 and all(told)

    def _submit(self, count: int, act: Callable[[int], Any]) -> list[tuple[int, Any]]:
        """Make calls until there is nobody any more; the token and the future of each."""
        tokens = [self._token() for _ in range(count)]
        made: list[tuple[int, Any]] = []
        refused = "refused"
        try:
            for token in tokens:
                made.append((token, act(token)))  # noqa: PERF401 - as many as can be
        except BrokenExecutor:
            self._gone = self._life
        except (ActorDiedError, NotListeningError):
            pass
        except Exception:
            refused = said("wrong")
        for token in tokens[len(made) :]:
            self._write(token, refused)
        return made

    def _cast(self, worker: Any) -> bool:
        token = self._token()
        try:
            worker.cast_.execute(token)
        except (ActorDiedError, NotListeningError):
            self._write(token, "refused")
            return False
        self._write(token, "cast")
        return True

    def _token(self) -> int:
        self.made += 1
        self._next += 1
        return self._next - 1

    def _tell(self, act: Callable[..., None], worker: Any, *args: Any) -> bool:
        token = self._token()
        return self._note(token, act, worker, *args)

    def _note(self, token: int, act: Callable[..., None], subject: Any, *args: Any) -> bool:
        try:
            act(subject, token, *args)
        except (ActorDiedError, NotListeningError) as exc:
            kind = "maybe" if getattr(exc, "maybe_executed", False) else "refused"
            self._write(token, said(kind))
            return False
        except BrokenExecutor:  # its workers were killed one after the other, before they were born
            self._gone = self._life
            self._write(token, said("refused"))
            return False
        except CutShort:
            self._write(token, "maybe")
            return False
        except TimeoutError:
            self._write(token, "lost")
        except Wrong as exc:
            self._write(token, f"wrong {exc}")
        except Exception:
            self._write(token, said("wrong"))
        else:
            self._write(token, "ok")
        return True

    def _write(self, token: int, outcome: str) -> None:
        self._told.write(f"{token} {self._life} {time.monotonic()} {outcome}\n")


def descriptors() -> int:
    """How many are open."""
    gc.collect()
    return len(list(leaks.list_descriptors()))


def settled(most: int) -> int:
    """The same, once no more are open than there should be, or time is up."""
    deadline = time.monotonic() + 5.0  # memory that nobody uses is kept for a moment
    while (count := descriptors()) > most and time.monotonic() < deadline:
        time.sleep(0.05)
    return count


def serve_rounds(who: int, desk: Any, orders: Any) -> None:
    """A client process: one round for each order, until None comes."""
    client = Client(who, desk.current)
    usual = 0
    while (order := orders.recv()) is not None:
        until, told = order
        made = client.work(until, told)
        orders.send(made)
        # The round's last actor is stopped before they are counted: its connection ends then.
        orders.recv()
        if not usual:
            usual = settled(0)
        orders.send(max(0, settled(usual) - usual))


# ------------------------------------------------------------------ one who kills


class Crew:
    """One worker after another, each ended in one way or another; this process owns them."""

    def __init__(self, directory: Path, desk: Any, rng: random.Random) -> None:
        self._directory = directory
        self._desk = desk
        self._rng = rng
        self._life = 0
        self.current: tuple[int, Any] = (0, None)
        self.ends: Counter[str] = Counter()
        self.restarts = 0
        self.ended: dict[int, float] = {}
        """When each was first told to end: no call on it may fail before."""

    def find(self) -> tuple[int, Any]:
        return self.current

    def replace(self) -> None:
        """The next worker; it is announced when it can be called."""
        self._life += 1
        options: SpawnOptions = {"fulfill_final": self._rng.random() < 0.7}
        if is_restarted(self._life):
            options |= {"restart": "on-failure", "max_restarts": FOREVER}
            options |= {"backoff": 0.0, "checkpoint_every": 0.0}
        worker = Worker.options(**options).spawn(self.executed(self._life))
        self.current = (self._life, worker)
        self._desk.announce(self._life, worker)

    def executed(self, life: int) -> str:
        return str(self._directory / f"executed-{life}")

    def end(self, how: str) -> None:
        """End the worker that is there."""
        life, worker = self.current
        self.ends[how] += 1
        self.ended.setdefault(life, time.monotonic())
        if how == "signal":
            os.kill(worker.pid_, signal.SIGKILL)
        elif how == "kill":
            worker.kill_()
        elif how == "terminate":
            worker.terminate_()
        if how != "stop":
            assert worker.join_(20)
        worker.stop_()
        self.restarts += worker.restarts_

    def kill_for_a_restart(self) -> None:
        """Kill the worker that is there, also in its restart."""
        life, worker = self.current
        self.ended.setdefault(life, time.monotonic())
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid_, signal.SIGKILL)

    def work(self, until: float) -> None:
        """Kill and replace for a round; at its end the last one is still there."""
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self._rng.uniform(0.02, 0.8)))
            how = self._rng.choice(ENDS)
            if is_restarted(self.current[0]) and self._rng.random() < 0.8:
                self.kill_for_a_restart()
            else:
                self.end("kill" if how == "signal" and is_restarted(self.current[0]) else how)
                self.replace()


# ------------------------------------------------------------------ what came of it


class Figures(NamedTuple):
    calls: int
    ok: int
    maybe: int
    refused: int
    casts: int
    lost: int
    twice: int
    wrong: list[str]
    """What is not in order, each with all that is known of it."""


class Told(NamedTuple):
    """What a caller was told of a call."""

    life: int
    """Of the actor that it had called."""
    when: float
    outcome: str

    @property
    def kind(self) -> str:
        return self.outcome.split()[0]


def whole_lines(path: Path) -> list[str]:
    """The lines that were written to their ends: a SIGKILL may tear the last one, where it comes in
    the midst of a write that crosses a page."""
    return path.read_text().split("\n")[:-1]


def executions(directory: Path) -> tuple[dict[int, list[int]], set[int]]:
    """The lives of actors that have executed each token, and the tokens that they have forgotten:
    after a death they count on from before these. The workers of a pool keep nothing."""
    lives: dict[int, list[int]] = {}
    forgotten: set[int] = set()
    kept: dict[tuple[int, int], int] = {}
    for path in sorted(directory.glob("executed-*"), key=order_of):
        life = order_of(path)[0]
        for line in whole_lines(path):
            token, number = map(int, line.split())
            lives.setdefault(token, []).append(life)
            if (life, number) in kept:
                forgotten.add(kept[life, number])
            if is_restarted(life) and life < POOLS:
                kept[life, number] = token
        path.unlink()
    return lives, forgotten


def order_of(path: Path) -> tuple[int, ...]:
    """The life of the actor that wrote a file, and when that one of its processes began."""
    return tuple(map(int, path.name.split("-")[1:]))


def outcomes(directory: Path) -> dict[int, list[Told]]:
    """What the callers were told of each token that they have made; of a lost one, nothing."""
    told: dict[int, list[Told]] = {}
    for path in directory.glob("told-*"):
        for line in whole_lines(path):
            number, which, when, outcome = line.split(" ", 3)
            if outcome == MADE:
                told.update({token: [] for token in range(int(number), int(which))})
            else:
                told[int(number)].append(Told(int(which), float(when), outcome))
        path.unlink()
    return told


def disorder(
    told: list[Told], lives: list[int], ended: dict[int, float], forgotten: bool = False
) -> str:
    """What is wrong with a call, of which its caller was told so, and which these have executed."""
    if len(told) != 1:
        return f"{len(told)} outcomes"
    (life, when, _), kind = told[0], told[0].kind
    if kind in ("wrong", "lost"):
        return f"its outcome is {kind}"
    if kind in ("refused", "maybe") and when < ended.get(life, 0.0):
        return "its actor lived"
    if kind == "ok" and forgotten:
        return "its effect was lost"
    if kind == "ok" and not lives:
        return "it was not executed"
    if kind == "refused" and lives:
        return "it was executed"
    return "it was executed more than once" if len(lives) > 1 else ""


def described(token: int, what: str, told: list[Told], lives: list[int]) -> str:
    """All that is known of a call that is not in order."""
    executed = ", ".join(map(str, lives)) or "none"
    said = "; ".join(f"{one.outcome} (of life {one.life}, at {one.when})" for one in told)
    return (
        f"{token}: {what}. Executed by life: {executed}. Its caller was told: {said or 'nothing'}"
    )


def compare(directory: Path, ended: dict[int, float]) -> Figures:
    """What callers were told against what was done; removes the files."""
    (ran, forgotten), told = executions(directory), outcomes(directory)
    wrong = [
        described(token, "it was never called", [], ran[token])
        for token in ran.keys() - told.keys()
    ]
    for token, said in told.items():
        lives = ran.get(token, [])
        if what := disorder(said, lives, ended, token in forgotten):
            wrong.append(described(token, what, said, lives))
    kinds = Counter(one.kind for said in told.values() for one in said)
    return Figures(
        calls=len(told),
        ok=kinds["ok"],
        maybe=kinds["maybe"],
        refused=kinds["refused"],
        casts=kinds["cast"],
        lost=sum(len(said) != 1 for said in told.values()) + kinds["lost"],
        twice=sum(len(lives) > 1 for lives in ran.values()),
        wrong=wrong,
    )


class Threads:
    """The clients that are threads of this process, for one round."""

    def __init__(self, clients: list[Client], until: float, directory: Path) -> None:
        self._made: list[int] = []
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(client, until, directory / f"told-thread-{number}"),
                name=f"soak-{number}",
            )
            for number, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, client: Client, until: float, told: Path) -> None:
        self._made.append(client.work(until, told))

    def made(self) -> int:
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive(), "a call did not end"
        assert len(self._made) == len(self._threads), "a client failed"
        return sum(self._made)


def received(orders: Any) -> Any:
    assert orders.poll(2 * PATIENCE), "a client does not answer: a call did not end"
    return orders.recv()


def soak(seconds: float, round_seconds: float, directory: Path, places: list[Path]) -> Counter[str]:
    """Go on for so many seconds; the sum of all figures, which are to be 0 where they may be."""
    context = multiprocessing.get_context("fork")
    total: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        desk = stack.enter_context(LoopBridge.options(start_method="fork").spawn())
        crew = Crew(directory, desk, random.Random(1))
        orders, processes = [], []
        for who in range(CLIENTS):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve_rounds, args=(who, desk, theirs))
            process.start()
            theirs.close()
            orders.append(ours)
            processes.append(process)
            stack.callback(process.join, 10)
            stack.callback(ours.close)
            stack.callback(_suppressing, ours.send, None)
        threads = [Client(100 + who, crew.find) for who in range(CLIENTS)]
        faces: list[tuple[int, Any]] = []
        threads += [
            Client(200 + who, partial(list.__getitem__, faces, who)) for who in range(FACES)
        ]
        before: leaks.Snapshot | None = None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            crew.replace()
            lives = SUPERVISED + 10 * total["rounds"], POOLS + total["rounds"]
            grove = Grove(crew.executed, *lives, random.Random(total["rounds"]))
            faces[:] = grove.faces
            until = time.monotonic() + round_seconds
            for who, one in enumerate(orders):
                one.send((until, directory / f"told-{who}"))
            group = Threads(threads, until, directory)
            crew.work(until)
            made = group.made() + sum(map(received, orders))
            crew.end("stop")
            faces.clear()
            grove.close()
            total.update({"killed in trees and pools": grove.deaths})
            crew.current = (0, None)
            desk.announce(0, None)
            for one in orders:
                one.send("count")
            leaked = sum(received(one) for one in orders)
            figures = compare(directory, crew.ended)
            assert figures.calls == made
            if before is None:
                before = leaks.Snapshot.take(places)
            else:
                left = leaks.left_since(before, places).describe()
                leaked += len(left)
                print(*left, sep="\n")
            print(*figures.wrong[:20], sep="\n")
            total.update(figures._asdict() | {"wrong": len(figures.wrong)}, leaked=leaked, rounds=1)
            del grove
        total.update(actors=sum(crew.ends.values()), restarts=crew.restarts)
        total.update({f"ended by {how}": count for how, count in crew.ends.items()})
    assert [process.exitcode for process in processes] == [0] * CLIENTS
    for process in processes:
        process.close()
    return total


def _suppressing(act: Callable[..., object], *args: Any) -> None:
    with contextlib.suppress(OSError):
        act(*args)


def assert_clean(total: Counter[str]) -> None:
    assert {name: total[name] for name in ("lost", "twice", "wrong", "leaked")} == {
        "lost": 0,
        "twice": 0,
        "wrong": 0,
        "leaked": 0,
    }
    assert total["ok"] > 0
    ended = sum(total[name] for name in ("ok", "maybe", "refused", "casts"))
    assert ended == total["calls"]


def written(directory: Path, told: str, **executed: str) -> Figures:
    """What comes of these files, if all actors were ended at 1.0."""
    (directory / "told-0").write_text(told)
    for life, text in executed.items():
        (directory / f"executed-{life.removeprefix('life').replace('_', '-')}").write_text(text)
    return compare(directory, dict.fromkeys(range(9), 1.0))


def test_a_line_that_a_kill_has_torn_is_not_counted(tmp_path: Path) -> None:
    told = "10 12 0 made\n10 1 2.0 ok\n11 1 2.0 maybe ActorDiedError\n"
    figures = written(tmp_path, told, life1="10 1\n1")
    assert (figures.ok, figures.maybe, figures.lost, figures.wrong) == (1, 1, 0, [])


@pytest.mark.parametrize(
    ("told", "executed", "says"),
    [
        ("ok", "", "it was not executed. Executed by life: none. Its caller was told: ok"),
        ("refused", "10 1\n", "it was executed. Executed by life: 1. Its caller was told: refused"),
        (
            "maybe",
            "10 1\n10 2\n",
            "more than once. Executed by life: 1, 1. Its caller was told: maybe",
        ),
        ("wrong value", "10 1\n", "its outcome is wrong. Executed by life: 1."),
        ("lost", "", "its outcome is lost"),
    ],
)
def test_what_is_not_in_order_is_explained(
    tmp_path: Path, told: str, executed: str, says: str
) -> None:
    figures = written(tmp_path, f"10 11 0 made\n10 1 2.0 {told}\n", life1=executed)
    assert [says in one for one in figures.wrong] == [True], figures.wrong


def test_a_call_without_an_outcome_or_that_nobody_made_is_explained(tmp_path: Path) -> None:
    figures = written(tmp_path, "10 11 0 made\n", life1="10 1\n", life2="77 1\n")
    assert figures.lost == 1
    assert sorted(figures.wrong) == [
        "10: 0 outcomes. Executed by life: 1. Its caller was told: nothing",
        "77: it was never called. Executed by life: 2. Its caller was told: nothing",
    ]


def test_an_outcome_of_a_death_before_that_death_is_explained(tmp_path: Path) -> None:
    figures = written(tmp_path, "10 11 0 made\n10 1 0.5 refused\n")
    assert "its actor lived" in figures.wrong[0]


@pytest.mark.parametrize(("outcome", "wrong"), [("ok", 1), ("maybe", 0)])
def test_an_effect_that_was_lost_in_a_restart_although_its_caller_was_told_of_it_is_explained(
    tmp_path: Path, outcome: str, wrong: int
) -> None:
    """The next process counts its first execution by the same number."""
    told = f"10 12 0 made\n10 2 2.0 {outcome}\n11 2 2.0 ok\n"
    figures = written(tmp_path, told, life2_900_1="10 1\n", life2_1000_2="11 1\n")
    assert len(figures.wrong) == wrong
    assert all("10: its effect was lost" in one for one in figures.wrong)


def test_a_short_soak(tmp_path: Path, places: list[Path]) -> None:
    """So that the long one is known to work."""
    assert_clean(soak(1.6, 0.8, tmp_path, places))


def page_of(total: Counter[str]) -> str:
    """The figures, as a part of the docs."""
    names = {
        "calls": "calls, streams and casts",
        "ok": "answered, and executed exactly once",
        "casts": "casts",
        "refused": "ended by a death or a stop, not executed",
        "maybe": "ended by a death, perhaps executed",
        "restarts": "deaths of actors that the library restarted",
        "killed in trees and pools": "deaths of supervised actors, and of workers of pools",
        "actors": "actors that were ended, by " + ", ".join(sorted({f"`{one}`" for one in ENDS})),
        "lost": "**without an outcome, or with two**",
        "twice": "**executed twice**",
        "wrong": "**with a wrong value or a false outcome**",
        "leaked": "**processes, threads, descriptors, segments and files left behind**",
    }
    rows = [f"| {text} | {total[name]:,} |" for name, text in names.items()]
    threads = CLIENTS + FACES
    head = f"| in {SECONDS:.0f} s, with {CLIENTS} processes and {threads} threads that call | |"
    return "\n".join([head, "|---|---|", *rows, ""])


@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 1.5 + 120)
def test_a_long_soak(
    tmp_path: Path,
    places: list[Path],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    total = soak(SECONDS, ROUND, tmp_path, places)
    with capsys.disabled():
        print(f"\n{page_of(total)}")
    assert_clean(total)
    if request.config.getoption("--write"):
        PAGE.write_text(page_of(total), "utf-8")
