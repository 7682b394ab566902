"""A call as its caller sees it: connections, results, futures, awaits, streams.

Sends calls, takes replies in, and says what came of each call. Not here: the proxies that record
the calls, and anything of the actor's own side.
"""
