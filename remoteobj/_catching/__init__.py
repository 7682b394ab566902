"""Exceptions by name, across processes: what `Except` and `LocalExcept` are made of.

A journal in shared memory, the store that adds its records up, the contexts that catch, the two
classes, and what tells of failures that nobody has looked at. It knows little of actors.
"""
