"""Functions that run in processes of their own, and give back what functions give back.

Shows: `util.process(func, *args)` is a `multiprocessing.Process` whose call is written like a
call. Its return value, what it yields and what it raises arrive here.

Watch for: the items are used while the function still runs, and the exception comes after the
items that were yielded before it, as it would in one process.
"""

import math
import os
from collections.abc import Iterator
from multiprocessing import Process

from remoteobj import util


def digits_of_factorial(n: int) -> int:
    return len(str(math.factorial(n)))


def primes(below: int) -> Iterator[int]:
    for n in range(2, below):
        if all(n % d for d in range(2, math.isqrt(n) + 1)):
            yield n
    raise ValueError(f"no more primes below {below}, says another process: {os.getpid() != here}")


here = os.getpid()

with util.process(digits_of_factorial, 1000) as process:
    print("a Process like any other:", isinstance(process, Process), process.name)
print("1000! has so many digits:", process.result)

try:
    with util.process(primes, below=20) as process:
        for prime in process.result:
            print("prime", prime)
except ValueError as error:
    print("then:", error)

# Several at once: each has its own processor, if there are enough of them.
running = [util.process(digits_of_factorial, n).start() for n in (10, 100, 1500)]
for process in running:
    process.join()
print("side by side:", [process.result for process in running])
