"""What is said between a caller and an actor, without any I/O.

Operations, messages, frames as bytes, the table of open calls, the life of a listener, chains of
calls: all of it can be tested without a process, a socket or a thread.
"""
