"""A process that only imports the module of a test does not load pytest for that."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOADED = "'_pytest' in sys.modules"
INTERNALS_LOADED = "hasattr(sys.modules['tests.internals'], '__file__')"


def run(code: str) -> None:
    """In an interpreter of its own, as an actor that is started anew has one."""
    subprocess.run([sys.executable, "-c", f"import sys\n{code}"], check=True, cwd=HERE.parent)


def test_no_module_of_tests_loads_pytest_where_it_is_only_imported() -> None:
    files = [*HERE.glob("test_*.py"), *HERE.glob("*/[!_]*.py")]
    names = [".".join(path.relative_to(HERE.parent).with_suffix("").parts) for path in files]
    imports = [f"import {name}; assert not {LOADED}, {name!r}" for name in sorted(names)]
    run("\n".join(imports))


def test_what_is_asked_of_pytest_there_loads_it() -> None:
    run(
        "import tests, pytest\n"
        f"assert not {LOADED}\n"
        "with pytest.raises(ZeroDivisionError):\n"
        "    1 / 0\n"
        f"assert {LOADED}\n"
        "import pytest as again\n"
        "assert again.fixture is pytest.fixture\n"
        "assert again.MonkeyPatch is pytest.MonkeyPatch\n"
    )


def test_a_type_of_pytests_is_itself_once_something_is_asked_of_it() -> None:
    run(
        "import tests, pytest\n"
        "patched = pytest.MonkeyPatch\n"
        "with patched.context() as patch:\n"
        "    patch.setattr(sys, 'ps1', 'here', raising=False)\n"
        "    assert sys.ps1 == 'here'\n"
        "assert not hasattr(sys, 'ps1')\n"
    )


def test_marks_and_fixtures_leave_what_they_decorate_as_it_is() -> None:
    run(
        "import tests, pytest\n"
        "def plain(): return 5\n"
        "assert pytest.fixture(plain) is plain\n"
        "assert pytest.fixture(params=[1])(plain) is plain\n"
        "assert pytest.mark.parametrize('x', [1])(plain) is plain\n"
        f"assert not {LOADED}\n"
    )


def test_what_is_asked_of_private_parts_is_looked_up_when_it_is_used() -> None:
    run(
        "import pickle, tests\n"
        "from tests.internals import PROBE_DELAY, options_of\n"
        f"assert not {INTERNALS_LOADED}\n"
        "from remoteobj import Proxy\n"
        "assert len(options_of(Proxy(5))) == 2\n"
        f"assert {INTERNALS_LOADED}\n"
        "assert tests.internals.options_of.__name__ == 'options_of'\n"
        "PROBE_DELAY.set_for_good(0.5)\n"
        "assert tests.internals.chains.PROBE_DELAY == 0.5\n"
        "assert pickle.loads(pickle.dumps(options_of)) is tests.internals.options_of\n"
    )


def test_a_class_or_a_size_of_private_parts_is_itself_from_the_start() -> None:
    run(
        "import tests\n"
        "from tests.internals import ANSWER, Frame\n"
        f"assert {INTERNALS_LOADED}\n"
        "assert (type(ANSWER), type(Frame)) == (int, type)\n"
        "assert tests.internals.Frame is Frame\n"
    )
