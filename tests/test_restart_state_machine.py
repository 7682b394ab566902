"""Restarted actors and supervised ones as Hypothesis would treat them: any order of calls, deaths,
checkpoints and stops.

A model says what must be true: which process of an actor is the present one, what its counter may
be after what was lost at a death, and that every call has one outcome.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from remoteobj import (
    ActorDiedError,
    NotListeningError,
    RestartLimitError,
    SpawnOptions,
    Supervisor,
    remote,
)
from tests.internals import is_at_rest
from tests.tools import kill, until, until_gone

GONE = (ActorDiedError, NotListeningError)
DEATH = 1.0
"""Seconds within which every call has ended after a death."""
PATIENCE = 20.0
MOST_ACTORS = 2
MOST_RESTARTS = 3
PICKS = st.integers(0, 9)
AMOUNTS = st.integers(1, 9)

LIVED: Counter[str] = Counter()
"""How much was tried, so that a machine that does nothing is noticed."""


@remote(start_method="fork", restart="on-failure", backoff=0.0)
class Tally:
    """Counts, and keeps its count, if it is told to."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def add_and_refuse(self, amount: int) -> None:
        self.value += amount
        raise KeyError(amount)

    def add_and_crash(self, amount: int) -> None:
        self.value += amount
        os._exit(3)

    def pid(self) -> int:
        return os.getpid()

    @remote.checkpoint
    def save(self) -> int:
        return self.value

    @remote.restore
    def load(self, value: int) -> None:
        self.value = value


@remote(start_method="fork")
class Friend:
    """Has proxies of actors in a process of its own, and keeps them over all restarts."""

    def __init__(self) -> None:
        self.tallies: dict[str, Any] = {}

    def meet(self, name: str, tally: Any) -> None:
        self.tallies[name] = tally

    def add(self, name: str, amount: int) -> int | None:
        """What an addition gave; None: there was nobody."""
        try:
            return int(self.tallies[name].add(amount))
        except GONE:
            return None


FRIENDS: list[Any] = []
"""One for all examples, since it takes as long to start as an actor does."""


class Range:
    """What a number may be, as far as it is known."""

    def __init__(self, low: int = 0, high: int = 0) -> None:
        self.low, self.high = low, high

    def add(self, amount: int, *, perhaps: bool = False) -> None:
        self.low += 0 if perhaps else amount
        self.high += amount

    def is_now(self, value: int) -> None:
        assert self.low <= value <= self.high, f"{value} is not in {self}"
        self.low = self.high = value

    def copy(self) -> "Range":
        return Range(self.low, self.high)

    def __repr__(self) -> str:
        return f"{self.low}..{self.high}"


class Model:
    """An actor that is restarted, and what is known of it.

    `count` is what its counter is once all calls that are on their way have run; `saved` is what it
    begins with after a death.
    """

    def __init__(self, every: float | None, most: int) -> None:
        options: SpawnOptions = {"checkpoint_every": every, "max_restarts": most}
        self.handle: Any = Tally.options(**options).spawn()
        self.keeps_all = every is not None
        self.most = most
        self.count = Range()
        self.saved = Range()
        self.sent: list[tuple[Any, int]] = []
        """The futures that are on their way, and how much each adds."""
        self.cast = 0
        """How much is added by casts of which nobody knows yet whether they have run."""
        self.failures = 0
        self.stopped = False

    @property
    def beyond(self) -> bool:
        return self.failures > self.most

    @property
    def ended(self) -> bool:
        return self.stopped or self.beyond

    def has_run(self, amount: int, value: int) -> None:
        """A call from this thread has, and so have all before it."""
        self.count.add(amount)
        self.count.is_now(value)
        self.cast = 0

    def has_died(self) -> None:
        """Forget what a death takes: all that was not kept. What was sent has its outcome then."""
        self.failures += 1
        began = time.monotonic()
        self.settle()
        assert time.monotonic() - began < DEATH, "a call ended too late after a death"
        if self.keeps_all:
            self.count.low -= self.cast  # they may have run, or not
        else:
            self.count = self.saved.copy()
        self.cast = 0

    def settle(self) -> None:
        """Every future has its one outcome, in the order of the calls."""
        died = False
        for future, amount in self.sent:
            try:
                value = future.result(timeout=PATIENCE)
            except GONE as exc:
                assert self.failures or self.stopped, f"{exc} of one that did not die"
                # Of those of one caller, one alone may have begun.
                perhaps = getattr(exc, "maybe_executed", False)
                assert not (perhaps and died), "two calls may have been executed"
                died = True
                self.count.low -= amount
                self.count.high -= 0 if perhaps else amount
            else:
                assert not died, "a call was executed after one that was not"
                assert value <= self.count.high
        self.sent.clear()


def outcome(act: Callable[[], Any]) -> tuple[Any, type[BaseException] | None]:
    """What came of it; of an exception its type alone."""
    LIVED.update(calls=1)
    try:
        return act(), None
    except (KeyError, *GONE) as exc:
        return None, type(exc)


class Restarts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.models: list[Model] = []

    def any_of(self, pick: int) -> Model:
        return self.models[pick % len(self.models)]

    def a_living_one(self, pick: int) -> Model:
        living = [model for model in self.models if not model.ended]
        return living[pick % len(living)]

    def has_living(self) -> bool:
        return any(not model.ended for model in self.models)

    @initialize(every=st.sampled_from([0.0, None]))
    def begin(self, every: float | None) -> None:
        self.spawn(every, 1000)

    @precondition(lambda self: len(self.models) < MOST_ACTORS)
    @rule(every=st.sampled_from([0.0, None]), most=st.sampled_from([0, 1, 1000]))
    def spawn(self, every: float | None, most: int) -> None:
        model = Model(every, most)
        self.models.append(model)
        FRIENDS[0].meet(model.handle.name_, model.handle)

    # --- calls ---------------------------------------------------------------------------

    @rule(pick=PICKS, amount=AMOUNTS)
    def call(self, pick: int, amount: int) -> None:
        model = self.any_of(pick)
        value, error = outcome(lambda: model.handle.add(amount))
        self.check(model, amount, value, error)

    def check(
        self, model: Model, amount: int, value: Any, error: type[BaseException] | None
    ) -> None:
        if model.ended:
            assert error in GONE
        else:
            assert error is None
            model.has_run(amount, value)
            if model.keeps_all:
                model.saved = model.count.copy()

    @rule(pick=PICKS, amount=AMOUNTS)
    def call_what_raises(self, pick: int, amount: int) -> None:
        """The exception of a call is no failure, and its effect is kept as any other."""
        model = self.any_of(pick)
        _, error = outcome(lambda: model.handle.add_and_refuse(amount))
        if model.ended:
            assert error in GONE
        else:
            assert error is KeyError
            model.count.add(amount)
            model.cast = 0

    @precondition(has_living)
    @rule(pick=PICKS, amount=AMOUNTS, count=st.integers(1, 6))
    def futures(self, pick: int, amount: int, count: int) -> None:
        model = self.a_living_one(pick)
        for _ in range(count):
            model.sent.append((model.handle.future_.add(amount), amount))
            model.count.add(amount)
            LIVED.update(calls=1)

    @precondition(has_living)
    @rule(pick=PICKS, amount=AMOUNTS)
    def cast(self, pick: int, amount: int) -> None:
        model = self.a_living_one(pick)
        model.handle.cast_.add(amount)
        model.count.add(amount)
        model.cast += amount

    @rule(pick=PICKS, amount=AMOUNTS)
    def call_from_another_process(self, pick: int, amount: int) -> None:
        """It got its proxy before all restarts. No order holds between it and this process."""
        model = self.any_of(pick)
        self.settle(pick)
        if not model.ended:
            self.call(pick, 0)
        value = FRIENDS[0].add(model.handle.name_, amount)
        self.check(model, amount, value, ActorDiedError if value is None else None)

    @rule(pick=PICKS)
    def settle(self, pick: int) -> None:
        self.any_of(pick).settle()

    # --- what is kept, and what is lost --------------------------------------------------

    @precondition(has_living)
    @rule(pick=PICKS, by_future=st.booleans())
    def checkpoint(self, pick: int, by_future: bool) -> None:
        model = self.a_living_one(pick)
        if by_future:
            model.handle.future_.checkpoint_().result(PATIENCE)
        else:
            model.handle.checkpoint_()
        model.saved = model.count.copy()
        model.cast = 0
        LIVED.update(checkpoints=1)

    @precondition(has_living)
    @rule(pick=PICKS)
    def kill(self, pick: int) -> None:
        model = self.a_living_one(pick)
        kill(model.handle)
        model.has_died()
        LIVED.update(deaths=1)

    @precondition(has_living)
    @rule(pick=PICKS, amount=AMOUNTS)
    def crash(self, pick: int, amount: int) -> None:
        """In a call: what that has changed was not kept yet, and all before it was."""
        model = self.a_living_one(pick)
        dying = model.handle.pid_
        with pytest.raises(ActorDiedError) as caught:
            model.handle.add_and_crash(amount)
        assert caught.value.exitcode == 3
        assert caught.value.maybe_executed
        assert until_gone(dying, PATIENCE)
        model.cast = 0
        model.has_died()
        LIVED.update(deaths=1)

    # --- its end -------------------------------------------------------------------------

    @precondition(has_living)
    @rule(pick=PICKS, end=st.sampled_from(["stop_", "kill_"]))
    def end(self, pick: int, end: str) -> None:
        """By its owner: no restart follows."""
        model = self.a_living_one(pick)
        getattr(model.handle, end)()
        model.stopped = True
        assert model.handle.join_(PATIENCE)
        model.settle()

    @precondition(lambda self: len(self.models) > 1 and any(one.ended for one in self.models))
    @rule()
    def drop_what_has_ended(self) -> None:
        model = next(model for model in self.models if model.ended)
        self.close(model)
        self.models.remove(model)

    def close(self, model: Model) -> None:
        model.handle.stop_()
        model.stopped = True
        model.settle()
        if model.beyond:
            assert [report.name for report in self.reports_of(model)] == [
                model.handle.name_
            ] * model.failures
        model.handle.exc_.clear()

    def reports_of(self, model: Model) -> Any:
        with pytest.raises(ActorDiedError) as caught:
            model.handle.add(1)
        return caught.value.reports

    # --- always --------------------------------------------------------------------------

    @invariant()
    def it_is_restarted_after_each_failure_up_to_its_limit(self) -> None:
        for model in self.models:
            if model.stopped:
                continue
            expected = min(model.failures, model.most)
            until(partial(self.is_restarted, model.handle, expected))
            if model.beyond:
                assert model.handle.join_(PATIENCE)
            assert model.handle.alive_ != model.beyond

    @staticmethod
    def is_restarted(handle: Any, times: int) -> bool:
        restarts: int = handle.restarts_
        assert restarts <= times
        return restarts == times

    def teardown(self) -> None:
        try:
            for model in self.models:
                self.close(model)
        finally:
            for model in self.models:  # also after a failure: the next example starts from none
                model.handle.kill_()
        LIVED.update(examples=1)


class Supervision(RuleBasedStateMachine):
    """A supervisor of two children and of a supervisor with two more; all may die."""

    @initialize(
        outer=st.sampled_from(["one-for-one", "one-for-all", "rest-for-one"]),
        inner=st.sampled_from(["one-for-one", "one-for-all", "rest-for-one"]),
    )
    def begin(self, outer: Any, inner: Any) -> None:
        self.outer, self.inner = outer, inner
        self.supervisor = Supervisor(outer, max_restarts=MOST_RESTARTS, start_method="fork")
        self.children: list[Any] = [self.supervisor.spawn(Tally) for _ in range(2)]
        self.nested = self.supervisor.supervisor(inner, max_restarts=1)
        self.children += [self.nested.spawn(Tally) for _ in range(2)]
        self.counts = [0] * 4
        self.failures = [0, 0]
        """That count, of the supervisor and of the nested one."""
        self.failed = False

    @rule(which=st.integers(0, 3), amount=AMOUNTS)
    def call(self, which: int, amount: int) -> None:
        value, error = outcome(lambda: self.children[which].add(amount))
        if self.failed:
            assert error in GONE or error is RestartLimitError
        else:
            assert error is None
            self.counts[which] += amount
            assert value == self.counts[which]

    @precondition(lambda self: not self.failed)
    @rule(which=st.integers(0, 3))
    def kill(self, which: int) -> None:
        before = [child.pid_ for child in self.children]
        kill(self.children[which])
        LIVED.update(deaths=1)
        renewed = self.restarted_after(which)
        if self.failed:
            assert self.supervisor.wait(PATIENCE)
            return
        for one in renewed:
            until(partial(self.is_another, self.children[one], before[one]))
            self.counts[one] = 0
        # A failure while it is being started itself counts against the one above.
        until(lambda: is_at_rest(self.supervisor) and is_at_rest(self.nested))
        for one in {0, 1, 2, 3} - set(renewed):
            assert self.children[one].pid() == before[one]

    def restarted_after(self, which: int) -> list[int]:
        """The children that the death of one has restarted, by what the strategies say."""
        if which < 2:
            return self.restarted_by_the_outer_one(which)
        self.failures[1] += 1
        if self.failures[1] <= 1:
            return self.of_strategy(self.inner, [2, 3], which)
        self.failures[1] = 0
        return self.restarted_by_the_outer_one(2)

    def restarted_by_the_outer_one(self, which: int) -> list[int]:
        """The nested supervisor is its third child, and stands for the last two."""
        self.failures[0] += 1
        self.failed = self.failures[0] > MOST_RESTARTS
        renewed = self.of_strategy(self.outer, [0, 1, 2], which)
        if 2 in renewed:
            self.failures[1] = 0
        return renewed + [3] * (2 in renewed)

    @staticmethod
    def of_strategy(strategy: str, children: list[int], which: int) -> list[int]:
        if strategy == "one-for-one":
            return [which]
        return children if strategy == "one-for-all" else children[children.index(which) :]

    @staticmethod
    def is_another(child: Any, pid: int) -> bool:
        try:
            return bool(child.pid() != pid)
        except GONE:  # it was being stopped, since another one has failed
            return False

    @invariant()
    def all_of_them_live_or_none_does(self) -> None:
        alive = [child.alive_ for child in self.children]
        assert alive == [not self.failed] * 4

    def teardown(self) -> None:
        if not hasattr(self, "supervisor"):
            return
        try:
            if self.failed:
                with pytest.raises(RestartLimitError) as caught, self.supervisor:
                    pass
                assert len(caught.value.reports) == MOST_RESTARTS + 1
            else:
                with self.supervisor:
                    pass
        finally:
            self.supervisor.stop()
            for child in self.children:
                child.exc_.clear()
        assert not any(child.alive_ for child in self.children)
        LIVED.update(examples=1)


def tried(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    LIVED.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )
    assert LIVED["examples"] >= examples
    assert LIVED["deaths"] > examples // 2  # so that it has tried what it is for
    assert LIVED["calls"] > examples // 2


@pytest.mark.timeout(150)  # a failure is made smaller for a while, which takes its time
def test_in_any_order_of_deaths_and_checkpoints_nothing_that_was_kept_is_lost() -> None:
    with Friend.spawn() as friend:
        FRIENDS[:] = [friend]
        tried(Restarts, examples=15, steps=20)
    FRIENDS.clear()
    assert LIVED["checkpoints"] > 2


@pytest.mark.timeout(150)
def test_in_any_order_of_deaths_a_supervisor_restarts_whom_its_strategy_says() -> None:
    tried(Supervision, examples=7, steps=8)
