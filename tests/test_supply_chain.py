"""What `make` installs: locked versions, each with its hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?P<rest>(?:.*\\\n)*.*)", re.MULTILINE)


def locked(extra: str) -> dict[str, set[str]]:
    """The versions of each package that the extra's lock allows; there may be one per system."""
    versions: dict[str, set[str]] = {}
    for pin in PIN.finditer((ROOT / "requirements" / f"{extra}.txt").read_text("utf-8")):
        assert "--hash=sha256:" in pin["rest"], pin["name"]
        versions.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
    return versions


def asked_for(extra: str) -> list[Requirement]:
    """What the project asks for with this extra, with what other extras bring along."""
    found = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name == "remoteobj":
            found += [one for other in requirement.extras for one in asked_for(other)]
        else:
            found.append(requirement)
    return found


OF_OURSELVES = [
    "--no-deps --no-build-isolation --editable .",
    "--no-deps --force-reinstall build/wheel/",
]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_of_an_extra_has_all_that_the_project_asks_for(extra: str) -> None:
    lock = locked(extra)
    for requirement in [*asked_for(extra), Requirement("hatchling"), Requirement("editables")]:
        versions = lock.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked: run `make upgrade`"
        assert all(map(requirement.specifier.contains, versions)), requirement


def test_what_builds_the_package_is_what_the_project_says() -> None:
    build = (ROOT / "requirements" / "build.in").read_text("utf-8").splitlines()
    assert set(PROJECT["build-system"]["requires"]) <= set(build)


def test_every_lock_belongs_to_an_extra_but_that_of_the_oldest_versions() -> None:
    locks = {path.stem for path in (ROOT / "requirements").glob("*.txt")}
    assert locks == {"oldest", *EXTRAS}


def test_the_oldest_versions_are_those_that_the_project_names_as_such() -> None:
    lock = locked("oldest")
    for text in PROJECT["project"]["dependencies"]:
        requirement = Requirement(text)
        (version,) = lock.pop(canonicalize_name(requirement.name))
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert Version(version) == Version(bound.version), "run `make upgrade`"
    assert lock == {}


def test_make_installs_nothing_without_a_hash() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    installs = [line for line in makefile.splitlines() if "pip install" in line]
    assert installs
    own = (
        "--no-deps --no-build-isolation --editable .",
        "--no-deps --force-reinstall build/wheel/",
    )
    for line in installs:
        assert "--require-hashes" in line or any(one in line for one in own)
