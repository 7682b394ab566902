"""Where each kind of error of an actor goes.

Shows: the error of a call is raised by that call. Those of the actor's own life are kept in
groups: `init`, `work`, `cleanup`. Watch for: each traceback ends in the line that failed there.
"""

import traceback

from remoteobj import remote


@remote
class Machine:
    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.check("init")

    def check(self, part: str) -> None:
        if self.fault == part:
            raise RuntimeError(f"broken in {part}")

    @remote.work
    def run(self) -> None:
        self.check("work")

    @remote.cleanup
    def close(self) -> None:
        self.check("cleanup")


def show(what: str, error: BaseException) -> None:
    place = traceback.extract_tb(error.__traceback__)[-1].name
    print(f"{what}: {type(error).__name__}: {error} (raised in {place})")


with Machine.spawn("request") as machine:
    try:
        machine.check("request")
    except RuntimeError as error:
        show("by the call", error)
    print("the actor is alive:", machine.alive_, "and has lifecycle errors:", bool(machine.exc_))

try:
    Machine.spawn("init")
except RuntimeError as error:
    show("by spawn", error)

try:
    with Machine.spawn("work") as machine:
        machine.join_()  # a broken loop ends the actor
        print("in the group work:", machine.exc_.group("work"))
except RuntimeError as error:
    show("by leaving with", error)

machine = Machine.spawn("cleanup")
try:
    machine.stop_()
    machine.exc_.raise_any("cleanup")
except RuntimeError as error:
    show("by raise_any", error)
