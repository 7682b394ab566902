"""A counter that counts by itself, in a process of its own.

Shows: a class becomes an actor by one decorator. Its loop counts, while this program turns it on
and off, reads it and writes to it as if it were here.

Watch for: nothing happens to `counter` by itself when it is off, and there is no lock: requests
run where the loop says so (`process_requests`), so they never come in the middle of a step.
"""

import time

from remoteobj import remote


@remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.count = start
        self.on = False

    def toggle(self, on: bool = True) -> None:
        self.on = on

    @remote.work
    def run(self) -> None:
        while self.remote.listening_:
            self.remote.process_requests(timeout=0.01)
            if self.on:
                self.count += 1


def main() -> None:
    with Counter.spawn(start=100) as counter:
        print("it starts at", counter.count.__)

        counter.toggle(True)
        while counter.count.__ < 120:
            time.sleep(0.01)
        counter.toggle(False)
        print("it went past 120 while it was on")

        before = counter.count.__
        time.sleep(0.1)
        print("it moved while it was off:", counter.count.__ != before)

        counter.count = 5  # attributes can be set, too
        print("it was set to", counter.count.get_())  # get_() is the long name of `.__`
        print("a lambda over there says", counter.passto(lambda c: c.count * 2))

    print("here it is an ordinary class:", Counter(7).count)


main()
