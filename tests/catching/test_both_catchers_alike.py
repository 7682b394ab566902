"""`Except` and `LocalExcept` answer alike, whatever was done to them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remoteobj import Except, LocalExcept
from tests.catching.catchers import catch, texts
from tests.internals import ANY, as_in_another_process

GROUPS = st.sampled_from(["a", "b", None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("catch"), GROUPS),
        st.tuples(st.just("clear"), st.sampled_from(["a", None, ANY])),
        st.tuples(st.just("set_result"), st.integers()),
        st.tuples(st.sampled_from(["clear_result", "pop_result"]), st.just(None)),
        st.tuples(st.just("look"), GROUPS),
    ),
    max_size=20,
)


@given(STEPS)
def test_both_answer_alike_and_so_does_a_copy_that_reads_late(steps: list[Any]) -> None:
    local, shared = LocalExcept(), Except()
    late = as_in_another_process(shared)
    for number, (step, arg) in enumerate(steps):
        for exc in (local, shared):
            if step == "catch":
                catch(exc, arg, ValueError(number))
            elif step in ("clear", "set_result"):
                getattr(exc, step)(arg)
        if step == "pop_result":
            assert local.pop_result() == shared.pop_result()
        elif step == "clear_result":
            for exc in (local, shared):
                exc.clear_result()
        elif step == "look":
            assert texts(local, arg) == texts(shared, arg)
            assert local.get_result() == shared.get_result()
    for group in ("a", "b", None, ANY):
        assert texts(local, group) == texts(shared, group) == texts(late, group)
    assert local.get_result() == shared.get_result() == late.get_result()
