"""Files without a name, in memory where the system has that: gone with their last descriptor."""

from __future__ import annotations

import errno
import os

from .lazy_import import import_lock

__all__ = ["anonymous_file"]


def anonymous_file(name: str, sealable: bool = False) -> int:
    """The descriptor of a new one, which is not inherited. `name` is for people who look.

    Raises:
        OSError: there are no descriptors, or there is no memory.
    """
    memfd_create = getattr(os, "memfd_create", None)  # Linux
    if memfd_create is not None:
        flags = os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if sealable else 0)
        try:
            return int(memfd_create(f"remoteobj-{name}", flags))
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            # An old kernel, or a sandbox that forbids it.
    with import_lock:
        import tempfile  # for a faster start-up: where there is memfd_create, it is not needed

    # With a name for a moment, which is seen in /proc for ever: one with none at all shows none.
    fd, path = tempfile.mkstemp(prefix=f"remoteobj-{name}-")
    try:
        os.unlink(path)
    except BaseException:
        os.close(fd)
        raise
    return fd
