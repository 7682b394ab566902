"""Which names are a proxy's own, and which are those of the object that it stands for.

Names that begin with an underscore are never remote. The names of the proxy's class are its own.
All others are the object's.
"""

from __future__ import annotations

__all__ = ["never_remote", "refuse_own_name"]


def never_remote(name: str) -> AttributeError:
    """The error for a name that begins with an underscore, and is read."""
    return AttributeError(
        f"{name!r} begins with an underscore, and such names are never remote; "
        f"attrs_({name!r}) reaches it"
    )


def refuse_own_name(cls: type, name: str) -> None:
    """Refuse to set or to delete an attribute of the object whose name is the proxy's own.

    Raises:
        AttributeError: it is.
    """
    if name.startswith("_") or hasattr(cls, name):
        raise AttributeError(
            f"{name!r} is the proxy's own name; to change such an attribute of the object, "
            f"use passto(setattr, {name!r}, value) or passto(delattr, {name!r})"
        )
