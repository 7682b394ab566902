"""Why Ray has not placed an actor: what it was asked for, against what its cluster has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["missing_resources", "wanted_resources"]

_BY_NAME: Final = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
_DEFAULTS: Final = {"CPU": 1.0}
"""What Ray looks for where nothing is said."""


def wanted_resources(options: Mapping[str, Any]) -> dict[str, float]:
    """What these options of Ray's ask for.

    >>> wanted_resources({"num_gpus": 0.5, "resources": {"disk": 2}})
    {'GPU': 0.5, 'disk': 2.0}
    >>> wanted_resources({})
    {'CPU': 1.0}
    """
    said = {_BY_NAME[name]: options[name] for name in _BY_NAME if options.get(name) is not None}
    said |= options.get("resources") or {}
    if kind := options.get("accelerator_type"):
        said[f"accelerator_type:{kind}"] = 0.001
    wanted = {name: float(amount) for name, amount in said.items() if amount}
    return wanted if said else dict(_DEFAULTS)


def missing_resources(
    wanted: Mapping[str, float],
    nodes: list[Mapping[str, float]],
    free: Mapping[str, float],
) -> str:
    """What is missing, and what to do; "": nothing that could be seen from here.

    Args:
        nodes: what each living node has in all.
        free: what of that is free, of all nodes together.

    >>> missing_resources({"GPU": 1.0}, [{"CPU": 4.0}], {"CPU": 4.0})
    'no node of the cluster has GPU: 1 (the most that one has is 0)'
    >>> missing_resources({"CPU": 2.0}, [{"CPU": 4.0}], {"CPU": 1.0})
    'CPU: 2 is not free (1 of 4 is)'
    >>> missing_resources({"a": 1.0, "b": 1.0}, [{"a": 1.0}, {"b": 1.0}], {"a": 1.0, "b": 1.0})
    'no one node of the cluster has a: 1 and b: 1 together'
    >>> missing_resources({"CPU": 1.0}, [{"CPU": 4.0}], {"CPU": 4.0})
    ''
    """
    for name, amount in wanted.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if most < amount:
            return (
                f"no node of the cluster has {_amount(name, amount)} (the most that one has is "
                f"{most:g})"
            )
    together = " and ".join(_amount(*one) for one in wanted.items())
    if not any(all(node.get(name, 0) >= wanted[name] for name in wanted) for node in nodes):
        return f"no one node of the cluster has {together} together"
    for name, amount in wanted.items():
        if free.get(name, 0.0) < amount:
            total = sum(node.get(name, 0.0) for node in nodes)
            return f"{_amount(name, amount)} is not free ({free.get(name, 0.0):g} of {total:g} is)"
    return ""


def _amount(name: str, amount: float) -> str:
    return f"{name}: {amount:g}"
