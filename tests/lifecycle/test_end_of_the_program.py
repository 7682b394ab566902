"""The end of a program ends its actors and functions, and waits for those that are no daemons."""

import os
import time

import pytest

from tests.lifecycle.programs import Diary
from tests.tools import Scripts, until_gone

ENDINGS = {
    "end": "",
    "error": "raise ValueError('unhandled')",
    "exit": "sys.exit(5)",
    "thread": """
t = threading.Thread(target=sys.exit, args=(9,)); t.start(); t.join()
""",
}
CODES = {"end": 0, "error": 1, "exit": 5, "thread": 0}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_end_of_the_program_ends_its_actors_in_order(
    script: Scripts, diary: Diary, how: str
) -> None:
    started = script(
        "actors = [spawn(start_method=m) for m in ('fork', 'forkserver')]\n"
        "actors.append(spawn(engine='thread'))\n" + ENDINGS[how]
    )
    pids = [int(started.line()) for _ in range(3)]
    code, out, err = started.finish()
    assert (code, out) == (CODES[how], "")
    assert ("ValueError: unhandled" in err) is (how == "error")
    if how != "error":
        assert err == ""
    assert all(until_gone(pid, 0.0) for pid in pids[:2])
    assert diary.lines == ["cleanup"] * 3


def test_the_end_of_the_program_does_not_wait_for_a_call_of_a_daemonic_thread_for_ever(
    script: Scripts, diary: Diary
) -> None:
    started = script(
        """
        from tests.internals import until_sent
        actor = spawn(stop_timeout=0.2)
        threading.Thread(target=actor.sleep, args=(60,), daemon=True).start()
        until_sent(actor, 1)
        """
    )
    pid = int(started.line())
    assert started.finish()[0] == 0
    assert until_gone(pid, 0.0)
    assert diary.lines == ["cleanup"]


def test_actors_that_do_not_end_in_time_have_that_time_together(
    script: Scripts, diary: Diary
) -> None:
    started = script(
        """
        from tests.internals import until_sent
        actors = [spawn(stop_timeout=2.0) for _ in range(4)]
        for actor in actors:
            threading.Thread(target=actor.sleep, args=(60,), daemon=True).start()
            until_sent(actor, 1)
        """
    )
    for _ in range(4):
        started.line()
    begun = time.monotonic()
    assert started.finish().code == 0
    assert time.monotonic() - begun < 6.0  # one after the other they would take 8
    assert diary.lines == ["cleanup"] * 4


def test_an_actor_that_is_no_daemon_ends_its_work_first(script: Scripts, diary: Diary) -> None:
    source = """
        @remote
        class Job:
            begun = False
            def __init__(self, path):
                sys.argv[1:] = [path]
            @remote.work
            def loop(self):
                self.begun = True
                until = time.monotonic() + 0.5
                while self.remote.listening_ and time.monotonic() < until:
                    time.sleep(0.01)
                note("done" if self.remote.listening_ else "cut off")
            @remote.cleanup
            def close(self):
                note("cleanup")
        job = Job.options(daemon=sys.argv[2] == "daemon", stop_timeout=float(sys.argv[3]))
        job = job.spawn(sys.argv[1])
        while not job.begun.get_():
            pass
        print("ready", flush=True)
    """
    lines = []
    for kind, patience in (("daemon", 10), ("other", 10), ("other", 0.1)):
        started = script(source, kind, patience)
        assert started.line() == "ready"
        assert started.finish()[0] == 0
        lines.append(diary.lines)
        os.unlink(diary.path)
    assert lines[0] == ["cut off", "cleanup"]
    assert lines[1] == ["done", "cleanup"]
    assert lines[2] == ["done", "cleanup"], "how long work takes is not how long a stop may take"


def test_an_actor_that_is_no_daemon_does_its_work_even_if_the_end_comes_before_it(
    script: Scripts, diary: Diary
) -> None:
    """1. the object is made; 2. the owner ends and says so; 3. only then the work loop begins."""
    started = script(
        """
        from tests.internals import begin_work_after_the_end_of_the_owner
        begin_work_after_the_end_of_the_owner(seconds=10)

        @remote
        class Job:
            def __init__(self, path):
                sys.argv[1:] = [path]
            @remote.work
            def loop(self):
                note("done" if self.remote.listening_ else "cut off")
            @remote.cleanup
            def close(self):
                note("cleanup")

        job = Job.options(daemon=False, start_method="fork").spawn(sys.argv[1])
        """
    )
    assert started.finish() == (0, "", "")
    assert diary.lines == ["done", "cleanup"]


def test_a_program_may_end_while_its_functions_run(script: Scripts) -> None:
    ending = script("""
        def nap():
            yield "begun"
            time.sleep(60)
        naps = [util.process(nap, start_method_=how).start() for how in ("fork", "forkserver")]
        print([next(nap.result) for nap in naps])
    """)
    assert ending.finish() == (0, "['begun', 'begun']\n", "")


def test_a_function_that_catches_everything_does_not_keep_its_program_from_ending(
    script: Scripts,
) -> None:
    ending = script("""
        begun, begin = os.pipe()
        def stubborn():
            while True:
                with contextlib.suppress(BaseException):
                    os.write(begin, b"!")
                    time.sleep(60)
        stubborn = util.process(stubborn, start_method_="fork").start()
        os.read(begun, 1)
    """)
    assert ending.finish() == (0, "", "")
