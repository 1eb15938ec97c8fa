# SPDX-License-Identifier: Apache-2.0
"""The choice of candidates under limits: against all choices there are, on small random problems."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.pipeline.choice import Candidate, Choice, Problem, choose

PARTS = {"a": 40, "b": 90}


def candidates(*, shared: bool) -> st.SearchStrategy[Candidate]:
    names = st.sets(st.sampled_from(sorted(PARTS))) if shared else st.just(set[str]())
    number = st.integers(0, 100)
    return st.builds(
        lambda cost, flash, scratch, parts: Candidate("k", cost, flash, scratch, {name: PARTS[name] for name in parts}),
        number,
        number,
        number,
        names,
    )


def layers(*, shared: bool) -> st.SearchStrategy[list[list[Candidate]]]:
    return st.lists(st.lists(candidates(shared=shared), min_size=1, max_size=3), min_size=1, max_size=4)


def scratch(network: list[list[Candidate]], choice: Choice) -> int:
    return max(layer[index].scratch for layer, index in zip(network, choice, strict=True))


def every(network: list[list[Candidate]]) -> list[Choice]:
    return list(product(*(range(len(layer)) for layer in network)))


@given(layers(shared=True))
def test_without_limits_it_is_the_least_cost_of_all(network: list[list[Candidate]]) -> None:
    problem = Problem(network)
    chosen = choose(problem)
    assert chosen is not None
    assert problem.cost(chosen) == min(map(problem.cost, every(network)))


@given(layers(shared=False), st.integers(0, 400))
def test_a_limit_on_flash_is_met_wherever_some_choice_meets_it(network: list[list[Candidate]], limit: int) -> None:
    problem = Problem(network, max_flash=limit)
    chosen = choose(problem)
    assert (chosen is not None) == (min(map(problem.flash, every(network))) <= limit)
    assert chosen is None or problem.flash(chosen) <= limit


@given(layers(shared=True), st.integers(0, 100))
def test_a_limit_on_the_arena_is_met_wherever_some_choice_meets_it(network: list[list[Candidate]], limit: int) -> None:
    problem = Problem(network, max_arena=limit, arena=lambda choice: scratch(network, choice))
    chosen = choose(problem)
    assert (chosen is not None) == (min(scratch(network, choice) for choice in every(network)) <= limit)
    assert chosen is None or scratch(network, chosen) <= limit


@given(layers(shared=True), st.integers(0, 400), st.integers(0, 100))
def test_it_is_within_both_limits_and_never_dearer_than_a_default_that_is(
    network: list[list[Candidate]], flash: int, arena: int
) -> None:
    problem = Problem(network, flash, arena, lambda choice: scratch(network, choice))
    chosen, default = choose(problem), tuple(0 for _ in network)
    if chosen is not None:
        assert problem.excess(chosen) == 0
    if problem.excess(default) == 0:
        assert chosen is not None
        assert problem.cost(chosen) <= problem.cost(default)


@given(layers(shared=True), st.integers(0, 400))
def test_no_other_candidate_of_one_layer_would_be_cheaper_within_the_limit(
    network: list[list[Candidate]], limit: int
) -> None:
    problem = Problem(network, max_flash=limit)
    chosen = choose(problem)
    if chosen is None:
        return
    for other in every(network):
        if sum(one != two for one, two in zip(chosen, other, strict=True)) == 1 and problem.flash(other) <= limit:
            assert problem.cost(other) >= problem.cost(chosen)


def test_the_fast_kernels_go_where_they_gain_most_per_byte() -> None:
    small, large = (Candidate("plain", 100, 10), Candidate("plain", 1000, 10))
    fast = Candidate("fast", 10, 110)
    assert choose(Problem([[fast, small], [fast, large]], max_flash=150)) == (1, 0)


def test_code_that_layers_share_is_paid_once() -> None:
    plain, fast = Candidate("plain", 100, 10), Candidate("fast", 10, 12, parts={"a": 40})
    problem = Problem([[fast, plain]] * 3, max_flash=80)
    assert choose(problem) == (0, 0, 0)
    assert problem.flash((0, 0, 0)) == 76
    assert choose(Problem([[fast, plain]] * 3, max_flash=60)) == (1, 1, 1)
