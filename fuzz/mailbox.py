"""Coverage-guided fuzzing of an actor's mailbox, by what a client sends: frames and descriptors.

What an input means is in `tests.hostile`.
"""

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["remoteobj._actor", "remoteobj._protocol", "remoteobj._wire"]
):
    from tests.hostile import check_mailbox, mailbox_seeds
from fuzz.runner import run

if __name__ == "__main__":
    run("mailbox", check_mailbox, mailbox_seeds(), 2000)
