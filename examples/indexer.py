"""`make demo`: an indexer reads the standard library, while you ask it questions.

Shows: an actor with a job of its own, in its own process. Meanwhile this program searches the
growing index, pauses and resumes the work, and changes settings. In the end the indexer is killed,
and a new process goes on from its state.

Watch for: `Indexer` knows nothing of messages or queues. Its loop says where it may be
interrupted, every hundred words, so an answer takes well under a millisecond. After every hundred
files it takes a checkpoint, so no more than that is read again after a death.

A number, as in `python examples/indexer.py 300`, has it read no more files than that.
"""

import keyword
import os
import random
import signal
import statistics
import sys
import sysconfig
import time
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from remoteobj import ActorDiedError, Handle, Proxy, remote

QUESTIONS = ("deque", "self", "asyncio", "os", "Counter", "tokenize", "socket", "there_is_none")


@remote(restart="on-failure")
class Indexer:
    """Reads source files, and knows how often each name stands in which of them."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.paused = False
        self.ignored: set[str] = set()
        self.done = 0
        self.bytes = 0
        self.words = 0
        self.index: dict[str, Counter[str]] = defaultdict(Counter)

    @remote.work
    def read_all(self) -> None:
        for path in self.files[self.done :]:
            for number, word in enumerate(self._words_of(path)):
                if number % 100 == 0 and not self._attend():
                    return
                if word not in self.ignored:
                    self.index[word][path.stem] += 1
                    self.words += 1
            self.done += 1
            self.bytes += path.stat().st_size
            if self.done % 100 == 0:
                self.remote.checkpoint_()

    @remote.checkpoint
    def state(self) -> dict[str, Any]:
        return vars(self)

    @remote.restore
    def go_on_from(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def _attend(self) -> bool:
        """Answer who asks; False when it is time to end."""
        self.remote.process_requests()
        while self.paused and self.remote.listening_:
            self.remote.process_requests(timeout=None)
        return bool(self.remote.listening_)

    def _words_of(self, path: Path) -> Iterator[str]:
        try:
            with tokenize.open(path) as file:
                for token in tokenize.generate_tokens(file.readline):
                    if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                        yield token.string
        except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
            pass  # some are meant to be wrong

    def search(self, word: str) -> tuple[int, list[str]]:
        """How often a word was seen until now, and the files that have most of it."""
        places = self.index.get(word, Counter())
        return places.total(), [file for file, _ in places.most_common(3)]


class Audience:
    """Asks the indexer while it works, and shows how far it is."""

    def __init__(self, indexer: Proxy, bar: Progress, total: int) -> None:
        self.indexer = indexer
        self.bar = bar
        self.total = total
        self.end = time.monotonic() + 25.0  # on a slow machine it shows what it has by then
        self.task = bar.add_task("indexing", total=total, words=0)
        self.latencies: list[float] = []

    def say(self, text: str) -> None:
        self.bar.console.print(text, highlight=False, soft_wrap=True)

    def ask(self, question: Callable[[], Any]) -> Any:
        """Ask something, and note how long the answer took."""
        start = time.perf_counter()
        answer = question()
        self.latencies.append(time.perf_counter() - start)
        return answer

    def watch(self, *, share: float = 1.0, seconds: float = 25.0) -> None:
        """Keep asking until that share of the files is read, or the time is up."""
        indexer, end = self.indexer, min(self.end, time.monotonic() + seconds)
        while time.monotonic() < end:
            done = self.ask(lambda: indexer.done.__)
            words = self.ask(lambda: indexer.words.__)
            self.ask(lambda: indexer.search(random.choice(QUESTIONS)))
            self.bar.update(self.task, completed=done, words=words, refresh=True)
            if done >= share * self.total:
                break
            time.sleep(0.02)


def sources() -> list[Path]:
    """The standard library without its tests; mixed, but in the same order every time."""
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "test", "tests"}
    found = sorted(library.rglob("*.py"))
    found = [path for path in found if left_out.isdisjoint(path.relative_to(library).parts)]
    random.Random(0).shuffle(found)
    return found


def steer(audience: Audience, indexer: Proxy) -> None:
    """What can be done to the work while it goes on over there."""
    say, ask = audience.say, audience.ask

    audience.watch(share=0.2)
    count, places = ask(lambda: indexer.search("path"))
    say(f"A fifth is read. path: {count} times until now, most in {', '.join(places)}")

    indexer.paused = True
    before = ask(lambda: indexer.words.__)
    audience.watch(seconds=1.0)
    after = ask(lambda: indexer.words.__)
    say(f"Paused for 1 s, and answering all the same: {after - before} words were read in it")
    indexer.paused = False

    audience.watch(share=0.4)
    indexer.ignored = {"self"}
    selves = ask(lambda: indexer.search("self")[0])
    audience.watch(share=0.6)
    more = ask(lambda: indexer.search("self")[0]) - selves
    say(f'self was there {selves} times. Since indexer.ignored = {{"self"}}: {more} more')

    longest = ask(lambda: indexer.passto(lambda obj: max(obj.index, key=len)))
    say(f"A lambda over there finds the longest name: {longest}")


def show_a_death(audience: Audience, indexer: Handle[Indexer]) -> None:
    """What a caller sees when the process is killed in the middle of its work, and what then."""
    say = audience.say
    audience.watch(share=0.8)
    say(f"At file {indexer.done.__}, with {len(indexer.index)} names, a lambda kills its process")
    try:
        indexer.passto(lambda _: os.kill(os.getpid(), signal.SIGKILL))
    except ActorDiedError as death:
        say(f"[red]{type(death).__name__}: {death}[/red]")
        say(f"exitcode={death.exitcode}, maybe_executed={death.maybe_executed}")
    done = indexer.done.__  # waits for the next process
    say(f"Process {indexer.pid_} goes on after file {done}, with {len(indexer.index)} names")


def report(audience: Audience, seconds: float) -> Table:
    indexer, latencies = audience.indexer, audience.latencies
    table = Table("what", title=f"The standard library of Python {sys.version.split()[0]}")
    table.add_column("how much", justify="right")
    for what, how_much in (
        ("files read", f"{indexer.done.__:,}"),
        ("megabytes", f"{indexer.bytes.__ / 1e6:.1f}"),
        ("words indexed", f"{indexer.words.__:,}"),
        ("different words", f"{len(indexer.index):,}"),
        ("queries answered meanwhile", f"{len(latencies):,}"),
        ("their median latency", f"{statistics.median(latencies) * 1e3:.2f} ms"),
        ("99 of 100 within", f"{statistics.quantiles(latencies, n=100)[98] * 1e3:.2f} ms"),
        ("seconds in all", f"{seconds:.1f}"),
        ("processor seconds there", f"{indexer.passto(lambda _: time.process_time()):.1f}"),
        ("processor seconds here", f"{time.process_time():.1f}"),
    ):
        table.add_row(what, how_much)
    return table


def main() -> None:
    start = time.monotonic()
    console = Console()
    files = sources()[: int(sys.argv[1]) if sys.argv[1:] else None]
    with (
        Indexer.spawn(files) as indexer,
        Progress(
            BarColumn(),
            TextColumn("{task.completed}/{task.total} files, {task.fields[words]:,} words"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,  # no thread of its own: the next process may be forked
            disable=not console.is_terminal,
        ) as bar,
    ):
        audience = Audience(indexer, bar, len(files))
        audience.say(f"Indexing {len(files)} files in process {indexer.pid_}; we are {os.getpid()}")
        steer(audience, indexer)
        show_a_death(audience, indexer)
        audience.watch()
        table = report(audience, time.monotonic() - start)
    console.print(table)
    console.print(f"Process {indexer.pid_} has ended, with exit code {indexer.exitcode_}.")


main()
