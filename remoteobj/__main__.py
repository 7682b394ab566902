"""`python -m remoteobj`: the command line, as the script `remoteobj` has it."""

import sys

from .cli.program import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
