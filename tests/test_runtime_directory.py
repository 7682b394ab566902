"""Where a program's sockets lie, and that nothing else is removed with them."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools import Scripts, until_gone

OTHER = 54321
"""The number of a user that nobody is."""
ROOT = f"remoteobj-{os.getuid()}"

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act for another user")

PROGRAM = """
    import os, signal, sys
    from remoteobj import remote
    from tests.internals import address_of, guardian_pid
    @remote
    class Target:
        def ping(self):
            return "pong"
    def directory_of(actor):
        return os.path.dirname(address_of(actor).location)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory in which anybody could be, with a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="b", dir="/tmp"))  # nothing above it is root's alone
    yield path
    shutil.rmtree(path)


# ------------------------------------------------------------------ what is removed


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_what_has_been_put_in_its_place_is_not_removed(
    script: Scripts, base: Path, end: str
) -> None:
    """Say a cleaner of /tmp has moved what is ours, and another user has put a link there."""
    source = f"""{PROGRAM}
    target = Target.spawn()
    print(directory_of(target), guardian_pid(), flush=True)
    open(sys.argv[1]).read()
    """
    fifo = base / "go"
    os.mkfifo(fifo)
    owner = script(source, fifo, XDG_RUNTIME_DIR=str(base))
    directory, guardian = owner.line().split()
    (base / ROOT).rename(base / "moved")
    precious = base / "elsewhere" / os.path.basename(directory) / "precious"
    precious.parent.mkdir(parents=True)
    precious.touch()
    (base / ROOT).symlink_to(base / "elsewhere")
    if end == "killed":
        owner.process.kill()
    else:
        fifo.write_text("")
        assert owner.finish().code == 0
    assert until_gone(int(guardian), 10)
    assert precious.exists()
    assert list((base / "moved").iterdir()) == []


def test_of_one_that_has_been_removed_another_is_made(script: Scripts, base: Path) -> None:
    source = f"""{PROGRAM}
    import shutil
    for _ in range(2):
        with Target.spawn() as target:
            print(target.ping(), flush=True)
            directory = directory_of(target)
        shutil.rmtree(os.path.dirname(directory))
    with Target.spawn() as target:
        print(target.ping(), os.listdir(directory_of(target)) != [])
    """
    result = script(source, XDG_RUNTIME_DIR=str(base)).finish()
    assert result == (0, "pong\npong\npong True\n", "")
    assert list(base.glob("*/*")) == []


def test_the_socket_of_a_fork_server_lies_in_it_and_goes_with_it(
    script: Scripts, base: Path
) -> None:
    source = f"""{PROGRAM}
    from tests.internals import kept
    target = Target.options(start_method="forkserver").spawn()
    paths = [one.path for one in kept() if one.path]
    print(all(path.startswith(directory_of(target)) for path in paths), len(paths))
    print(guardian_pid(), os.listdir(sys.argv[1]), flush=True)
    signal.pause()
    """
    temporary = base / "t"
    temporary.mkdir()
    owner = script(source, temporary, XDG_RUNTIME_DIR=str(base), TMPDIR=str(temporary))
    assert owner.line() == "True 3", "the guardian's list, the server's socket, the actors"
    guardian, made = owner.line().split()
    assert made == "[]"
    owner.process.kill()
    assert until_gone(int(guardian), 10)
    assert list((base / ROOT).iterdir()) == []


# ------------------------------------------------------------------ where it may be


def of_another(base: Path) -> Path:
    base.mkdir(mode=0o700)
    os.chown(base, OTHER, OTHER)
    return base


def below_another(base: Path) -> Path:
    inner = base / "inner"
    inner.mkdir(parents=True, mode=0o700)
    os.chown(base, OTHER, OTHER)
    return inner


def open_to_all(base: Path) -> Path:
    base.mkdir()
    base.chmod(0o777)
    return base


def below_one_that_is_open_to_all(base: Path) -> Path:
    inner = open_to_all(base) / "inner"
    inner.mkdir(mode=0o700)
    return inner


def linked(base: Path) -> Path:
    link = base.parent / "link"
    link.symlink_to(open_to_all(base))
    return link


def not_absolute(base: Path) -> Path:
    base.mkdir(mode=0o700)
    return Path(os.path.relpath(base))


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(of_another, marks=needs_root),
        pytest.param(below_another, marks=needs_root),
        open_to_all,
        below_one_that_is_open_to_all,
        linked,
        not_absolute,
    ],
)
def test_where_others_can_rename_it_it_is_not_made(
    script: Scripts, base: Path, prepare: Callable[[Path], Path]
) -> None:
    unfit = prepare(base / "unfit")
    fit = base / "fit"
    fit.mkdir(mode=0o700)
    source = f"""{PROGRAM}
    with Target.spawn() as target:
        print(target.ping(), directory_of(target))
    """
    result = script(source, XDG_RUNTIME_DIR=str(unfit), TMPDIR=str(fit)).finish()
    assert result.code == 0, result.err
    assert result.out.startswith(f"pong {fit.resolve()}/{ROOT}/")
    assert list(unfit.glob("remoteobj-*")) == []


def test_where_all_may_make_files_and_none_may_rename_those_of_others_it_is_made(
    script: Scripts, base: Path
) -> None:
    base.chmod(0o1777)
    source = f"""{PROGRAM}
    with Target.spawn() as target:
        print(target.ping(), directory_of(target))
    """
    result = script(source, XDG_RUNTIME_DIR=str(base)).finish()
    assert result.out.startswith(f"pong {base.resolve()}/{ROOT}/"), result.err


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_where_no_place_is_safe_it_has_a_name_that_nobody_knows(
    script: Scripts, base: Path, end: str
) -> None:
    source = f"""{PROGRAM}
    from tests.internals import nowhere_is_safe
    nowhere_is_safe()
    with Target.spawn() as target:
        print(target.ping(), directory_of(target), guardian_pid(), flush=True)
        if sys.argv[1] == "killed":
            signal.pause()
    """
    owner = script(source, end, TMPDIR=str(base))
    pong, directory, guardian = owner.line().split()
    assert pong == "pong"
    assert Path(directory).parent == base
    assert Path(directory).name.startswith("remoteobj-")
    if end == "killed":
        owner.process.kill()
    else:
        assert owner.finish() == (0, "", "")
    assert until_gone(int(guardian), 10)
    assert list(base.iterdir()) == []


@needs_root
@pytest.mark.parametrize("place", ["a runtime directory", "nowhere"])
def test_no_umask_takes_it_from_its_owner(script: Scripts, base: Path, place: str) -> None:
    """As another user, since root may use what nobody may."""
    os.chown(base, OTHER, OTHER)
    source = f"""{PROGRAM}
    from tests.internals import import_everything, nowhere_is_safe
    import_everything()
    if sys.argv[1] == "nowhere":
        nowhere_is_safe()
    import hmac, json, shutil, tempfile  # the other user may not reach the libraries
    from remoteobj import Proxy
    os.setgroups([])
    os.setgid({OTHER})
    os.setuid({OTHER})
    os.umask(0o777)
    proxy = Proxy([1])
    with proxy.listen_():
        with Target.spawn() as target:
            print(target.ping(), target.passto(lambda _: len(proxy)))
    """
    environment = {"XDG_RUNTIME_DIR": str(base), "TMPDIR": str(base)}
    result = script(source, place, **environment).finish()
    assert (result.code, result.out) == (0, "pong 1\n"), result.err
    assert list(base.glob("*/*")) == []
