"""How a process is started anew: as the interpreter does it, but without its `__main__`."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import types
from collections.abc import Callable
from multiprocessing import connection, forkserver, popen_forkserver, popen_spawn_posix, spawn
from multiprocessing.connection import wait
from typing import Any

from .._os.processes import rights
from .._wire.runtime_directory import runtime_directory

__all__ = ["POPEN"]

PACKAGE = __name__.partition(".")[0]
PRELOADED: tuple[str, ...] = (
    f"{PACKAGE}._engines.fork_server_side",
    f"{PACKAGE}._engines.new_process",
    f"{PACKAGE}._actor.program",
    f"{PACKAGE}._handle",
    f"{PACKAGE}._job_processes",
    f"{PACKAGE}._pickling.cloudpickling",
)
"""What our fork server imports: all that an actor needs, and what it may need."""


class _SpawnWithoutMain:
    """`multiprocessing.spawn`, but a child is not told where the main module is, and is told of
    directory and `sys.path` as they are now, and not as they were at the start of the program. It
    collects no garbage before there is some: see `NewProcess.run`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(spawn, name)

    def get_preparation_data(self, name: str) -> dict[str, Any]:
        data = spawn.get_preparation_data(name)
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
        data["sys_path"] = list(sys.path)  # relative ones too: it gets the directory as well
        data["orig_dir"] = data["dir"]
        return data

    def get_command_line(self, **details: int) -> list[str]:
        command: list[str] = spawn.get_command_line(**details)
        if "-c" in command:  # a frozen program has its own way
            code = command.index("-c") + 1
            command[code] = f"import gc; gc.disable(); {command[code]}"
        return command


class _OurAddresses:
    """`multiprocessing.connection`, but sockets lie in the directory of this process, which is
    removed with all that is in it, however the process ends."""

    def __getattr__(self, name: str) -> Any:
        return getattr(connection, name)

    def arbitrary_address(self, family: str) -> str:
        return os.path.join(runtime_directory.get(), os.urandom(4).hex())


def _with_modules(function: Callable[..., Any], **modules: Any) -> Any:
    """The interpreter's own function, with other modules in place of those it uses.

    `multiprocessing` has no hook for what we change, and a copy of its code would have to
    follow every version of it.
    """
    scope = {**function.__globals__, **modules}
    return types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )


def _launch_of(module: Any) -> Callable[..., Any]:
    launch: Callable[..., Any] = module.Popen._launch
    return launch


class _ForkServer(forkserver.ForkServer):
    ensure_running = _with_modules(forkserver.ForkServer.ensure_running, connection=_OurAddresses())


class _OurForkServer:
    """`multiprocessing.forkserver`, with a server that preloads us and not `__main__`."""

    def __init__(self) -> None:
        self.server: Any = None
        self._rights: tuple[int, ...] = ()
        os.register_at_fork(after_in_child=self._forget)

    def __getattr__(self, name: str) -> Any:
        return getattr(forkserver, name)

    def connect_to_new_process(self, fds: list[int]) -> Any:
        try:
            return self._connect(fds)
        except (ConnectionRefusedError, FileNotFoundError):
            # It has just ended, and its parent does not know it yet: somebody who had no
            # descriptors left, say, hung up on it in the midst of a request.
            self._remove_socket()
            self._forget()
            return self._connect(fds)

    def _connect(self, fds: list[int]) -> Any:
        if self.server is not None and self._rights != rights():
            self._forget()  # its children would have those that we have given up
        if self.server is None:
            self.server = _ForkServer()
            self._rights = rights()
            self.server.set_forkserver_preload(list(PRELOADED))
        return self.server.connect_to_new_process(fds)

    def _remove_socket(self) -> None:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            os.unlink(self.server._forkserver_address)

    def _forget(self) -> None:
        """A forked child must not wait for a server that is its parent's child."""
        server, self.server = self.server, None
        alive = getattr(server, "_forkserver_alive_fd", None)
        if alive is not None:
            with contextlib.suppress(OSError):
                os.close(alive)


class _SpawnPopen(popen_spawn_posix.Popen):
    _fds: list[int]
    _launch = _with_modules(_launch_of(popen_spawn_posix), spawn=_SpawnWithoutMain())

    def duplicate_for_child(self, fd: int) -> int:
        # The same may come twice, when a first try to pickle failed half-way.
        return fd if fd in self._fds else int(super().duplicate_for_child(fd))


fork_server = _OurForkServer()


class _ForkServerPopen(popen_forkserver.Popen):
    _fds: list[int]
    sentinel: int
    returncode: int | None

    def __init__(self, process_obj: Any) -> None:
        self._polling = threading.Lock()
        super().__init__(process_obj)
        self.server_pid: int = fork_server.server._forkserver_pid
        """Whose child it is, as long as that lives."""

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code, which can be read once: of two threads that do, the second would find the
        end of the pipe, and take it for the code 255."""
        if flag != os.WNOHANG:
            wait([self.sentinel])
        with self._polling:
            if self.returncode is None:
                super().poll(os.WNOHANG)
            return self.returncode

    _launch = _with_modules(
        _launch_of(popen_forkserver), spawn=_SpawnWithoutMain(), forkserver=fork_server
    )

    def duplicate_for_child(self, fd: int) -> int:
        return self._fds.index(fd) if fd in self._fds else int(super().duplicate_for_child(fd))


POPEN: dict[str, Any] = {"spawn": _SpawnPopen, "forkserver": _ForkServerPopen}
