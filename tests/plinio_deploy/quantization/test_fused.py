# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plinio_deploy.quantization import fused
from plinio_deploy.quantization.fused import mix_channels, mix_tensor, quantize_tensor

BITS = (2, 4, 8)
SIGNED = tuple((-(2.0 ** (b - 1)), 2.0 ** (b - 1) - 1) for b in BITS)
UNSIGNED = tuple((0.0, 2.0**b - 1) for b in BITS)


def test_rounding_is_half_to_even() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantize_tensor(x, torch.tensor(1.0), (-8, 7)).tolist() == [0, 2, 2, 0, -2]


def test_gradients_are_those_of_learned_steps() -> None:
    x = torch.tensor([-9.0, -1.2, 0.3, 2.0, 30.0], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    quantize_tensor(x, scale, (-4, 3)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert scale.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    slopes = -4 + (-1 + 1.2) + (0 - 0.3) + 0 + 3
    assert float(scale.grad) == pytest.approx(slopes / math.sqrt(5 * 3), rel=1e-5)


def test_a_relu_passes_no_gradient_below_zero() -> None:
    x = torch.tensor([-0.3, 0.3, 3.4, 3.6], requires_grad=True)
    quantize_tensor(x, torch.tensor(1.0), (0, 3)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def by_hand(x: Tensor, scale: Tensor, theta: Tensor, low: float, high: float, elements: int) -> Tensor:
    """One precision out of ordinary operators whose gradients are the ones wanted."""
    ratio = x / scale
    codes = torch.clamp(torch.round(ratio), low, high).detach()
    inside = (ratio > (0.0 if low == 0 else low - 0.5)) & (ratio < high + 0.5)
    through = torch.where(inside, x / scale.detach(), 0.0)
    gain = fused.step_gain(elements, high)
    step = scale * gain + (scale - scale * gain).detach()
    # d/dscale: codes, minus ratio inside; d/dx: 1 inside; value: codes * scale.
    straight = (through - through.detach()) * scale.detach()
    pull = torch.where(inside, ratio.detach() * (step - step.detach()), 0.0)
    return theta * (codes * step + straight - pull)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.sampled_from([(7, 3, 5, 2), (40,), (3, 50)]))
def test_a_mixture_is_the_sum_of_its_precisions(seed: int, signed: bool, whole: bool, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    bounds = SIGNED if signed else UNSIGNED
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    scales = (torch.rand(3, generator=generator, dtype=torch.float64) + 0.05).requires_grad_()
    theta = torch.softmax(torch.randn(3, generator=generator, dtype=torch.float64), 0).requires_grad_()
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    expected = sum(by_hand(x, scales[p], theta[p], *bounds[p], x.numel()) for p in range(3))
    assert isinstance(expected, Tensor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "PIECE", 16)
        if whole:
            patch.setattr(fused, "_in_pieces", lambda x: False)
        found = mix_tensor(x, scales, theta, bounds)
        torch.testing.assert_close(found, expected)
        wanted = torch.autograd.grad((expected * weight).sum(), (x, scales, theta))
        got = torch.autograd.grad((found * weight).sum(), (x, scales, theta))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(4, 3, 3, 3), (4, 7)]))
def test_channels_are_mixed_each_by_itself(seed: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    scales = (torch.rand(3, 4, generator=generator, dtype=torch.float64) + 0.05).requires_grad_()
    theta = torch.softmax(torch.randn(3, 4, generator=generator, dtype=torch.float64), 0).requires_grad_()
    low = torch.tensor([b[0] for b in SIGNED], dtype=torch.float64).unsqueeze(1).expand(3, 4)
    high = torch.tensor([b[1] for b in SIGNED], dtype=torch.float64).unsqueeze(1).expand(3, 4)
    rows = []
    for c in range(4):
        parts = [by_hand(weight[c], scales[p, c], theta[p, c], *SIGNED[p], weight[c].numel()) for p in range(3)]
        rows.append(torch.stack(parts).sum(0))
    expected = torch.stack(rows)
    found = mix_channels(weight, scales, theta, low, high)
    torch.testing.assert_close(found, expected)
    out = torch.randn(shape, generator=generator, dtype=torch.float64)
    wanted = torch.autograd.grad((expected * out).sum(), (weight, scales, theta))
    got = torch.autograd.grad((found * out).sum(), (weight, scales, theta))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_only_the_input_is_kept() -> None:
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    x = torch.randn(5, 8, 9, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        mix_tensor(x, torch.rand(3) + 0.1, torch.full((3,), 1 / 3), UNSIGNED)
    assert sum(kept) == x.numel() + 6


def test_layout_of_memory_does_not_matter() -> None:
    x = torch.randn(2, 3, 4, 5)
    scale = torch.tensor(0.1)
    expected = quantize_tensor(x, scale, (-8, 7))
    for other in (x.to(memory_format=torch.channels_last), x.transpose(1, 3).contiguous().transpose(1, 3)):
        own = other.detach().requires_grad_()
        found = quantize_tensor(own, scale, (-8, 7))
        assert torch.equal(found, expected)
        (found * x).sum().backward()  # type: ignore[no-untyped-call]
        inside = (x / 0.1).round().clamp(-8, 7) == (x / 0.1).round()
        assert own.grad is not None
        torch.testing.assert_close(own.grad, x * inside)


def test_low_precision_inputs_are_computed_wide() -> None:
    x = torch.randn(4, 100).bfloat16()
    assert quantize_tensor(x, torch.tensor(0.01), (-128, 127)).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # torch._dynamo does
def test_the_plain_form_compiles_without_a_break() -> None:
    graphs: list[int] = []

    def count(module: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(1)
        return module

    x = torch.randn(4, 9, requires_grad=True)
    theta = torch.full((3,), 1 / 3)
    compiled = torch.compile(mix_tensor, backend=count, fullgraph=True)
    scales = torch.tensor([0.5, 0.1, 0.01])
    torch.testing.assert_close(compiled(x, scales, theta, UNSIGNED), mix_tensor(x, scales, theta, UNSIGNED))
    assert graphs == [1]
