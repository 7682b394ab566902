"""Typed forms of what a proxy does: `future` and `awaitable`, the typed options, mypy's plugin.

What checkers infer is in `tests/typing`, which `make lint` checks.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from remoteobj import (
    Proxy,
    SpawnOptions,
    awaitable,
    each,
    future,
    get,
    options,
    spawn,
)
from remoteobj.testing import Gate
from tests import documents
from tests.conftest import Launch
from tests.internals import annotations_of_options

ROOT = Path(__file__).parents[1]


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def rows(self, upto: int) -> Iterator[int]:
        yield from range(upto)

    def meet_at(self, gate: Gate) -> str:
        gate.park()
        return "met"

    def fail(self) -> None:
        raise LookupError("no camera")


@pytest.fixture
def handle() -> Iterator[Any]:
    with options(engine="thread").spawn(Counter, 10) as counter:
        yield counter


async def items_of(stream: Any) -> list[Any]:
    return [item async for item in stream]


# --- future and awaitable --------------------------------------------------------------------


def test_future_and_awaitable_make_the_same_call_as_the_views(launch: Launch) -> None:
    with options(**launch).spawn(Counter, 10) as counter:
        made = future(counter.add)(5)
        assert isinstance(made, Future)
        assert made.result(10) == 15
        assert future(counter.add)(n=2).result(10) == 17
        assert list(future(counter.rows)(3).result(10)) == [0, 1, 2]
        assert asyncio.run(awaitable(counter.add)(1)) == 18
        assert asyncio.run(items_of(awaitable(counter.rows)(3))) == [0, 1, 2]
        assert isinstance(future(counter.fail)().exception(10), LookupError)
        with pytest.raises(LookupError):
            asyncio.run(awaitable(counter.fail)())


def test_neither_waits_for_the_outcome() -> None:
    async def meet(waiter: Counter, gate: Gate) -> str:
        met = asyncio.create_task(awaitable(waiter.meet_at)(gate))
        await asyncio.to_thread(gate.wait_for_arrival)
        gate.open()
        return await met

    with spawn(Counter) as waiter:
        with Gate() as gate:
            made = future(waiter.meet_at)(gate)
            gate.wait_for_arrival()
            assert not made.done()
            gate.open()
            assert made.result(10) == "met"
        with Gate() as gate:
            assert asyncio.run(meet(waiter, gate)) == "met"


def test_an_awaited_call_is_made_when_it_is_awaited(handle: Any) -> None:
    before = handle.value.__
    call = awaitable(handle.add)(1)
    assert handle.value.__ == before
    assert asyncio.run(call) == before + 1


def test_a_method_of_an_object_of_this_process_is_called_right_here() -> None:
    counter = Counter(10)
    made = future(counter.add)(5)
    assert (made.done(), made.result(), counter.value) == (True, 15, 15)
    assert isinstance(future(counter.fail)().exception(), LookupError)
    call = awaitable(counter.add)(5)
    assert counter.value == 15, "not yet"
    assert asyncio.run(call) == 20
    assert asyncio.run(items_of(awaitable(counter.rows)(3))) == [0, 1, 2]
    with pytest.raises(LookupError):
        asyncio.run(awaitable(counter.fail)())
    assert future(len)("abc").result() == 3


def test_they_keep_the_options_of_the_view_that_the_method_was_taken_from(handle: Any) -> None:
    with Proxy(Counter()) as nobody:
        pass
    assert future(nobody.with_(default="nobody").add)(1).result(10) == "nobody"
    assert future(handle.cast_.add)(0).result(10) == handle.value.__
    assert future(handle.attrs_("add"))(0).result(10) == handle.value.__


def test_they_take_a_method_of_many_objects(handle: Any) -> None:
    value = handle.value.__
    both = each([handle, handle])
    assert future(both.add)(0).result(10) == [value, value]
    assert asyncio.run(awaitable(both.add)(0)) == [value, value]
    assert future(both.passto)(type).result(10) == [Counter, Counter]


def test_they_take_what_a_proxy_evaluates_itself(handle: Any) -> None:
    assert future(handle.passto)(lambda counter, n: counter.value * n, 0).result(10) == 0
    assert future(handle.value.get_)().result(10) == handle.value.__
    assert asyncio.run(awaitable(handle.passto)(type)) is Counter


@pytest.mark.parametrize("name", ["stop_", "status_", "with_", "attrs_", "listen_", "__len__"])
def test_what_is_the_proxy_s_own_affair_is_refused(handle: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} is the proxy's own.*future\(proxy\.passto\)"):
        future(getattr(handle, name))
    with pytest.raises(TypeError, match=rf"{name} is the proxy's own.*awaitable\(proxy\.passto\)"):
        awaitable(getattr(handle, name))


@pytest.mark.parametrize("function", [future, awaitable])
def test_the_call_itself_is_refused_with_what_to_write(handle: Any, function: Any) -> None:
    value = handle.value.__
    name = function.__name__
    with pytest.raises(TypeError, match=rf"{name}\(\) takes a method, and {value} is none: .*"):
        function(handle.add(0))


def test_an_attribute_that_can_not_be_called_says_so_in_the_future(handle: Any) -> None:
    with pytest.raises(TypeError, match="'int' object is not callable"):
        future(handle.value)().result(10)
    with pytest.raises(TypeError, match="'int' object is not callable"):
        asyncio.run(awaitable(handle.value)())


def test_an_object_that_an_actor_serves_itself_is_asked_in_place() -> None:
    proxy = Proxy(Counter(1))
    with proxy:
        assert future(proxy.add)(1).result(0) == 2
        assert asyncio.run(awaitable(proxy.add)(1)) == 3
        assert asyncio.run(items_of(awaitable(proxy.rows)(2))) == [0, 1]


def test_get_gives_a_default_where_nobody_listens() -> None:
    with Proxy(Counter(1)) as proxy:
        assert get(proxy.value, None) == 1
    assert get(proxy.value, None) is None
    assert get(proxy.value, lambda: "nobody") == "nobody"
    assert get(proxy.value, default_local=True) == 1
    assert get(5, None) == 5


# --- options ---------------------------------------------------------------------------------


def test_the_typed_options_are_those_that_there_are() -> None:
    typed = annotations_of_options(SpawnOptions)
    assert typed == annotations_of_options(), "add it to _option_types.py"
    with pytest.raises(TypeError, match="there is no option 'colour'") as refused:
        options(colour="red")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    named = str(refused.value).partition("there are ")[2].split(", ")
    assert set(named) == set(typed)


# --- mypy's plugin ---------------------------------------------------------------------------


CACHE = ["--cache-dir", ".mypy_cache/of_the_tests"]
"""One for these modules alone: when the plugin has changed mypy drops what it knows of the modules
that it checks just then, and would keep what is wrong by now of others."""

RUN = "import sys; from mypy import api; out, err, _ = api.run(sys.argv[1:]); print(err + out)"

PROGRAM = """
from remoteobj import remote

@remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int) -> int:
        return int(self.remote.poll())

with Counter.options(daemon=False).spawn("x") as counter:
    reveal_type(counter.add(1))
    counter.ad()
with Counter.spawn(10) as counter:
    reveal_type(counter.value)
reveal_type(Counter.spawn)
Counter.options(nam="c")
"""

SAID = [
    (11, "error", 'Argument 1 to "spawn" has incompatible type "str"; expected "int"'),
    (12, "note", 'Revealed type is "int"'),
    (13, "error", '"Counter" has no attribute "ad"'),
    (15, "note", 'Revealed type is "int"'),
    (16, "note", "Revealed type is "),
    (17, "error", 'Unexpected keyword argument "nam" for "options"'),
]


@pytest.mark.timeout(120)
def test_the_plugin_finds_all_that_the_typed_project_expects(tmp_path: Path) -> None:
    """In a process of its own: mypy sets much that is of the whole process."""
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.lstrip())
    page = tmp_path / "page.py"
    page.write_text(documents.script((ROOT / "docs/guide/types.md").read_text("utf-8")))
    checked = subprocess.run(
        [sys.executable, "-c", RUN, *CACHE, "tests/typing", str(program), str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = re.findall(r"^.*program\.py:(\d+): (error|note): (.*)$", checked.stdout, re.MULTILINE)
    said = [(int(line), kind, text) for line, kind, text in said if "defined in" not in text]
    assert [(line, kind) for line, kind, _ in said] == [(line, kind) for line, kind, _ in SAID]
    for (_, _, text), (_, _, begin) in zip(said, SAID, strict=True):
        assert text.startswith(begin)
    assert "Handle[program.Counter]" in said[4][2]
    assert "Found 3 errors in 1 file" in checked.stdout, (
        "none are in the typed project, nor on the page"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.remoteobj-mypy]\nproxies = ["app.*", "!app.core"]\n'),
        ("mypy.ini", "[mypy]\nstrict = true\n[remoteobj-mypy]\nproxies = app.*, !app.core\n"),
    ],
)
def test_modules_that_are_written_to_the_proxy_are_listed(
    name: str, text: str, tmp_path: Path
) -> None:
    pytest.importorskip("mypy")
    from mypy.options import Options
    from mypy.plugin import ReportConfigContext

    from remoteobj.mypy import RemoteObjPlugin

    config = tmp_path / name
    config.write_text(text)
    chosen = Options()
    chosen.config_file = str(config)
    plugin = RemoteObjPlugin(chosen)
    given = {
        module: plugin.report_config_data(ReportConfigContext(module, "", is_check=False))
        for module in ("app.web", "app.web.page", "app.core", "app.core.a", "app", "other")
    }
    assert given == {
        "app.web": True,
        "app.web.page": True,
        "app.core": False,
        "app.core.a": True,
        "app": False,
        "other": False,
    }


@pytest.mark.parametrize("wrong", ['proxy = ["app"]', "proxies = 5", "proxies = [5]"])
def test_a_wrong_setting_of_the_plugin_is_an_error(wrong: str, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    from remoteobj.mypy import proxies_setting

    config = tmp_path / "pyproject.toml"
    config.write_text(f"[tool.remoteobj-mypy]\n{wrong}\n")
    with pytest.raises(ValueError, match="remoteobj-mypy"):
        proxies_setting(str(config))
    config.write_text("[tool.mypy]\n")
    assert proxies_setting(str(config)) == proxies_setting(None) == []
