# SPDX-License-Identifier: Apache-2.0
"""What a plain module runs, by running it: a `NetworkUse` that no search method had a hand in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy.search.cost import LayerUse, NetworkUse

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def record(model: nn.Module, shape: tuple[int, ...], **extra: Any) -> NetworkUse:
    """All calls of layers with weights, for one input of ``shape`` (batch included); ``extra`` goes into each spec."""
    found: list[LayerUse] = []
    ids = {id(module): index for index, module in enumerate(model.modules(), start=1)}
    names = {id(module): name for name, module in model.named_modules()}

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        spec = {**vars(module), "input_shape": tuple(args[0].shape), "output_shape": tuple(output.shape), **extra}
        found.append(LayerUse(names[id(module)], type(module), spec, module_id=ids[id(module)]))

    hooks = [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, WEIGHTED)]
    with torch.no_grad():
        model.eval()(torch.zeros(shape))
    for handle in hooks:
        handle.remove()
    return NetworkUse(tuple(found))


def gradients(total: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Of one number, with respect to each input."""
    return list(torch.autograd.grad(total, inputs))
