# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of PIT: random values everywhere, and the comparison of searched and exported networks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.pit.masks import FeatureMask, TapMask

RELATIVE = 1e-5


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with all weights, norms and statistics away from their defaults, so that nothing cancels by luck."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if not value.is_floating_point() or name in {"alpha", "temperature"}:
                    continue
                noise = torch.rand(value.shape, generator=generator)
                if name == "running_var" or (name == "weight" and value.dim() == 1):
                    value.copy_(0.5 + noise)
                elif value.dim() == 1:
                    value.copy_(noise - 0.5)
    return model


def randomize_masks(searched: PIT, seed: int = 0, living: float = 0.5) -> None:
    """Random masks: each channel lives with this probability; taps are drawn too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in searched.modules():
            if isinstance(module, FeatureMask):
                module.alpha.copy_((torch.rand(module.alpha.shape, generator=generator) < living).float())
            elif isinstance(module, TapMask):
                module.parameter.copy_(torch.rand(module.parameter.shape, generator=generator))


def difference(left: Any, right: Any) -> float:
    """Largest difference relative to the largest value."""
    if isinstance(left, Tensor):
        assert left.shape == right.shape
        return float((left - right).abs().max() / left.abs().max().clamp(min=1e-9))
    return max(difference(a, b) for a, b in zip(left, right, strict=True))


def call(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    with torch.no_grad():
        return model(*inputs)


def equivalent(model: nn.Module, *shapes: tuple[int, ...], seed: int = 0, living: float = 0.5, **options: Any) -> PIT:
    """A searched model, checked: same before masks, equal to its export with random ones, user's model untouched."""
    shaken(model, seed)
    model.eval()
    torch.manual_seed(seed)
    dtype = next(model.parameters()).dtype
    example = tuple(torch.randn(1, *shape, dtype=dtype) for shape in shapes)
    inputs = tuple(torch.randn(3, *shape, dtype=dtype) for shape in shapes)
    before = copy.deepcopy(model.state_dict())
    want = call(model, inputs)
    searched = PIT(model, input_example=example, **options)
    assert difference(want, call(searched, inputs)) < RELATIVE
    randomize_masks(searched, seed, living)
    exported = searched.export(check=False)
    assert difference(call(searched, inputs), call(exported, inputs)) < RELATIVE
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert difference(want, call(model, inputs)) == 0
    return searched
