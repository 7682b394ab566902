"""Frames between two processes: addresses, authentication, connections, shared memory.

How bytes and descriptors get to another process, and how the other end's death is noticed. Not
here: what a frame means, and whose call it is about.
"""
