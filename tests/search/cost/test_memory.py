# SPDX-License-Identifier: Apache-2.0
"""Peak RAM against the true peak of discrete networks, found by walking each one by itself."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.search import cost
from plinio_deploy.search.cost.memory import peak, step_bytes
from tests.search.cost.record import gradients


def tensor(name: str, elements: float | torch.Tensor, bits: int = 8) -> cost.TensorUse:
    return cost.TensorUse(name, elements, bits)


Kind = Literal["step", "unary", "view"]


def op(name: str, reads: str, elements: int, kind: Kind = "step", path: tuple[cost.Choice, ...] = ()) -> cost.GraphOp:
    """An op that writes the tensor of its own name."""
    return cost.GraphOp(name, tuple(reads.split()), tensor(name, elements), kind, path)


def bytes_by_step(inputs: list[cost.TensorUse], ops: list[cost.GraphOp], outputs: list[str]) -> dict[str, float]:
    return {step.name: step_bytes(step).item() for step in cost.live_steps(inputs, ops, outputs)}


def test_a_chain_needs_input_and_output_of_each_step() -> None:
    ops = [op("a", "x", 50), op("b", "a", 30), op("c", "b", 5)]
    assert bytes_by_step([tensor("x", 10)], ops, ["c"]) == {"a": 60, "b": 80, "c": 35}


def test_a_residual_keeps_the_input_alive() -> None:
    ops = [op("a", "x", 50), op("b", "a", 10), op("add", "x b", 10), op("c", "add", 2)]
    assert bytes_by_step([tensor("x", 10)], ops, ["c"]) == {"a": 60, "b": 70, "add": 30, "c": 12}


def test_views_and_functions_in_place_are_no_steps() -> None:
    ops = [op("a", "x", 50), op("relu", "a", 50, "unary"), op("flat", "relu", 50, "view"), op("b", "flat", 5)]
    assert bytes_by_step([tensor("x", 10)], ops, ["b"]) == {"a": 60, "b": 55}


def test_a_function_of_a_tensor_that_others_read_needs_its_own() -> None:
    ops = [op("a", "x", 50), op("relu", "a", 50, "unary"), op("b", "relu", 50), op("add", "a b", 50)]
    assert bytes_by_step([tensor("x", 10)], ops, ["add"]) == {"a": 60, "relu": 100, "b": 150, "add": 150}


def test_outputs_live_to_the_end_and_lie_outside_the_arena() -> None:
    ops = [op("a", "x", 40), op("b", "a", 30)]
    steps = cost.live_steps([cost.TensorUse("x", 10, outside=True)], ops, ["a", "b"])
    use = cost.NetworkUse((), steps)
    assert cost.evaluate(cost.peak_ram, use) == 70
    assert cost.evaluate(cost.arena, use) == 0


def test_the_arena_is_aligned_and_counts_bits() -> None:
    ops = [
        cost.GraphOp("a", ("x",), tensor("a", 5, bits=4)),
        cost.GraphOp("b", ("a",), tensor("b", 9, bits=8)),
        op("c", "b", 1),
    ]
    use = cost.NetworkUse((), cost.live_steps([cost.TensorUse("x", 10, outside=True)], ops, ["c"]))
    assert cost.evaluate(cost.peak_ram, use) == 12.5
    assert cost.evaluate(cost.arena, use) == 4 + 12


@dataclass
class Net:
    """A random network: trunk ops, residuals, and supernets of which a branch may be the identity."""

    inputs: list[cost.TensorUse]
    ops: list[cost.GraphOp]
    branches: dict[str, int]
    output: str


def random_net(seed: int, thetas: dict[str, torch.Tensor] | None = None) -> Net:
    rng = random.Random(seed)
    sizes = {"x": rng.randint(1, 60)}
    ops: list[cost.GraphOp] = []
    branches: dict[str, int] = {}
    current, kept = "x", "x"
    for index in range(rng.randint(2, 7)):
        kind = rng.choice(["conv", "relu", "keep", "add", "supernet", "supernet"])
        name = f"t{index}"
        if kind == "keep":
            kept = current
            continue
        if kind == "add":
            if sizes[kept] != sizes[current]:
                continue
            sizes[name] = sizes[current]
            ops.append(op(name, f"{kept} {current}", sizes[name]))
        elif kind == "supernet":
            sizes[name] = sizes[current]
            branches[name] = rng.randint(2, 3)
            theta = (thetas or {}).get(name, torch.full((3,), 1 / branches[name]))
            for branch in range(branches[name]):
                path = (cost.Choice(name, branch, theta[branch]),)
                shape = rng.choice(["identity", "conv", "conv conv", "conv relu", "relu"])
                if shape == "identity":
                    ops.append(cost.GraphOp(f"{name}.{branch}", (current,), tensor(name, sizes[name]), "view", path))
                elif shape == "relu":
                    ops.append(cost.GraphOp(f"{name}.{branch}", (current,), tensor(name, sizes[name]), "unary", path))
                elif shape == "conv":
                    ops.append(cost.GraphOp(f"{name}.{branch}", (current,), tensor(name, sizes[name]), "step", path))
                else:
                    inner = f"{name}.{branch}.a"
                    inner_size = sizes[name] if "relu" in shape else rng.randint(1, 60)
                    ops.append(op(inner, current, inner_size, path=path))
                    written = tensor(name, sizes[name])
                    last = cost.GraphOp(f"{name}.{branch}.b", (inner,), written, path=path)
                    ops.append(replace(last, kind="unary") if "relu" in shape else last)
        else:
            sizes[name] = sizes[current] if kind == "relu" else rng.randint(1, 60)
            ops.append(op(name, current, sizes[name], "unary" if kind == "relu" else "step"))
        current = name
    ops.append(op("last", current, rng.randint(1, 9)))
    return Net([tensor("x", sizes["x"])], ops, branches, "last")


def discrete(net: Net, chosen: dict[str, int]) -> float:
    """Peak of one choice, by brute force: run the ops that remain, with buffers, and count who still needs each one."""
    ops = [o for o in net.ops if all(chosen[c.module] == c.branch for c in o.path)]
    buffer = {"x": 0}
    size: dict[int, float] = {0: float(net.inputs[0].elements)}
    last_read = {
        name: max((i for i, o in enumerate(ops) if name in o.reads), default=-1) for o in ops for name in o.reads
    }
    worst = 0.0
    for index, o in enumerate(ops):
        source = o.reads[0]
        alone = sum(source in other.reads for other in ops) == 1
        if o.kind == "view" or (o.kind == "unary" and alone):
            buffer[o.writes.name] = buffer[source]
            continue
        buffer[o.writes.name] = new = index + 1
        size[new] = float(o.writes.elements)
        needed = {buffer[name] for name in buffer if last_read.get(name, -1) >= index} | {new}
        worst = max(worst, sum(size[b] for b in needed))
    return worst


@given(seed=st.integers(0, 10**6))
def test_hard_choices_give_the_true_peak_of_the_network_they_choose(seed: int) -> None:
    names = random_net(seed).branches
    for choice in itertools.product(*(range(count) for count in names.values())):
        chosen = dict(zip(names, choice, strict=True))
        net = random_net(seed, {name: torch.eye(3)[branch] for name, branch in chosen.items()})
        use = cost.NetworkUse((), cost.live_steps(net.inputs, net.ops, [net.output]))
        assert peak(use).item() == discrete(net, chosen), (chosen, net.ops)


def test_nested_choices_weigh_each_branch_with_all_thetas_on_its_way() -> None:
    outer, inner = torch.tensor([0.25, 0.75], requires_grad=True), torch.tensor([0.5, 0.5], requires_grad=True)
    first, second = cost.Choice("o", 0, outer[0]), cost.Choice("o", 1, outer[1])
    steps = (
        cost.StepUse("a", (tensor("a", 100),), (first,)),
        cost.StepUse("b", (tensor("b", 40),), (second, cost.Choice("o.1", 0, inner[0]))),
        cost.StepUse("c", (tensor("c", 80),), (second, cost.Choice("o.1", 1, inner[1]))),
        cost.StepUse("d", (tensor("d", 10),)),
    )
    total = cost.evaluate(cost.peak_ram, cost.NetworkUse((), steps))
    assert total.item() == pytest.approx(0.25 * 100 + 0.75 * (20 + 40))
    by_outer, by_inner = gradients(total, outer, inner)
    assert by_outer.tolist() == pytest.approx([100, 60], rel=0.01)
    assert by_inner.tolist() == pytest.approx([0.75 * 40, 0.75 * 80], rel=0.01)


def test_the_gradient_reaches_all_steps_near_the_peak_and_the_value_stays_exact() -> None:
    sizes = torch.tensor([1000.0, 990.0, 100.0], requires_grad=True)
    steps = tuple(cost.StepUse(str(i), (tensor(str(i), sizes[i]),)) for i in range(3))
    total = peak(cost.NetworkUse((), steps))
    assert total.item() == 1000
    share = gradients(total, sizes)[0].tolist()
    assert sum(share) == pytest.approx(1)
    assert share[0] > share[1] > 0.4
    assert share[2] < 1e-6
    hard = peak(cost.NetworkUse((), steps), spread=0)
    assert gradients(hard, sizes)[0].tolist() == [1, 0, 0]


def test_a_network_without_steps_needs_nothing() -> None:
    assert cost.evaluate(cost.peak_ram, cost.NetworkUse(())) == 0
