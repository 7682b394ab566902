"""What IPython and jedi show of a handle, while its actor is too busy to answer anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import each, options, remote
from remoteobj.testing import Gate
from tests.tools import Call

jedi = pytest.importorskip("jedi")
IPython = pytest.importorskip("IPython")


@remote
class Lamp:
    """Gives light."""

    def __init__(self) -> None:
        self.brightness = 1
        self.bulbs = {"left": 1}

    def brighten(self, by: int = 1, *, slowly: bool = False) -> int:
        """Make it brighter."""
        return self.brightness + by

    def getdoc(self) -> str:
        """A name that a tool calls on what it describes."""
        return "the lamp's own"

    def __len__(self) -> int:
        return 3

    def wait(self, gate: Gate) -> None:
        gate.park()


@pytest.fixture
def lamp(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One that has been asked for nothing, at the end, but to wait."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(jedi.settings, "cache_directory", str(tmp_path))
    handle: Any
    with options(start_method="fork").spawn(Lamp) as handle:
        call = Call(handle.wait, gate)
        gate.wait_for_arrival()
        yield handle
        status = handle.status_()
        gate.open()
        call.result()
        assert (status.done, status.queued) == (0, ())
        assert (handle.getdoc(), len(handle)) == ("the lamp's own", 3)


@pytest.mark.parametrize("by_jedi", [True, False])
def test_ipython_completes_the_names_of_the_object(lamp: Any, by_jedi: bool) -> None:
    from IPython.core import completer as ipython  # takes long: start-up

    make: Any = ipython.IPCompleter
    completer = make(shell=None, namespace={"lamp": lamp}, use_jedi=by_jedi)
    completer.disable_matchers = ["IPCompleter.magic_matcher"]  # it asks the shell

    def completed(text: str) -> set[str]:
        with ipython.provisionalcompleter():
            return {one.text.rpartition(".")[2] for one in completer.completions(text, len(text))}

    assert "brighten" in completed("lamp.bri")
    assert "brightness" in completed("lamp.bri")
    assert "stop_" in completed("lamp.st")
    if by_jedi:  # without it IPython looks no further than the first dot
        assert "by=" in completed("lamp.brighten(b")
        assert "brighten" in completed("lamp.future_.bri")


def test_jedi_completes_and_knows_the_signatures(lamp: Any) -> None:
    def interpreter(text: str) -> Any:
        return jedi.Interpreter(text, [{"lamp": lamp}])

    assert {one.name for one in interpreter("lamp.bri").complete()} == {"brighten", "brightness"}
    assert {one.name for one in interpreter("lamp.async_.bri").complete()} >= {"brighten"}
    for method in ("lamp.brighten", "lamp.future_.brighten"):
        (signature,) = interpreter(f"{method}(").get_signatures()
        assert [one.name for one in signature.params] == ["by", "slowly"]
        assert "Make it brighter." in signature.docstring()
    for text in ("lamp", "lamp.brighten", "lamp.bulbs", "lamp.bulbs['left']", "lamp.future_"):
        script = interpreter(text)
        for look in (script.infer, script.help, script.goto, interpreter(f"{text}.").complete):
            look()


def test_a_question_mark_in_ipython_shows_what_the_class_says(lamp: Any) -> None:
    from IPython.core import oinspect  # takes long: start-up

    make: Any = oinspect.Inspector
    inspector = make(theme_name="nocolor") if IPython.version_info >= (9,) else make()
    method = inspector.info(lamp.brighten, "lamp.brighten")
    assert method["definition"] == "lamp.brighten(by: int = 1, *, slowly: bool = False) -> int"
    assert method["docstring"] == "Make it brighter."
    assert method["file"] == __file__
    source = inspector.info(lamp.brighten, "lamp.brighten", detail_level=1)["source"]
    assert "return self.brightness + by" in source
    whole = inspector.info(lamp, "lamp")
    assert (whole["type_name"], whole["docstring"]) == ("Handle", "Gives light.")
    for other in (lamp.bulbs, lamp.future_, lamp.bulbs["left"], lamp.no_such.thing):
        inspector.info(other, "other", detail_level=1)
        inspector.info(other, "other", detail_level=0)
    inspector.info(each([lamp]).brighten, "many")


def test_a_notebook_shows_a_handle_as_a_table_and_the_rest_by_its_repr(lamp: Any) -> None:
    from IPython.core import formatters  # takes long: start-up

    formatter: Any = formatters.DisplayFormatter()
    shown, _ = formatter.format(lamp)
    assert shown["text/plain"] == repr(lamp)
    assert ">running</td>" in shown["text/html"]
    for other in (lamp.bulbs, lamp.brighten, lamp.cast_):
        assert formatter.format(other) == ({"text/plain": repr(other)}, {})
