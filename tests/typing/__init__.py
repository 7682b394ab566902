"""What type checkers are to infer, and what they are to flag: checked by `make lint`, never run.

`assert_type` says what is inferred. What is to be flagged has the code of mypy's error and the rule
of pyright's beside it. A line that is flagged no more fails the check: its comment is not needed.
"""
