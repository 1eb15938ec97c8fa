# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.regularizers import BaseRegularizer
from plinio_deploy.search.schedules import exponential
from plinio_deploy.search.training import anneal, discretize, fine_tune, optimizers, search, train_epoch, warm_up
from tests.search.toy import Toy


def batches(n: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(8, 2, generator=generator) for _ in range(n)]
    return [(x, x.flip(1)) for x in inputs]


def test_the_optimizers_share_the_parameters_out() -> None:
    model = Toy()
    both = optimizers(model, net_lr=0.1, nas_lr=0.2)
    assert both.nas is not None
    held = [{id(p) for group in each.param_groups for p in group["params"]} for each in (both.net, both.nas)]
    assert held[0] == {id(p) for p in model.net_parameters()}
    assert held[1] == {id(p) for p in model.nas_parameters()}
    assert [each.param_groups[0]["lr"] for each in both] == [0.1, 0.2]
    assert both.nas.param_groups[0]["weight_decay"] == 0


def test_an_epoch_trains_weights_and_selections() -> None:
    torch.manual_seed(0)
    model = Toy()
    both = optimizers(model, net_lr=0.05)
    first = train_epoch(model, batches(), F.mse_loss, both, regularizer=BaseRegularizer("size", 1e-3))
    regularizer = BaseRegularizer("size", 1e-3)
    losses = [train_epoch(model, batches(), F.mse_loss, both, regularizer=regularizer) for _ in range(20)]
    assert losses[-1] < 0.5 * first
    assert float(model.get_cost("size").detach()) < float(Toy().get_cost("size").detach())


def test_warm_up_leaves_the_selections_alone_and_frees_them_again() -> None:
    torch.manual_seed(0)
    model = Toy()
    before = [p.detach().clone() for p in model.nas_parameters()]
    losses = warm_up(model, batches(), F.mse_loss, optimizers(model, net_lr=0.05), epochs=5)
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, model.nas_parameters(), strict=True))
    assert all(p.requires_grad for p in model.nas_parameters())


def test_the_usual_course_lowers_loss_and_cost() -> None:
    torch.manual_seed(0)
    model = Toy()
    both = optimizers(model, net_lr=0.05, nas_lr=0.05)
    price = BaseRegularizer("size", 0.3, relative=True)
    losses = warm_up(model, batches(), F.mse_loss, both, 5)
    losses += search(
        model,
        batches(),
        F.mse_loss,
        both,
        20,
        regularizer=price,
        temperature=exponential(2, 0.1),
        autocast=torch.bfloat16,
    )
    assert [float(choice.temperature) for choice in model.selections] == pytest.approx([0.1, 0.1])
    discretize(model)
    losses += fine_tune(model, batches(), F.mse_loss, both.net, 10)
    assert len(losses) == 35
    assert losses[-1] < 0.2 * losses[0]
    assert float(model.eval().get_cost("size").detach()) < 0.7 * float(Toy().get_cost("size").detach())


def test_the_regularizer_hears_of_the_epoch() -> None:
    heard = []

    def regularizer(model: Any, epoch: int, n_epochs: int) -> Tensor:
        heard.append((epoch, n_epochs))
        return torch.zeros(())

    model = Toy()
    train_epoch(model, batches(1), F.mse_loss, optimizers(model), regularizer=regularizer, epoch=4, n_epochs=9)
    assert heard == [(5, 9)]


def test_anneal_sets_every_temperature() -> None:
    model = Toy()
    assert anneal(model, exponential(4, 1), 1, 3) == pytest.approx(2)
    assert [float(choice.temperature) for choice in model.selections] == [2, 2]


def test_discretize_trains_what_is_exported() -> None:
    torch.manual_seed(0)
    model = Toy()
    for choice in model.selections:
        choice.update_softmax_options(single_path=True)
        choice.alpha.data[1] = 2
    discretize(model)
    model.train()
    x = torch.randn(3, 2)
    expected = model.selections[1].branches[1](model.selections[0].branches[1](x))
    assert torch.equal(model(x), expected)
    other = model.selections[0].branches[0]
    before = [p.detach().clone() for p in other.parameters()]
    both = optimizers(model, net_lr=0.05)
    losses = [train_epoch(model, batches(), F.mse_loss, both) for _ in range(10)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))


def test_optimizers_go_on_where_others_stopped() -> None:
    torch.manual_seed(0)
    first, second = Toy(), Toy()
    ours, theirs = optimizers(first), optimizers(second)
    train_epoch(first, batches(), F.mse_loss, ours)
    second.load_state_dict(first.state_dict())
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    a = train_epoch(first, batches(), F.mse_loss, ours)
    b = train_epoch(second, batches(), F.mse_loss, theirs)
    assert a == b
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))


def test_mixed_precision_keeps_the_cost_in_single_precision() -> None:
    torch.manual_seed(0)
    model = Toy()
    seen = []

    def regularizer(model: Toy, *_: int) -> Tensor:
        cost = model.get_cost("time")
        seen.append(cost.dtype)
        return cost * 1e-9

    both = optimizers(model, net_lr=0.05)
    losses = [
        train_epoch(model, batches(), F.mse_loss, both, regularizer=regularizer, autocast=torch.bfloat16)
        for _ in range(10)
    ]
    assert losses[-1] < losses[0]
    assert set(seen) == {torch.float32}


def test_a_gradient_scaler_steps_both_optimizers() -> None:
    torch.manual_seed(0)
    model = Toy()
    both = optimizers(model, net_lr=0.05)
    scaler = torch.amp.GradScaler("cpu")
    before = [p.detach().clone() for p in model.nas_parameters()]
    losses = [
        train_epoch(model, batches(), F.mse_loss, both, scaler=scaler, regularizer=BaseRegularizer("size", 1e-3))
        for _ in range(10)
    ]
    assert losses[-1] < losses[0]
    assert not any(torch.equal(a, b) for a, b in zip(before, model.nas_parameters(), strict=True))


def test_a_plain_module_trains_too() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = [train_epoch(model, batches(), F.mse_loss, optimizer) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_no_data_and_a_broken_loss_are_refused() -> None:
    model = Toy()
    with pytest.raises(UsageError, match="no batch"):
        train_epoch(model, [], F.mse_loss, optimizers(model))
    with pytest.raises(UsageError, match="not finite"):
        train_epoch(model, [(torch.full((1, 2), float("nan")), torch.zeros(1, 2))], F.mse_loss, optimizers(model))
