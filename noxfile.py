"""The tests on every Python that is supported and on this machine: ``make test-all``."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nox

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


def candidates(version: str) -> Iterator[Path]:
    """Where an interpreter may be: on the PATH, or kept by pyenv under its root.

    pyenv's own ``python3.X`` on the PATH is a shim that fails unless that version is selected,
    but the shim's place gives the root away, even where HOME and the environment do not.
    """
    on_path = shutil.which(f"python{version}")
    roots = {os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")}
    if on_path:
        yield Path(on_path)
        if Path(on_path).parent.name == "shims":
            roots.add(str(Path(on_path).parent.parent))
    for root in filter(None, roots):
        yield from Path(root, "versions").glob(f"{version}.*/bin/python")


def find(version: str) -> Path | None:
    """The first candidate that starts and is what its name says."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in candidates(version):
        answer = subprocess.run([path, "-c", question], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return path
    return None


@nox.session(venv_backend="none")
@nox.parametrize("version", VERSIONS)
def tests(session: nox.Session, version: str) -> None:
    """``make test`` with that version, in an environment of its own."""
    python = find(version)
    if python is None:
        session.skip(f"there is no Python {version} on this machine")
    session.run("make", "test", f"PYTHON={python}", f"VENV=.nox/{version}", external=True)
