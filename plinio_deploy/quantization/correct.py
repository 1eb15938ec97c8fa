# SPDX-License-Identifier: Apache-2.0
"""Bias correction: quantization moves the mean of what a layer computes; its bias can move it back.

The float and the quantized network run side by side over one batch. At each convolution or linear layer the mean
difference per channel, all that lies before it included, goes into the bias (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", ICCV 2019, the empirical variant). With few bits this is worth many
epochs of training, for batch norms, which would do it, are folded.

Where batch norms are back the network has been, or will be, trained with quantizers in, and what its weights of few
bits would compute in float says nothing: there the norms get the statistics of the batch instead, and biases behind no
norm stay as they were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from plinio_deploy.quantization.graph import Conv, Linear
from plinio_deploy.quantization.norms import renew_statistics
from plinio_deploy.quantization.parts import Walkable


def correct_biases(network: Walkable, inputs: Sequence[Tensor]) -> None:
    """Make the mean of every channel of every layer that of the float network, or of its norm, over one batch.

    Args:
        network: calibrated; biases change in place. A layer that is called twice is corrected at its first call.
        inputs: one tensor per input of the network, ``(N, ...)``; a few hundred samples are enough.
    """
    training, mode = network.training, network.mode
    network.eval()
    try:
        with torch.no_grad():
            network.mode = "quantized"
            if network.norms:
                renew_statistics(network, inputs)
                return
            network.mode = "float"
            wanted = _walk(network, inputs, None)
            network.mode = "quantized"
            _walk(network, inputs, wanted)
    finally:
        network.mode = mode
        network.train(training)


def _walk(network: Walkable, inputs: Sequence[Tensor], wanted: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Mean per channel of each layer's sums, by node; with ``wanted``, biases are corrected on the way."""
    values: dict[str, Tensor] = {}
    means: dict[str, Tensor] = {}
    for node in network.nodes:
        operands = [values[name] for name in node.inputs]
        key = network.layer_of.get(node.name)
        if isinstance(node.operator, Conv | Linear) and key is not None and key not in means:
            sums = network.before_rounding(node, operands[0])
            channel = sums.dim() - 1 if isinstance(node.operator, Linear) else 1
            means[key] = sums.mean([axis for axis in range(sums.dim()) if axis != channel])
            if wanted is not None:
                network.layers[key].get_parameter("bias").add_(wanted[key] - means[key])
        values[node.name] = network.evaluate(node, operands, inputs)
    return means
