# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.search.methods.supernet import SuperNetModule


def branches(channels: int = 4) -> list[nn.Module]:
    """Two linear branches, two that are not, one that is the input."""
    return [
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.Conv2d(channels, channels, 5, padding=2),
        nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()),
        nn.Sequential(nn.Conv2d(channels, channels, 1), nn.Hardswish()),
        nn.Identity(),
    ]


def supernet(**options: Any) -> SuperNetModule:
    torch.manual_seed(1)
    module = SuperNetModule(branches(), **options)
    with torch.no_grad():
        module.alpha.copy_(torch.tensor([0.3, -0.2, 0.9, 0.1, 0.5]))
    return module


def image() -> Tensor:
    return torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


def alpha_gradient(module: SuperNetModule, probe: Tensor) -> Tensor:
    module.zero_grad()
    (module(image()) * probe).sum().backward()
    assert module.alpha.grad is not None
    return module.alpha.grad.clone()


def mixture_gradient(module: SuperNetModule, probe: Tensor) -> Tensor:
    """Gradient to alpha of sum_i theta_i <probe, o_i>, by hand."""
    theta = torch.softmax(module.alpha / module.temperature, 0)
    with torch.no_grad():
        scores = torch.stack([(branch(image()) * probe).sum() for branch in module.branches])
    (gradient,) = torch.autograd.grad(theta @ scores, module.alpha)
    return gradient


def test_logits_start_uniform() -> None:
    module = SuperNetModule(branches())
    assert torch.equal(module.alpha, torch.full((5,), 1 / 5))
    assert len(module) == 5
    assert module[4] is module.branches[4]


@pytest.mark.parametrize("merged", [True, False])
def test_training_computes_the_soft_mixture(merged: bool) -> None:
    module = supernet(merge_linear=merged)
    theta = torch.softmax(module.alpha, 0)
    expected = sum((t * b(image()) for t, b in zip(theta, module.branches, strict=True)), torch.zeros(()))
    torch.testing.assert_close(module(image()), expected)
    probe = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(alpha_gradient(module, probe), mixture_gradient(module, probe), rtol=1e-4, atol=1e-4)


def test_eval_runs_the_branch_that_export_returns() -> None:
    for options in ({}, {"gumbel_softmax": True}, {"single_path": True}, {"hard_softmax": True}):
        module = supernet(**options).eval()
        exported = module.export()
        assert torch.equal(module(image()), exported(image()))
        assert torch.equal(module(image()), module.branches[2](image()))
        assert module.theta().tolist() == [0, 0, 1, 0, 0]


def test_export_shares_nothing_with_the_search() -> None:
    module = supernet().eval()
    exported = module.export()
    before = exported(image())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(exported(image()), before)


@pytest.mark.parametrize("merged", [True, False])
def test_hard_runs_one_branch_and_has_the_gradient_of_the_mixture(merged: bool) -> None:
    """PLiNIO's hard softmax without Gumbel leaves alpha.grad at None."""
    module = supernet(hard_softmax=True, merge_linear=merged)
    torch.testing.assert_close(module(image()), module.branches[2](image()))
    probe = torch.randn(2, 4, 6, 6)
    got = alpha_gradient(module, probe)
    torch.testing.assert_close(got, mixture_gradient(module, probe), rtol=1e-4, atol=1e-4)
    assert module.branches[3][0].weight.grad is None  # type: ignore[index]
    assert module.branches[2][0].weight.grad is not None  # type: ignore[index]


def test_switching_to_hard_changes_theta() -> None:
    module = supernet()
    soft = module.theta()
    module.update_softmax_options(hard=True)
    assert not torch.equal(soft, module.theta())
    assert module.theta().tolist() == [0, 0, 1, 0, 0]


def test_options_that_are_not_given_stay() -> None:
    """PLiNIO's update switches what is left out back to its default."""
    module = supernet(gumbel_softmax=True, hard_softmax=True)
    module.update_softmax_options(temperature=0.5)
    assert module.gumbel_softmax
    assert module.hard_softmax
    assert float(module.temperature) == 0.5
    module.update_softmax_options(gumbel=False)
    assert module.hard_softmax
    assert not module.gumbel_softmax


def test_gumbel_draws_anew_and_theta_is_that_of_the_last_call() -> None:
    module = supernet(gumbel_softmax=True, hard_softmax=True)
    torch.manual_seed(0)
    chosen = set()
    for _ in range(60):
        output = module(image())
        theta = module.theta()
        assert torch.equal(theta, module.theta())
        assert sorted(theta.tolist()) == [0, 0, 0, 0, 1]
        chosen.add(int(theta.argmax()))
        torch.testing.assert_close(output, module.branches[int(theta.argmax())](image()))
    assert chosen == {0, 1, 2, 3, 4}


def test_theta_may_go_backward_many_times() -> None:
    module = supernet(gumbel_softmax=True)
    module(image())
    theta = module.theta()
    for _ in range(2):
        torch.autograd.backward((module.theta() * torch.arange(5.0)).sum())
    assert theta.requires_grad


def counted(module: SuperNetModule) -> list[int]:
    counts = [0] * len(module)

    def counter(index: int) -> Any:
        def count(*_: Any) -> None:
            counts[index] += 1

        return count

    for index, branch in enumerate(module.branches):
        branch.register_forward_hook(counter(index))
    return counts


def test_single_path_runs_one_branch_per_call() -> None:
    module, pixel = supernet(single_path=True, peek=1e-12), image()[:, :, :1, :1].requires_grad_()
    counts = counted(module)
    torch.manual_seed(0)
    for _ in range(2000):
        module(pixel)
    assert sum(counts) == 2000
    expected = torch.softmax(module.alpha, 0) * 2000
    torch.testing.assert_close(torch.tensor(counts).float(), expected.detach(), rtol=0.15, atol=0)


def test_single_path_looks_at_a_second_branch_as_often_as_told() -> None:
    module, pixel = supernet(single_path=True, peek=0.25), image()[:, :, :1, :1].requires_grad_()
    counts = counted(module)
    torch.manual_seed(0)
    for _ in range(1000):
        module(pixel)
    assert 1200 < sum(counts) < 1300
    before = sum(counts)
    module.train_selection = False
    for _ in range(100):
        module(pixel)
    assert sum(counts) == before + 100


@pytest.mark.parametrize("peek", [1.0, 0.5])
def test_single_path_gradient_is_that_of_the_mixture_on_average(peek: float) -> None:
    module = supernet(single_path=True, peek=peek)
    module.update_softmax_options(temperature=0.7)
    for branch in module.branches:
        branch.eval()  # batch statistics would drift while we average
    probe = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(5))
    expected = mixture_gradient(module, probe)
    torch.manual_seed(0)
    samples = torch.stack([sample_gradient(module, probe) for _ in range(2500)])
    error = samples.std(0) / 2500**0.5
    assert bool(((samples.mean(0) - expected).abs() < 4 * error).all())
    assert bool((expected.abs() > 4 * error).any())


def sample_gradient(module: SuperNetModule, probe: Tensor) -> Tensor:
    module.zero_grad(set_to_none=True)
    (module(image()) * probe).sum().backward()
    return torch.zeros(5) if module.alpha.grad is None else module.alpha.grad.clone()


def test_single_path_with_frozen_weights_always_has_a_gradient() -> None:
    module = supernet(single_path=True, peek=1e-12)
    module.branches.requires_grad_(False)
    for _ in range(10):
        module.zero_grad(set_to_none=True)
        module(image()).sum().backward()
        assert module.alpha.grad is not None


def test_single_path_learns_through_a_following_batch_norm() -> None:
    """The gradient of the drawn output alone is orthogonal to it there: it cannot tell a good branch from a bad one."""
    torch.manual_seed(0)
    right, wrong = nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False)
    module = SuperNetModule([wrong, right], single_path=True)
    norm = nn.BatchNorm2d(4, affine=False)
    optimizer = torch.optim.SGD([module.alpha], lr=0.5)
    for _ in range(200):
        x = torch.randn(8, 4, 4, 4)
        loss = (norm(module(x)) - norm(right(x)).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert module.best_index == 1
    assert float(module.probabilities()[1].detach()) > 0.9


def test_cost_weights_of_a_single_path_are_the_probabilities() -> None:
    module = supernet(single_path=True)
    module(image())
    assert torch.equal(module.theta(), torch.softmax(module.alpha, 0))
    module.update_softmax_options(hard=True)
    assert sorted(module.theta().tolist()) == [0, 0, 0, 0, 1]


class Skip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("options", [{}, {"hard_softmax": True}, {"single_path": True, "peek": 1.0}])
def test_functional_zero_and_nested_branches_run(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    inner = SuperNetModule([nn.Conv2d(4, 4, 3, padding=1), Skip()], **options)
    module = SuperNetModule([Skip(), Zero(), inner, nn.Conv2d(4, 4, 1)], **options)
    for _ in range(20):
        module(image()).square().sum().backward()
    assert module.alpha.grad is not None
    module.eval()
    with torch.no_grad():
        module.alpha.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))
        inner.alpha.copy_(torch.tensor([0.0, 1.0]))
    assert torch.equal(module(image()), image())


def test_a_branch_may_take_several_inputs() -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    class First(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a

    a, b = torch.ones(3), torch.ones(3)
    assert SuperNetModule([Sum(), First()])(a, b).tolist() == [1.5, 1.5, 1.5]
    assert SuperNetModule([Sum(), First()])(a, b=b).tolist() == [1.5, 1.5, 1.5]


@pytest.mark.parametrize("options", [{}, {"single_path": True, "peek": 1.0}])
def test_branches_of_different_shapes_are_refused_by_name(options: dict[str, Any]) -> None:
    module = SuperNetModule([nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 1, 1)], **options)
    module.path = "body.choice"
    with pytest.raises(UnsupportedModel, match=r"body\.choice") as caught:
        module(image())
    assert "(2, 4, 6, 6)" in str(caught.value)
    assert "(2, 1, 6, 6)" in str(caught.value)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UsageError):
        SuperNetModule([])
    with pytest.raises(UsageError):
        SuperNetModule(branches(), peek=0)
    with pytest.raises(UsageError):
        supernet().update_softmax_options(temperature=0)


def test_a_layer_that_a_search_method_replaces_is_seen_at_the_next_call() -> None:
    module = supernet()
    module(image())
    original = module.branches[0]
    assert isinstance(original, nn.Conv2d)

    class Masked(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
            return super().forward(input) * 0

    masked = Masked(4, 4, 3, padding=1)
    masked.load_state_dict(original.state_dict())
    module.branches[0] = masked
    theta = module.theta()
    expected = sum((t * b(image()) for t, b in zip(theta[1:], module.branches[1:], strict=False)), torch.zeros(()))
    torch.testing.assert_close(module(image()), expected)


@pytest.mark.parametrize("options", [{}, {"gumbel_softmax": True}, {"single_path": True}])
def test_copies_pickles_and_state_dicts_are_the_same_module(options: dict[str, Any]) -> None:
    module = supernet(**options)
    module.update_softmax_options(temperature=0.25)
    module(image())
    copied = copy.deepcopy(module)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    pickled = torch.load(buffer, weights_only=False)
    loaded = SuperNetModule(branches(), **options)
    loaded.load_state_dict(module.state_dict())
    for other in (copied, pickled, loaded):
        torch.manual_seed(4)
        expected = module(image())
        torch.manual_seed(4)
        assert torch.equal(other(image()), expected)
        assert torch.equal(other.theta(), module.theta())


@pytest.mark.parametrize("options", [{}, {"hard_softmax": True}, {"single_path": True, "peek": 1.0}])
def test_autocast_trains(options: dict[str, Any]) -> None:
    module = supernet(**options)
    for _ in range(5):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = module(image()).float().square().mean()
        loss.backward()
    assert module.alpha.grad is not None
    assert bool(torch.isfinite(module.alpha.grad).all())
