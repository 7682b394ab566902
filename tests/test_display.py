"""How a notebook shows a handle: what its owner knows of it, and what it does when others look."""

import html
import os
import re
import signal
from typing import Any

import pytest

from remoteobj import Proxy, options, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.forks import code_of, in_child
from tests.tools import Call, until

TABLE: Any = dict


@remote
class Shown:
    def wait(self, gate: Gate) -> None:
        gate.park()


def table(handle: Any) -> dict[str, str]:
    rows = re.findall(r"<th[^>]*>([^<]*)</th><td[^>]*>([^<]*)</td>", handle._repr_html_())
    return {name: html.unescape(value) for name, value in rows}


def test_it_has_name_class_process_and_state(launch: Launch) -> None:
    handle = Shown.options(**launch, name="shown").spawn()
    expected = {"name": "shown", "class": f"{__name__}.Shown", "pid": str(handle.pid_)}
    assert table(handle) == {**expected, "state": "running"}
    handle.stop_()
    assert table(handle) == {**expected, "state": "stopped"}


def test_a_busy_actor_is_shown_and_asked_nothing(gate: Gate) -> None:
    handle: Any
    with options(start_method="fork").spawn(Shown) as handle:
        call = Call(handle.wait, gate)
        gate.wait_for_arrival()
        assert table(handle)["state"] == "running"
        assert handle.status_().done == 0
        gate.open()
        call.result()


def start_late(gate: Gate) -> Any:
    gate.park()
    return {}


def test_one_that_starts_says_so_until_it_is_ready_though_nobody_waits(gate: Gate) -> None:
    handle = options(wait=False).spawn(start_late, gate)
    gate.wait_for_arrival()
    assert (table(handle)["state"], table(handle)["class"]) == ("starting", "not known here")
    gate.open()
    until(lambda: table(handle)["state"] == "running")
    assert table(handle)["class"] == "builtins.dict"
    handle.stop_()


def fail() -> Any:
    raise ValueError("<b>bold</b>")


def test_an_end_is_shown_with_its_reason() -> None:
    handle = options(wait=False).spawn(fail)
    with pytest.raises(ValueError, match="bold"):
        handle.ready_()
    assert table(handle)["state"] == "failed: failed with ValueError: <b>bold</b>"
    assert "<b>" not in handle._repr_html_()
    with options().spawn(TABLE) as handle:
        handle.kill_()
        handle.join_()
        assert table(handle)["state"] == "killed"
    handle = options().spawn(TABLE)
    os.kill(handle.pid_ or 0, signal.SIGKILL)
    handle.join_()
    assert table(handle)["state"] == "died: was killed by SIGKILL"
    handle.kill_()
    handle.stop_()


def test_names_are_shown_as_they_are_and_never_as_html() -> None:
    name = "<script>alert(\"1\" & '2')</script>"
    with options(name=name).spawn(TABLE) as handle:
        assert table(handle)["name"] == name
        assert "<script>" not in handle._repr_html_()


def test_a_forked_copy_of_the_owner_can_show_it_too() -> None:
    with options().spawn(TABLE) as handle:
        assert code_of(in_child(lambda: table(handle)["state"] == "running")) == 0
    assert code_of(in_child(lambda: table(handle)["state"] == "ended")) == 0


def test_a_proxy_that_is_no_handle_shows_as_text_alone() -> None:
    with options().spawn(TABLE) as handle:
        for proxy in (Proxy({}), handle.future_, handle["a"]):
            assert not hasattr(proxy, "_repr_html_")
