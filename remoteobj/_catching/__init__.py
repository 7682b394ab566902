"""Exceptions by name, across processes: what `Except` and `LocalExcept` are made of.

A journal in shared memory, the store that adds its records up, the contexts that catch, and the
two classes. It knows nothing of actors.
"""
