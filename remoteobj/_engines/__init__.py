"""Where an actor lives, how it starts, how it ends, and the contract that it runs under.

Processes, threads and the caller's own thread. An engine sees frames and exit codes; what the
program says in its frames is none of its business.
"""
