"""Coverage-guided fuzzing of what reads single messages: orders, credit, probes and metadata.

What an input means is in `tests.hostile`.
"""

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["remoteobj._actor", "remoteobj._protocol", "remoteobj._wire"]
):
    from tests.hostile import check_parsers, parser_seeds
from fuzz.runner import run

if __name__ == "__main__":
    run("parsers", check_parsers, parser_seeds(), 2000)
