"""A file of `checkpoint_path` holds the state of one class, in whichever program that is."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from runpy import run_module, run_path
from types import ModuleType

import pytest

from tests.internals import importable_name
from tests.test_start_methods import run

COUNTING = """\
import sys
from remoteobj import remote

@remote(checkpoint_path=sys.argv[1], checkpoint_every=0.0)
class Counter:
    def __init__(self):
        self.value = 0

    def add(self):
        self.value += 1
        return self.value

    @remote.checkpoint
    def save(self):
        return self.value

    @remote.restore
    def load(self, value):
        self.value = value

if __name__ == "__main__":
    try:
        with Counter.options(**eval(sys.argv[2])).spawn() as counter:
            print(counter.add())
    except ValueError as error:
        print(error)
"""


def test_a_script_goes_on_with_its_state_wherever_it_is_and_another_script_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, there = str(tmp_path / "state"), tmp_path / "there"
    there.mkdir()
    for path in ("count.py", "other.py", "there/count.py"):
        (tmp_path / path).write_text(COUNTING)
    assert run("count.py", state, "{'start_method': 'spawn'}", cwd=tmp_path) == "1\n"
    monkeypatch.setattr(sys, "argv", ["", state, "{'engine': 'thread'}"])
    monkeypatch.setattr(sys, "path", [str(there), *sys.path])
    run_path(str(there / "count.py"), run_name="__main__")
    run_module("count", run_name="__main__", alter_sys=True)
    run_path(str(tmp_path / "other.py"), run_name="__main__")
    *numbers, said = capsys.readouterr().out.splitlines()
    assert numbers == ["2", "3"]
    assert "is the state of a count:Counter, and this is a other:Counter; give each class" in said
    assert "its script or module was renamed, take the name that it had" in said


@pytest.mark.parametrize(
    ("file", "spec", "name"),
    [
        ("/home/me/tool.py", None, "tool"),
        ("tool", None, "tool"),
        ("/home/me/pkg/tool.py", "pkg.tool", "pkg.tool"),
        ("/home/me/pkg/__main__.py", "pkg.__main__", "pkg.__main__"),
        ("/home/me/folder/__main__.py", "__main__", "folder"),
        ("/home/me/app.pyz/__main__.py", "__main__", "app"),
        (None, None, "__main__"),
    ],
)
def test_the_main_module_is_called_as_it_is_when_it_is_imported(
    file: str | None, spec: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    main.__spec__ = None if spec is None else ModuleSpec(spec, None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert [importable_name(one) for one in ("__main__", "__mp_main__")] == [name, name]
    assert importable_name("os.path") == "os.path"
