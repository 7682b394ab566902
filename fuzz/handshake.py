"""Coverage-guided fuzzing of the handshake, on both sides.

What an input means is in `tests.hostile`.
"""

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["remoteobj._actor", "remoteobj._protocol", "remoteobj._wire"]
):
    from tests.hostile import check_handshake, handshake_seeds
from fuzz.runner import run

if __name__ == "__main__":
    run("handshake", check_handshake, handshake_seeds(), 400)
