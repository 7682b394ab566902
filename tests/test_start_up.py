"""What a start costs: what is imported, and what of the memory that a fork shares is copied."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import remote
from tests.internals import import_lock

LATE = {
    "asyncio",
    "cloudpickle",
    "concurrent.futures",
    "ctypes",
    "dataclasses",
    "hmac",
    "inspect",
    "logging",
    "multiprocessing.connection",
    "shutil",
    "tempfile",
    "traceback",
    "uuid",
}
"""Modules that take long to import, and that most programs do without."""


ALL_BUT_POOL = """
import remoteobj
for name in remoteobj.__all__:
    if name != "Pool":  # which is an `Executor`, and so needs `concurrent.futures`
        getattr(remoteobj, name)
"""


def printed_by(source: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{source}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stdout.split())


def test_importing_the_package_does_not_import_what_few_programs_need() -> None:
    before = printed_by("print(*sys.modules)")
    loaded = printed_by(ALL_BUT_POOL + "print(*sys.modules)")
    assert loaded & LATE == before & LATE


def test_nothing_that_calls_or_listens_is_imported_before_there_is_something_to_call() -> None:
    loaded = printed_by("from remoteobj import *; print(*sys.modules)")
    late = {"connection", "endpoint", "channel", "io_thread", "segments", "roster", "unix"}
    assert {name for name in loaded if name.startswith("remoteobj.")} & {
        f"remoteobj.{room}.{name}" for room in ("_caller", "_wire", "_os") for name in late
    } == set()


def test_to_decorate_a_class_imports_little_of_the_package() -> None:
    loaded = printed_by("from remoteobj import remote; print(*sys.modules)")
    assert len([name for name in loaded if name.startswith("remoteobj.")]) <= 12


def test_every_name_of_the_face_is_found_and_listed() -> None:
    assert remoteobj.util.process is not None
    for name in remoteobj.__all__:
        assert getattr(remoteobj, name) is not None
        assert name in dir(remoteobj)


def test_a_misspelt_name_of_the_face_is_an_error_with_a_hint() -> None:
    with pytest.raises(AttributeError, match="'remoteobj' has no attribute 'Handel'") as error:
        _ = remoteobj.Handel  # type: ignore[attr-defined]
    assert (error.value.name, error.value.obj) == ("Handel", remoteobj)


def test_an_actor_that_only_serves_does_not_load_the_code_of_callers(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "import sys\n"
        "from remoteobj import remote\n"
        "@remote\n"
        "class Parts:\n"
        "    def loaded(self):\n"
        "        late = {'_proxy', 'descriptions', 'io_thread', 'state_keeper', 'records'}\n"
        "        return any(name.rpartition('.')[2] in late for name in sys.modules)\n"
        "    def own(self):\n"
        "        return self.remote\n"
    )
    assert printed_by(
        f"sys.path.append({str(tmp_path)!r})\n"
        "from parts import Parts\n"
        "with Parts.options(start_method='spawn').spawn() as actor:\n"
        "    print(*map(str, [actor.loaded(), actor.own() is not None, actor.loaded()]), sep='-')\n"
    ) == {"False-True-True"}


def test_a_program_that_only_calls_does_not_load_the_code_that_tells_of_classes() -> None:
    assert printed_by(
        "from remoteobj import spawn\n"
        "with spawn(dict, a=1) as table, spawn(dict) as other:\n"
        "    other['it'] = table, isinstance(table, int), table['a'], table.get('a'), repr(table)\n"
        "    late = ('_introspection', '_display')\n"
        "    print(sorted(name for name in sys.modules if name.rpartition('.')[2] in late))\n"
    ) == {"[]"}


def test_an_actor_of_a_module_needs_no_cloudpickle(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "from remoteobj import remote\n"
        "@remote\n"
        "class Counter:\n"
        "    def loaded(self):\n"
        "        import sys\n"
        "        return list(sys.modules)\n"
    )
    for start_method in ("fork", "spawn"):
        there = printed_by(
            f"sys.path.append({str(tmp_path)!r})\n"
            "from parts import Counter\n"
            f"with Counter.options(start_method={start_method!r}).spawn() as counter:\n"
            "    print(*counter.loaded())\n"
        )
        assert "remoteobj" in there
        assert "cloudpickle" not in there


def test_a_fork_waits_for_an_import_so_that_the_child_finds_it_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    (tmp_path / "slowly_made.py").write_text("import builtins\nbuiltins.slowly_made()\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def make() -> None:
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr("builtins.slowly_made", make, raising=False)

    def load() -> None:
        with import_lock:
            __import__("slowly_made")

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            load()  # were it half made, this would wait for a thread that is not here
            os._exit(0)
        codes.append(os.waitpid(pid, 0)[1])

    codes: list[int] = []
    loader, forker = threading.Thread(target=load), threading.Thread(target=fork)
    loader.start()
    assert begun.wait(10)
    forker.start()
    forker.join(0.1)
    assert forker.is_alive(), "the fork waits"
    go_on.set()
    loader.join()
    forker.join()
    assert codes == [0]


@remote
class Collector:
    def collect(self) -> int:
        """How many bytes of memory are this process's own, once all was looked at."""
        gc.collect()
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_the_collector_of_a_forked_actor_does_not_copy_what_it_inherited() -> None:
    many: list[Any] = [[number] for number in range(300_000)]  # some 30 MB
    with Collector.options(start_method="fork").spawn() as collector:
        assert collector.collect() < 15_000_000
    assert len(many) == 300_000
