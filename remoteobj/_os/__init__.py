"""What the operating system gives: fork safety, signals, wake-ups, polling, files in memory.

Everything that is POSIX's and not this package's own idea belongs here; it knows no message, no
object and no actor.
"""
