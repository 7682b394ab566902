"""What is built of the project: the wheel has the package and nothing else, the sdist all that
`make test-wheel` needs to test it."""

import email
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "remoteobj"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
INFO = f"{PROJECT['name']}-{PROJECT['version']}.dist-info"

pytestmark = [
    pytest.mark.skipif(not PACKAGE.is_dir(), reason="the package is tested as it is installed"),
    pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not there"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist."""
    directory = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = built.glob("*-py3-none-any.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def files_of(directory: Path) -> set[str]:
    """All but what is compiled; relative to the root."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts}


def test_a_wheel_has_the_package_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {name for name in names if not name.startswith(f"{INFO}/")} == files_of(PACKAGE)
    assert "remoteobj/py.typed" in names
    assert {name.removeprefix(f"{INFO}/") for name in names if name.startswith(INFO)} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_a_wheel_says_what_the_project_says(wheel: zipfile.ZipFile) -> None:
    told = email.message_from_string(wheel.read(f"{INFO}/METADATA").decode())
    required = [one for one in told.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert sorted(required) == sorted(PROJECT["dependencies"])
    assert (told["Name"], told["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert (told["Requires-Python"], told["License-Expression"]) == (">=3.11", "MIT")
    assert wheel.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert told.get_payload() == (ROOT / "README.md").read_text("utf-8")
    scripts = wheel.read(f"{INFO}/entry_points.txt").decode().split("\n")
    assert scripts[:2] == ["[console_scripts]", "remoteobj = remoteobj.__main__:main"]


def test_an_sdist_has_the_tests_and_all_that_they_read(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for directory in ("remoteobj", "tests", "examples", "docs", "requirements"):
        left_out = {name for name in files_of(ROOT / directory) if "/_build/" not in name} - names
        assert not left_out
    assert {"LICENSE", "Makefile", "README.md", "pyproject.toml"} <= names
