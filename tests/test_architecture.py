"""Package and tests keep to the rules of the tree; and each rule sees the source that breaks it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import remoteobj
from tests import architecture
from tests.architecture import Tree

TESTS = Path(__file__).parent
PACKAGE = Path(remoteobj.__file__).parent
"""Where it is installed: `make test-wheel` has the tests without the source tree."""


def test_the_package_keeps_every_rule() -> None:
    assert architecture.breaches(architecture.read(PACKAGE)) == []


def test_a_package_without_modules_breaks_the_rules(tmp_path: Path) -> None:
    assert architecture.breaches(architecture.read(tmp_path)) == ["there are no modules"]


def test_the_tests_keep_theirs() -> None:
    assert architecture.breaches(architecture.read(TESTS), architecture.TEST_RULES) == []


def lines(count: int, indent: str = "") -> str:
    return f"{indent}x = 1\n" * count


DOC = '"""For what.\n\nA seam: what is in it.\nWhat is not.\nAnd more.\n"""\n'

GOOD: Tree = {
    "__init__": "from ._remote import remote\nfrom .errors import E\n__all__ = ['E', 'remote']\n",
    "_remote": "from ._proxy import P\nfrom ._engines.process import launch\nremote = P\n",
    "_proxy": f'def f():\n    """{lines(50)}"""\n' + lines(39, "    "),
    "_engines": DOC,
    "_engines.process": "from .. import errors\nfrom .._pickling.codec import dumps\n"
    "from . import contract\nclass A(contract.B): pass\nclass C(contract.B): pass\n",
    "_engines.contract": DOC + "def f():\n    # not needed at start-up\n    import asyncio\n"
    "class Engine(Protocol): pass\nclass B:\n    def f(self): self._x = other._x = sys._y\n",
    "_pickling": DOC,
    "_pickling.codec": "import pickle\n",
    "_os": DOC,
    "_os.threads": "import threading\nthreading.Thread(name='a')\n"
    "class A: pass\nclass Z(A): pass\nA()\n",
    "errors": lines(400),
}


GOOD_TESTS: Tree = {
    "internals": "from remoteobj._pickling.codec import dumps\n",
    "test_codec": "from remoteobj import _codec\n",
    "a.test_b": "import os\nfrom remoteobj import errors\nos._exit(0)\nself._x = x.__dict__\n",
}


def test_a_good_tree_breaks_no_rule() -> None:
    assert architecture.breaches(GOOD) == []
    assert architecture.breaches(GOOD_TESTS, architecture.TEST_RULES) == []


BAD: list[tuple[Callable[[Tree], Iterator[str]], Tree, str]] = [
    (architecture.every_package_is_a_room, {"misc.a": ""}, "misc.a: lies in misc"),
    (
        architecture.imports_come_from_below,
        {"_caller.endpoint": "\nfrom .._actor.server import homes\n"},
        "_caller.endpoint:2: imports _actor.server, and _caller must not see _actor",
    ),
    (
        architecture.imports_come_from_below,
        {"_engines.process": "from .._actor.replies import error_frame\n"},
        "_engines.process:1: imports _actor.replies, and _engines must not see _actor",
    ),
    (
        architecture.imports_come_from_below,
        {"_actor.program": "def f():\n    from .._proxy import P  # start-up\n"},
        "_actor.program:2: imports _proxy, and _actor must not see face",
    ),
    (
        architecture.imports_come_from_below,
        {"errors": "from . import remote\n"},
        "errors:1: imports __init__, and errors must not see face",
    ),
    (
        architecture.imports_come_from_below,
        {"_proxy": "from .cli.rows import Row\n", "cli": DOC, "cli.rows": ""},
        "_proxy:1: imports cli.rows, and face must not see cli",
    ),
    (
        architecture.imports_come_from_below,
        {"cli": DOC, "cli.rows": "from .._os.threads import A\n"},
        "cli.rows:1: imports _os.threads, and cli must not see _os",
    ),
    (
        architecture.rooms_say_what_they_are_for,
        {"_os": '"""Too little."""\n', "_os.a": ""},
        "_os: its __init__ is to say",
    ),
    (
        architecture.rooms_say_what_they_are_for,
        {"_os": DOC + "import os\n", "_os.a": ""},
        "_os: its __init__ is to say",
    ),
    (
        architecture.seams_have_their_contract_at_their_head,
        {"_engines.contract": '"""An engine."""\nclass Engine: ...\n'},
        "_engines.contract: has no contract",
    ),
    (
        architecture.private_names_stay_in_their_module,
        {"_a": "def _f(): ...\n", "_b": "from ._a import _f\n"},
        "_b:1: imports _f",
    ),
    (
        architecture.private_names_stay_in_their_module,
        {"_a": "class A:\n    def f(self): self._x = 1\n", "_b": "def f(a):\n    a._x.go()\n"},
        "_b:2: reads a._x",
    ),
    (
        architecture.bases_are_no_towers,
        {"_a": "class A: ...\n", "_b": "from ._a import A\nclass B(A): ...\nB()\n"},
        "_a:1: A is a base of B alone",
    ),
    (
        architecture.imports_form_no_cycle,
        {"_ops": "from ._view import a\n", "_view": "from . import _ops\n"},
        "_ops → _view → _ops",
    ),
    (
        architecture.imports_form_no_cycle,
        {"_os": "from .poller import a\n", "_os.poller": "from . import b\n"},
        "_os → _os.poller → _os",
    ),
    (
        architecture.imports_inside_are_relative,
        {"_ops": "import os, remoteobj.errors\n"},
        "_ops:1: imports remoteobj by its name",
    ),
    (
        architecture.imports_inside_are_relative,
        {"_ops": "from remoteobj import errors\n"},
        "_ops:1: imports remoteobj by its name",
    ),
    (
        architecture.imports_stand_at_the_top,
        {"_ops": "def f():\n    def g():\n        import os  # because\n"},
        "_ops:3: an import inside a function",
    ),
    (
        architecture.imports_stand_at_the_top,
        {"_ops": "async def f():\n    x = 'start-up'\n    from .errors import E\n"},
        "_ops:3: an import inside a function",
    ),
    (architecture.modules_are_short, {"_ops": lines(401)}, "_ops: 401 lines"),
    (
        architecture.functions_are_short,
        {"_ops": "@dec\ndef f():\n" + lines(40, "    ")},
        "_ops:2: f has 41 lines",
    ),
    (
        architecture.functions_are_short,
        {"_ops": "class A:\n  async def f(self):\n    'doc'\n" + lines(40, "    ")},
        "_ops:2: f has 41 lines",
    ),
    (architecture.face_is_short, {"__init__": lines(100)}, "__init__: 100 lines"),
    (
        architecture.face_lists_its_names_sorted,
        {"__init__": "__all__ = ['b', 'a']\n"},
        "__all__ is not sorted: a, b",
    ),
    (architecture.face_lists_its_names_sorted, {"__init__": "x = 1\n"}, "has 0 assignments"),
    (
        architecture.threads_have_names,
        {"_ops": "Thread(target=f)\n"},
        "_ops:1: a thread without a name",
    ),
    (
        architecture.threads_have_names,
        {"_ops": "\nthreading.Thread(target=f, daemon=True).start()\n"},
        "_ops:2: a thread without a name",
    ),
    (
        architecture.time_is_monotonic,
        {"_ops": "import time\nend = time.time() + 1\n"},
        "_ops:2: time.time is the wall clock",
    ),
    (
        architecture.start_up_is_spared_slow_classes,
        {"_ops": "from typing import Any, NamedTuple\n"},
        "_ops:1: takes NamedTuple from typing",
    ),
    (
        architecture.start_up_is_spared_slow_classes,
        {"_wire.channel": "if TYPE_CHECKING:\n    from typing import Protocol\n"},
        "_wire.channel:2: takes Protocol from typing",
    ),
    (
        architecture.annotations_stay_texts,
        {"_ops": '"""from __future__"""\nfrom .._fast_typing import NamedTuple\n'},
        "_ops:1: has no `from __future__ import annotations`",
    ),
    *[
        (
            architecture.tests_use_the_public_face,
            {"test_a": source},
            f"test_a:1: reaches for {what}",
        )
        for source, what in {
            "from remoteobj._os.poller import clock\n": "remoteobj._os.poller.clock",
            "from remoteobj import _proxy\n": "remoteobj._proxy",
            "import remoteobj._engines.contract\n": "remoteobj._engines.contract",
            "len(handle._actor.calls)\n": "handle._actor",
            "patch('remoteobj._protocol.operations.OPERATIONS')\n": "remoteobj._p",
            "run('from remoteobj import errors, _proxy')\n": "remoteobj import errors, _p",
            "run('print(handle._actor.pid)')\n": "._actor",
        }.items()
    ],
]


@pytest.mark.parametrize(
    ("rule", "tree", "breach"),
    BAD,
    ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BAD)],
)
def test_a_source_that_breaks_a_rule_is_seen(
    rule: Callable[[Tree], Iterator[str]], tree: Tree, breach: str
) -> None:
    found = list(rule(tree))
    assert len(found) == 1
    assert breach in found[0]


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule.__name__ for rule, _, _ in BAD} == {
        rule.__name__ for rule in [*architecture.RULES, *architecture.TEST_RULES]
    }
