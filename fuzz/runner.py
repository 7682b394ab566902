"""What the fuzzers have in common: where their findings are kept, and how they begin."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

__all__ = ["run"]

KEPT = Path(".fuzz")


def run(name: str, check: Callable[[bytes], None], seeds: Iterable[bytes], max_len: int) -> None:
    """Fuzz: an exception of `check` is a finding. What it learns is there for the next run."""
    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-artifact_prefix={KEPT}/{name}-", f"-max_len={max_len}", "-len_control=1"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(corpus)], check)
    atheris.Fuzz()
