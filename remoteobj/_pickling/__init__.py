"""Values, exceptions and tracebacks as bytes, and back.

Here is decided what of a value travels and how: by C pickle, by cloudpickle, outside of the pickle.
Not here: how the bytes get to another process, and what they mean there.
"""
