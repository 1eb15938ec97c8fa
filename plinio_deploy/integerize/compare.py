# SPDX-License-Identifier: Apache-2.0
"""The fake-quantized network against the integer one, tensor by tensor, wherever channels were removed or moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plinio_deploy import host
from plinio_deploy.integerize.channels import IntArray
from plinio_deploy.integerize.exact import ExactNetwork
from plinio_deploy.integerize.lower import Lowered, lower
from plinio_deploy.packing import CodeArray
from plinio_deploy.quantization.network import QuantNetwork


def input_codes(lowered: Lowered, *inputs: Tensor) -> list[CodeArray]:
    """Codes of the network's inputs, ``(N, *shape)``, from real ``(N, ...)`` tensors in torch's order."""
    tensors = lowered.network.input_tensors()
    return [
        host.quantize(tensor, host.nchw_to_nhwc(x.cpu().numpy(), tensor.shape))
        for tensor, x in zip(tensors, inputs, strict=True)
    ]


def trace_codes(lowered: Lowered, *inputs: Tensor) -> dict[str, npt.NDArray[np.int64]]:
    """Codes of every tensor, by the torch executor, from real inputs."""
    codes = [torch.from_numpy(codes) for codes in input_codes(lowered, *inputs)]
    return {name: value.numpy() for name, value in ExactNetwork(lowered.network).trace(*codes).items()}


def in_torch_order(
    qnet: QuantNetwork, node: str, real: npt.NDArray[np.float64], elements: IntArray
) -> npt.NDArray[np.float64]:
    """``(N, ...)`` real numbers of a network tensor -> ``(N, *shape)`` of the node's result; what was removed is 0."""
    order = qnet.places[node].order
    flat = np.zeros((len(real), len(order)))
    flat[:, order[elements]] = real.reshape(len(real), -1)
    shape = next(item.shape for item in qnet.nodes if item.name == node)
    return flat.reshape(len(real), *shape)


def layer_differences(
    qnet: QuantNetwork,
    lowered: Lowered,
    *inputs: Tensor,
    codes: Mapping[str, npt.NDArray[Any]] | None = None,
    gradients: bool = False,
) -> dict[str, int]:
    """Greatest difference between float and integers, in codes, of every node, each from equal inputs.

    Args:
        qnet: the network in its ordinary float mode.
        lowered: what became of it.
        inputs: real ``(N, ...)`` tensors.
        codes: `trace_codes` of these, if already known.
        gradients: with gradients enabled, as in training: sums are those of float32 then.

    Returns:
        By node; reshapes and permutations, which are no tensors of the integer network, are left out.
    """
    exact = trace_codes(lowered, *inputs) if codes is None else codes
    real: dict[str, Tensor] = {}
    worst: dict[str, int] = {}
    for node in qnet.nodes:
        with torch.set_grad_enabled(gradients):
            real[node.name] = qnet.evaluate(node, [real[name] for name in node.inputs], inputs).detach()
        if node.name not in exact:
            continue
        tensor = lowered.network.tensors[node.name]
        elements = lowered.elements[node.name]
        expected = in_torch_order(qnet, node.name, host.dequantize(tensor, exact[node.name]).astype(float), elements)
        found = real[node.name].cpu().double().numpy()
        worst[node.name] = int(np.rint(np.abs(found - expected).max() / tensor.scale))
        real[node.name] = torch.from_numpy(expected.astype(np.float32)).to(real[node.name])
    return worst


def compaction_differences(qnet: QuantNetwork, lowered: Lowered, *inputs: Tensor) -> dict[str, int]:
    """Codes that differ between a network and the same with all channels in the model's order, by tensor.

    All are 0 if no channel was removed or moved that should not have been.
    """
    whole = lower(qnet, lowered.network.name, compact=False)
    left, right = (trace_codes(each, *inputs) for each in (lowered, whole))
    assert left.keys() == right.keys(), "both go by the same names"
    return {
        name: int(
            (codes.reshape(len(codes), -1) != right[name].reshape(len(codes), -1)[:, lowered.elements[name]]).sum()
        )
        for name, codes in left.items()
    }
