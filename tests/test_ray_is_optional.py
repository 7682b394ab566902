"""Ray is imported by whoever asks for it, and who has not got it is told what to do."""

import subprocess
import sys

ASIDE = """
import sys
from remoteobj import Pool, Proxy, Supervisor, options, remote, spawn
with options(start_method="fork").spawn(dict) as handle:
    over_there = handle.passto(lambda _: [name for name in sys.modules if name.startswith("ray")])
print([*over_there, *(name for name in sys.modules if name.startswith("ray"))])
"""
WITHOUT = """
import sys
sys.modules["ray"] = None
from remoteobj import options, spawn
try:
    options(engine="ray").spawn(dict)
except ImportError as error:
    print(error)
with spawn(dict, a=1) as handle:
    print(handle["a"].__)
"""


def printed_by(source: str) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", source]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_nothing_of_ray_is_imported_until_it_is_asked_for() -> None:
    assert printed_by(ASIDE) == ["[]"]


def test_without_ray_its_engine_says_what_to_install_and_the_others_work() -> None:
    error, value = printed_by(WITHOUT)
    assert 'pip install "remoteobj[ray]"' in error
    assert value == "1"
