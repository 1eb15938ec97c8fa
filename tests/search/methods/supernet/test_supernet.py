# SPDX-License-Identifier: Apache-2.0
"""SuperNet on whole models. Numbers called golden were measured on PLiNIO, on models rebuilt from their description."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.search import cost
from plinio_deploy.search.methods.supernet import SuperNet, SuperNetModule
from plinio_deploy.search.schedules import exponential
from plinio_deploy.search.training import anneal, discretize, optimizers, train_epoch


class Standard(nn.Module):
    """PLiNIO's StandardSNModule as it is described: 3x3, two 3x3, 5x5 and identity on 32 channels of 64x64."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = SuperNetModule(
            [
                nn.Conv2d(32, 32, 3, padding="same"),
                nn.Sequential(nn.Conv2d(32, 32, 3, padding="same"), nn.Conv2d(32, 32, 3, padding="same")),
                nn.Conv2d(32, 32, 5, padding="same"),
                nn.Identity(),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.choice(x)  # type: ignore[no-any-return]


COSTS = {"params": cost.params, "ops": cost.ops}


def test_golden_costs_of_the_standard_module() -> None:
    nas = SuperNet(Standard(), cost=COSTS, input_shape=(32, 64, 64))
    assert float(nas.get_cost("params").detach()) == 13_344
    assert float(nas.get_cost("ops").detach()) == 54_657_024


def test_golden_icv_of_uniform_selections() -> None:
    nas = SuperNet(Standard(), input_shape=(32, 8, 8))
    assert float(nas.get_total_icv(eps=1e-3).detach()) == pytest.approx(62.5)
    before = float(nas.get_total_icv().detach())
    nas.named_choices()[0][1].alpha.data[1] = 3
    assert float(nas.get_total_icv().detach()) < before


def test_hard_selection_changes_theta_and_costs() -> None:
    nas = SuperNet(Standard(), cost=COSTS, input_shape=(32, 64, 64))
    ((_, choice),) = nas.named_choices()
    choice.alpha.data[2] = 0.3
    theta, soft = choice.theta(), [float(nas.get_cost(name).detach()) for name in COSTS]
    nas.update_softmax_options(hard=True)
    assert choice.theta().tolist() == [0, 0, 1, 0]
    assert not torch.equal(theta, choice.theta())
    hard = [float(nas.get_cost(name).detach()) for name in COSTS]
    assert hard == [25_632, 25_632 * 64 * 64]
    assert hard != soft


class Skip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


class Block(nn.Module):
    """Functional forms, a norm, and an input that is used twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x))) + x


class Net(nn.Module):
    """Every kind of branch, a nested choice, a shared choice, layers around them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = SuperNetModule([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2), Skip(), Block(8)])
        inner = SuperNetModule([nn.Conv2d(8, 8, 1), nn.Identity()])
        self.second = SuperNetModule([Zero(), nn.Sequential(inner, nn.BatchNorm2d(8), nn.ReLU()), Block(8), inner])
        self.shared = SuperNetModule(
            [nn.Hardswish(), nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.GELU())]
        )
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(self.stem(x)))
        x = self.norm(self.shared(self.shared(x)))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def searched(model: nn.Module | None = None, seed: int = 0, **options: Any) -> SuperNet:
    torch.manual_seed(seed)
    nas = SuperNet(model or Net(), cost=options.pop("cost", COSTS), input_shape=(3, 8, 8), **options)
    for _, choice in nas.named_choices():
        choice.alpha.data.normal_()
    for module in nas.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return nas


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("options", [{}, {"hard": True}, {"gumbel": True}, {"single_path": True}])
def test_eval_is_the_exported_network(seed: int, options: dict[str, bool]) -> None:
    """PLiNIO runs the soft mixture in eval mode: 2.26 away from what it exports."""
    nas = searched(seed=seed)
    nas.update_softmax_options(**options)
    exported = nas.eval().export()
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(nas(x), exported(x))
    assert not [module for module in exported.modules() if isinstance(module, SuperNetModule)]
    assert not exported.training


def test_eval_cost_is_that_of_the_exported_network() -> None:
    for seed in range(6):
        nas = searched(seed=seed, full_cost=True).eval()
        plain = SuperNet(Wrapped(nas.export()), cost=COSTS, input_shape=(3, 8, 8), full_cost=True)
        for name in COSTS:
            assert float(nas.get_cost(name).detach()) == float(plain.get_cost(name).detach())


class Wrapped(nn.Module):
    """Any network, with a choice that costs nothing, so that a SuperNet takes it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.choice = SuperNetModule([nn.Identity()])
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.choice(x))  # type: ignore[no-any-return]


def test_export_shares_nothing_and_keeps_training_mode() -> None:
    nas = searched()
    exported = nas.export()
    assert exported.training
    own = {id(tensor) for tensor in (*nas.parameters(), *nas.buffers())}
    assert not own & {id(tensor) for tensor in (*exported.parameters(), *exported.buffers())}
    x = torch.randn(2, 3, 8, 8)
    before = exported.eval()(x)
    with torch.no_grad():
        for parameter in nas.parameters():
            parameter.add_(1)
    assert torch.equal(exported(x), before)


def test_a_single_layer_takes_the_place_of_its_choice() -> None:
    nas = SuperNet(Standard(), input_shape=(32, 8, 8))
    ((_, choice),) = nas.named_choices()
    for best, kind in ((0, nn.Conv2d), (2, nn.Conv2d), (3, nn.Identity)):
        choice.alpha.data.zero_()[best] = 1
        assert type(nas.export().get_submodule("choice")) is kind


def test_the_model_of_the_caller_is_not_touched() -> None:
    model = Net().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kinds = [(name, type(module)) for name, module in model.named_modules()]
    nas = SuperNet(model, input_shape=(3, 8, 8))
    assert not nas.training
    nas.train()(torch.randn(4, 3, 8, 8)).sum().backward()
    nas.update_softmax_options(temperature=3, hard=True)
    assert [(name, type(module)) for name, module in model.named_modules()] == kinds
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert not model.first.single_path
    assert float(model.first.temperature) == 1
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nested_costs_weigh_with_the_product_of_the_thetas() -> None:
    inner = SuperNetModule([nn.Conv2d(8, 8, 1, bias=False), nn.Identity()])
    model = nn.Sequential(SuperNetModule([inner, nn.Conv2d(8, 8, 3, padding=1, bias=False)]))
    nas = SuperNet(model, cost=cost.params, input_shape=(8, 4, 4))
    choices = [choice for _, choice in nas.named_choices()]
    assert len(choices) == 2
    for choice in choices:
        choice.alpha.data.normal_()
    outer, within = (choice.theta().detach() for choice in choices)
    expected = outer[0] * within[0] * 64 + outer[1] * 576
    assert float(nas.cost.detach()) == pytest.approx(float(expected))


def test_full_cost_adds_the_layers_outside() -> None:
    part, whole = searched(full_cost=False), searched(full_cost=True)
    outside = 8 * (3 * 9 + 1) + 4 * 9
    difference = whole.get_cost("params") - part.get_cost("params")
    assert float(difference.detach()) == pytest.approx(outside)


def test_cost_is_computed_anew_and_may_go_backward_twice() -> None:
    """PLiNIO's is that of the last forward, and its graph is gone after one backward."""
    nas = SuperNet(Standard(), input_shape=(32, 8, 8))
    ((_, choice),) = nas.named_choices()
    first = nas.cost
    torch.autograd.backward(first)
    torch.autograd.backward(nas.cost)
    assert choice.alpha.grad is not None
    choice.alpha.data[2] = 5
    assert float(nas.cost.detach()) > float(first.detach())
    nas.cost_specification = {"ops": cost.ops}
    assert float(nas.get_cost("ops").detach()) == pytest.approx(float((first * 0 + nas.get_cost("ops")).detach()))


def test_pure_cost_descent_chooses_the_cheapest_branches() -> None:
    for options in ({}, {"gumbel": True}, {"hard": True}, {"single_path": True}):
        nas = searched()
        nas.update_softmax_options(**options)
        nas.train_nas_only()
        weights = [p.detach().clone() for p in nas.net_parameters()]
        optimizer = torch.optim.Adam(nas.nas_parameters(), lr=0.1)
        for _ in range(150):
            optimizer.zero_grad()
            torch.autograd.backward(nas.get_cost("params") / 100)
            optimizer.step()
        assert float(nas.eval().get_cost("params").detach()) == 0
        assert all(torch.equal(a, b) for a, b in zip(weights, nas.net_parameters(), strict=True))


@pytest.mark.parametrize("options", [{"gumbel": True}, {"hard": True, "gumbel": True}, {"single_path": True}])
def test_a_search_finds_the_branch_that_the_task_needs(options: dict[str, bool]) -> None:
    """The task is a 3x3 filter: the pointwise branch cannot do it, the 5x5 costs more.

    The plain mixture is not among the options: it makes up for a small theta with large weights, and ends elsewhere.
    """
    torch.manual_seed(0)
    teacher = nn.Conv2d(2, 4, 3, padding=1)
    choice = SuperNetModule([nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 5, padding=2)])
    nas = SuperNet(nn.Sequential(choice, nn.BatchNorm2d(4)), cost={"ops": cost.ops}, input_shape=(2, 8, 8))
    nas.update_softmax_options(**options)
    both = optimizers(nas, net_lr=2e-2, nas_lr=5e-2)

    def batches() -> list[tuple[Tensor, Tensor]]:
        xs = [torch.randn(16, 2, 8, 8) for _ in range(20)]
        return [(x, F.batch_norm(teacher(x).detach(), None, None, training=True)) for x in xs]

    initial = float(nas.get_cost("ops").detach())
    nas.train_net_only()
    train_epoch(nas, batches(), F.mse_loss, both.net)
    nas.train_net_and_nas()
    for epoch in range(12):
        anneal(nas, exponential(1.0, 0.2), epoch, 12)
        train_epoch(nas, batches(), F.mse_loss, both, regularizer=lambda m, *_: 0.1 * m.get_cost("ops") / initial)
    ((_, found),) = nas.named_choices()
    assert found.best_index == 1
    discretize(nas)
    first = train_epoch(nas, batches(), F.mse_loss, both.net)
    last = [train_epoch(nas, batches(), F.mse_loss, both.net) for _ in range(3)][-1]
    assert last <= first
    assert last < 0.05
    x = torch.randn(4, 2, 8, 8)
    nas.eval()
    assert torch.equal(nas.export()(x), nas(x))


def test_peak_ram_flows_to_the_selections() -> None:
    nas = searched(cost={"ram": cost.peak_ram}, full_cost=True)
    torch.autograd.backward(nas.get_cost("ram"))
    grads = [choice.alpha.grad for _, choice in nas.named_choices()]
    assert all(grad is not None for grad in grads)


def test_train_switches() -> None:
    nas = searched()

    def selected() -> list[bool]:
        return [choice.alpha.requires_grad for _, choice in nas.named_choices()]

    assert len(list(nas.nas_parameters())) == 4
    assert not {id(p) for p in nas.nas_parameters()} & {id(p) for p in nas.net_parameters()}
    nas.train_net_only()
    assert not any(selected())
    nas.train_nas_only()
    assert all(selected())
    assert not any(p.requires_grad for p in nas.net_parameters())
    nas.train_net_and_nas()
    assert all(p.requires_grad for p in nas.parameters())
    nas.train_selection = False
    nas.train_nas_only()
    assert not any(selected())  # what the user froze stays frozen


def test_summary_names_module_paths_and_weights() -> None:
    nas = searched()
    summary = nas.summary()
    assert list(summary)[:2] == ["first", "second"]
    weights = [branch["alpha"] for branch in summary["first"]["supernet_branches"].values()]
    assert sum(weights) == pytest.approx(1)
    assert list(summary["first"]["supernet_branches"]) == ["branch_0", "branch_1", "branch_2", "branch_3"]
    assert "first" in str(nas)


@pytest.mark.parametrize("options", [{}, {"single_path": True}])
def test_copies_pickles_and_state_dicts(options: dict[str, bool]) -> None:
    nas = searched()
    nas.update_softmax_options(temperature=0.5, **options)
    x = torch.randn(2, 3, 8, 8)
    nas(x)
    buffer = io.BytesIO()
    torch.save(nas, buffer)
    buffer.seek(0)
    loaded = searched(seed=5)
    loaded.update_softmax_options(**options)
    loaded.load_state_dict(nas.state_dict())
    for other in (copy.deepcopy(nas), torch.load(buffer, weights_only=False), loaded):
        torch.manual_seed(9)
        expected = nas(x)
        torch.manual_seed(9)
        assert torch.equal(other(x), expected)
        assert torch.equal(other.get_cost("ops"), nas.get_cost("ops"))
        assert torch.equal(other.eval().export()(x), other(x))


def test_mixed_precision_trains() -> None:
    nas = searched()
    both = optimizers(nas)
    data = [(torch.randn(8, 3, 8, 8), torch.randint(0, 4, (8,))) for _ in range(2)]
    before = [p.detach().clone() for p in nas.nas_parameters()]
    train_epoch(
        nas,
        data,
        F.cross_entropy,
        both,
        autocast=torch.bfloat16,
        regularizer=lambda m, *_: m.get_cost("ops") * 1e-6,
    )
    assert not any(torch.equal(a, b) for a, b in zip(before, nas.nas_parameters(), strict=True))


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="nothing to choose"):
        SuperNet(nn.Sequential(nn.Conv2d(3, 4, 3)), input_shape=(3, 8, 8))
    unequal = nn.Sequential(nn.Identity(), SuperNetModule([nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 1)]))
    with pytest.raises(UnsupportedModel, match="one shape"):
        SuperNet(unequal, input_shape=(3, 8, 8))
    with pytest.raises(UsageError):
        SuperNet(Standard())
