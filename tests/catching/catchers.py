"""What the tests of catching do with a catcher: have it catch, and look at what it caught."""

from typing import Any

from remoteobj import Except, LocalExcept

Catcher = Except | LocalExcept


def catch(exc: Catcher, group: str | None, error: BaseException, **options: Any) -> None:
    with exc(group, raises=False, types=BaseException, **options):
        raise error


def texts(exc: Catcher, *group: Any) -> list[str]:
    """What the errors say: all, or those of one group."""
    return [str(error) for error in (exc.group(*group) if group else exc.all())]


def fail_deep_down() -> None:
    raise ValueError("deep down")


def contexts(error: BaseException | None) -> list[type]:
    found = []
    while error is not None:
        found.append(type(error))
        error = error.__context__
    return found
