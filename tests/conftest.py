"""Fixtures for every test: what is left behind, and which engine an actor runs on."""

import contextlib
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from multiprocessing.util import Finalize
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from remoteobj.testing import Gate
from tests.internals import preload_in_fork_server, sweep
from tests.tools import Script, Scripts

if TYPE_CHECKING:
    from tests.ray_cluster import RayCluster

# ------------------------------------------------------------------ portability

ONLY_ON_LINUX: dict[str, ModuleType] = {
    "memfd_create": os,
    "pidfd_open": os,
    "eventfd": os,
    "SO_PEERCRED": socket,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without",
        action="append",
        choices=list(ONLY_ON_LINUX),
        help="run as on a system that has no such thing",
    )
    parser.addoption(
        "--engine",
        choices=list(LAUNCHES),
        help="run only what runs on this engine, and on this one alone",
    )
    parser.addoption("--write", action="store_true", help="write the soak's figures into the docs")


def pytest_configure(config: pytest.Config) -> None:
    for name in config.getoption("--without") or []:
        if hasattr(ONLY_ON_LINUX[name], name):
            delattr(ONLY_ON_LINUX[name], name)
    # Not at the top, since actors that are started anew import this module too: start-up.
    from hypothesis import settings

    # A round trip takes as long as the machine makes it wait; a failure must be the same tomorrow.
    settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
    settings.load_profile("repeatable")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once per engine, which an option chooses: that is known only now."""
    chosen = metafunc.config.getoption("--engine")
    if "launch" in metafunc.fixturenames:
        names = [chosen] if chosen else [name for name in LAUNCHES if name not in ON_REQUEST]
        metafunc.parametrize("launch", names, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs on no engine, if one was chosen, or on one that must be chosen."""
    chosen = config.getoption("--engine")

    def left_out(item: pytest.Item) -> bool:
        engine = engine_of(item)
        return engine != chosen if chosen else engine in ON_REQUEST

    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]


def engine_of(item: pytest.Item) -> str | None:
    """The name of the launch or the home that a test is to run with; None: it has neither."""
    if "on_ray" in item.path.parts or "cluster" in getattr(item, "fixturenames", ()):
        return "ray"
    callspec = getattr(item, "callspec", None)
    params: dict[str, str] = callspec.params if callspec else {}
    return params.get("launch", params.get("home"))


@pytest.fixture(scope="module", autouse=True)
def no_garbage() -> None:
    """What is there by now, thousands of tests and all that was imported for them, is no garbage.

    It need not be searched whenever some is collected, as after most tests: that would soon take
    longer than the tests themselves.
    """
    gc.collect()
    gc.freeze()


# ------------------------------------------------------------------ failures

FAILURES = pytest.StashKey[list[str]]()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Remember what has failed, as the reports of all workers say."""
    stats = terminalreporter.stats
    failed = [*stats.get("failed", ()), *stats.get("error", ())]
    config.stash[FAILURES] = sorted({report.nodeid for report in failed})


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last lines are the names of what failed, for who sees no more than the end."""
    if names := config.stash.get(FAILURES, []):
        print(f"{len(names)} failed:", *names, sep="\n")


# ------------------------------------------------------------------ leaks

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """A temp and a run directory of this test process alone, so that all in them is its own."""
    tmp_path_factory.getbasetemp()  # pytest's own stays where users look for it
    # Short, since the address of a Unix socket ends after some hundred bytes.
    base = Path(tempfile.mkdtemp(prefix="ro-"))
    runtime, temporary = base / "r", base / "t"
    runtime.mkdir(mode=0o700)
    temporary.mkdir()
    # After the package's own removals and multiprocessing's (at -100), and in no forked child.
    Finalize(None, shutil.rmtree, args=(base, True), exitpriority=-200)
    from tests import leaks  # not at the top, as with hypothesis: start-up

    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # It is so where a shell began us in the background, and programs of ours would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Most modules of tests import these, and each actor would have to when it imports its class.
    preload_in_fork_server("asyncio", "tests.conftest")
    with pytest.MonkeyPatch.context() as patch:
        leaks.adopt_orphans(patch)
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        yield [base]


@pytest.fixture(autouse=True)
def nothing_left(
    request: pytest.FixtureRequest, places: list[Path], chosen_engine: None
) -> Iterator[None]:
    """No process, thread, descriptor, shared memory or file may stay beyond what stood before."""
    from tests import leaks  # start-up, again

    before = leaks.Snapshot.take(places)
    yield
    if request.node.stash.get(FAILED, False):
        # The traceback of a failure keeps its frames' handles alive. One report of it is enough.
        leaks.kill(leaks.Snapshot.take().beyond(before).pids())
        return
    left = leaks.left_since(before, places)
    leaks.kill(left.pids())
    if entries := left.describe():
        pytest.fail("left behind:\n  " + "\n  ".join(entries), pytrace=False)


# ------------------------------------------------------------------ engines

Launch: TypeAlias = dict[str, Any]

LAUNCHES: dict[str, Launch] = {
    "fork": {"engine": "process", "start_method": "fork"},
    "forkserver": {"engine": "process", "start_method": "forkserver"},
    "spawn": {"engine": "process", "start_method": "spawn"},
    "thread": {"engine": "thread"},
    "inline": {"engine": "inline"},
    "tcp": {"engine": "process", "start_method": "fork"},
    "ray": {"engine": "ray"},
}
"""`tcp` is another transport for all connections, the owner's own among them."""
NO_FORKS = {"ray": "a process that has Ray in it can't be forked"}
NO_CODES = {"ray": "Ray does not say by which signal a process died, or with which exit code"}
SLOW_CANCEL = {"ray": "a cancel is on its way for longer than a gate takes to open"}
ON_REQUEST = {"ray"}
"""Those that run only where `--engine` chooses them: an actor of Ray takes a second to start, and
it needs a cluster."""
START_METHODS = ["fork", "forkserver", "spawn"]
ENGINE_NAMES = {"process", *LAUNCHES}


@pytest.fixture(scope="session")
def cluster(places: list[Path]) -> Iterator["RayCluster"]:
    """A cluster of Ray of this test process alone: see `tests/ray_cluster.py`."""
    from tests import leaks  # start-up, again
    from tests.ray_cluster import running_cluster  # start-up, again

    with running_cluster(places[0].parent) as cluster:
        leaks.NEIGHBOURS.append(cluster)
        yield cluster
        leaks.NEIGHBOURS.remove(cluster)


@pytest.fixture(scope="session", autouse=True)
def chosen_engine(request: pytest.FixtureRequest) -> None:
    """It is there before the first test is asked what it leaves."""
    if request.config.getoption("--engine") == "ray":
        multiprocessing.set_start_method("forkserver")  # see `NO_FORKS`
        request.getfixturevalue("cluster")


@pytest.fixture
def launch(request: pytest.FixtureRequest) -> Launch:
    """Options for ``Cls.options(**launch).spawn(...)``: the test runs once per engine."""
    name: str = request.param
    options = LAUNCHES[name]
    skip_as_marked(request.node, {name, options["engine"]})
    if method := options.get("start_method"):
        _needs(method)
    if name == "tcp":
        request.getfixturevalue("over_tcp")
    return dict(options)


@pytest.fixture
def over_tcp() -> Iterator[None]:
    """Whatever is made in the test is reached over TCP, and passes no descriptors."""
    # Not at the top: `--without` has its effect before the package is imported.
    from tests.tcp_transport import everything_over_tcp

    with everything_over_tcp():
        yield


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> str:
    """The test runs once per way to start a process."""
    method: str = request.param
    _needs(method)
    return method


def _needs(start_method: str) -> None:
    if start_method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} can't start processes by {start_method}")


def skip_as_marked(item: pytest.Item, names: set[str]) -> None:
    """Skip a test that leaves out the engine which goes by these names."""
    for mark in item.iter_markers("engines"):
        if reason := why_skipped(names, *mark.args, **mark.kwargs):
            pytest.skip(reason)


def why_skipped(
    names: set[str],
    *,
    skip: Mapping[str, str] | None = None,
    only: Iterable[str] = (),
    reason: str = "",
) -> str | None:
    """What ``@pytest.mark.engines(...)`` says of an engine that goes by ``names``."""
    skip, only = dict(skip or {}), set(only)
    if unknown := (skip.keys() | only) - ENGINE_NAMES:
        raise pytest.UsageError(f"there is no engine {unknown}; there are {ENGINE_NAMES}")
    if (only and not reason) or not all(skip.values()):
        raise pytest.UsageError("an engine that is left out needs a reason")
    for name in names & skip.keys():
        return skip[name]
    return reason if only and not names & only else None


# ------------------------------------------------------------------ tools


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A place where an actor waits until the test lets it go on."""
    with Gate() as made:
        yield made


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Scripts]:
    """Start programs of their own. A fault in one, or a hang, ends nothing but that program.

    What they leave when they are killed is removed: the directory of `multiprocessing`'s fork
    server, which is in a temporary directory of theirs, and our own, which the next start sweeps.
    """
    started: list[Script] = []
    temporary = tempfile.mkdtemp(prefix="s")

    def start(source: str, *args: object, prelude: str = "", **environment: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        environment = {"TMPDIR": temporary, **environment}
        started.append(Script(path, source, *args, prelude=prelude, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()
    shutil.rmtree(temporary)
    sweep()


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The runtime directory of a program that is given it as `XDG_RUNTIME_DIR`; its path is short
    enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was told so far, once nobody has the failed things any more: failures that nobody had
    looked at."""

    def words() -> list[str]:
        gc.collect()
        records = [one for one in caplog.records if one.name == "remoteobj"]
        assert all(one.levelno == logging.ERROR and one.exc_info for one in records)
        return [str(one.exc_info[1]) for one in records if one.exc_info]

    return words


@pytest.fixture
def sleeper() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """A process that leads a group, with a child in it whose pid it has printed."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = ["sh", "-c", "sleep 60 & echo $!; wait"]
        one = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
        started.append(one)
        return one

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.communicate()
