"""A request as its actor sees it: who calls, what is run next, and what comes of it.

The mailbox with its clients, schedule and executor; the control thread; the program of an actor
from `__init__` to cleanup. Not here: how a call is made, and where the process comes from.
"""
