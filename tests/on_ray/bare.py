"""Actors and tasks as Ray's own users write them, and what they say of themselves."""

import contextlib
from collections.abc import Iterator
from typing import Any


class Idle:
    """An actor of Ray's own."""

    def where(self) -> str:
        return node_here()


def node_here(*_: object) -> str:
    """The number of the node that this runs on."""
    import ray  # start-up: nobody who imports this module need have it

    node: str = ray.get_runtime_context().get_node_id()
    return node


@contextlib.contextmanager
def bare_actor(ray: Any, cls: type, *args: object, **options: Any) -> Iterator[Any]:
    """An actor of Ray's own, that ends with the `with`."""
    actor = ray.remote(cls).options(**options).remote(*args)
    try:
        yield actor
    finally:
        ray.kill(actor)
