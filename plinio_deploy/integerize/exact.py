# SPDX-License-Identifier: Apache-2.0
"""The integer network in torch: for whole test sets, on any device, with exactly the interpreter's codes.

Dot products run in float64 on integer values, which is exact: the verifier proves that every partial sum stays within
int32. Requantization runs in int64. The arithmetic of TFLite's flavour, rarely needed here, is the interpreter's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from plinio_deploy import fixedpoint, interpreter
from plinio_deploy.errors import UsageError
from plinio_deploy.network import (
    Add,
    AddRescale,
    AvgPool,
    Concat,
    Conv,
    Hi32,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Padding,
    Requantize,
    Reshape,
    Tflite,
    op_inputs,
)


class ExactNetwork(nn.Module):
    """Computes an integer network's codes in torch.

    Codes are int64 tensors ``(N, *shape)``, NHWC as in the network. Weights are buffers, so ``to(device)`` moves them.

    Args:
        network: a verified network.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        for op in network.ops:
            if isinstance(op, Conv | Linear):
                self._keep(op.name, "weight", op.weights.codes.astype(np.float64))
                self._keep(op.name, "bias", op.bias.astype(np.int64))
                self._keep(op.name, "multiplier", op.requant.multiplier.astype(np.int64))

    def _keep(self, op: str, what: str, values: npt.NDArray[Any]) -> None:
        self.register_buffer(f"{op}__{what}", torch.from_numpy(np.ascontiguousarray(values)))

    def _held(self, op: str, what: str) -> Tensor:
        return self.get_buffer(f"{op}__{what}")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Codes of the outputs from codes of the inputs."""
        values = self.trace(*inputs)
        return tuple(values[name] for name in self.network.outputs)

    def trace(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Codes of every tensor by name.

        Raises:
            UsageError: wrong number or shape of inputs.
        """
        if len(inputs) != len(self.network.inputs):
            raise UsageError("wrong number of inputs", got=len(inputs), expected=len(self.network.inputs))
        values: dict[str, Tensor] = {}
        with torch.no_grad():
            for tensor, codes in zip(self.network.input_tensors(), inputs, strict=True):
                if tuple(codes.shape[1:]) != tensor.shape:
                    raise UsageError(
                        "an input has the wrong shape",
                        where=tensor.name,
                        got=tuple(codes.shape[1:]),
                        expected=tensor.shape,
                    )
                values[tensor.name] = codes.to(torch.int64)
            for op in self.network.ops:
                operands = [values[name] for name in op_inputs(op)]
                if isinstance(op, Conv | Linear):
                    values[op.output] = self._dot_product(op, operands[0])
                else:
                    values[op.output] = _OPS[type(op)](self.network, op, operands)
        return values

    def _dot_product(self, op: Conv | Linear, codes: Tensor) -> Tensor:
        weight = self._held(op.name, "weight")
        if isinstance(op, Linear):
            total = functional.linear(codes.double(), weight)
        else:
            zero_point = self.network.tensors[op.input].zero_point
            padded = _channels_first(_padded(codes, op.padding, zero_point)).double()
            kernel = weight.permute(0, 3, 1, 2)
            total = functional.conv2d(padded, kernel, None, op.stride, 0, op.dilation, op.groups)
            total = total.permute(0, 2, 3, 1)
        bias, multiplier = self._held(op.name, "bias"), self._held(op.name, "multiplier")
        return _requantize(self.network, op, torch.round(total).to(torch.int64), bias, multiplier)


def _requantize(
    network: Network, op: Conv | Linear | AvgPool | Requantize, total: Tensor, bias: Tensor, multiplier: Tensor
) -> Tensor:
    out = network.tensors[op.output]
    low, high = op.requant.clamp
    if isinstance(op.requant, Hi32):
        product = ((total << op.requant.shift) + bias) * multiplier
        return torch.clamp((product >> 32) + out.zero_point, low, high)
    codes = fixedpoint.requantize_tflite(
        (total + bias).cpu().numpy(),
        multiplier.cpu().numpy(),
        op.requant.shift.astype(np.int64),
        out.zero_point,
        low,
        high,
        double_rounding=op.requant.double_rounding,
    )
    return torch.from_numpy(codes).to(total.device)


def _scalars(op: AvgPool | Requantize, like: Tensor) -> tuple[Tensor, Tensor]:
    bias = torch.tensor(op.bias, dtype=torch.int64, device=like.device)
    return bias, torch.tensor(op.requant.multiplier.astype(np.int64), device=like.device)


def _channels_first(codes: Tensor) -> Tensor:
    return codes.permute(0, 3, 1, 2)


def _padded(codes: Tensor, padding: Padding, value: int) -> Tensor:
    top, bottom, left, right = padding
    return functional.pad(codes, (0, 0, left, right, top, bottom), value=value)


def _by_interpreter(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    codes = interpreter.run_op(network, op, [operand.cpu().numpy() for operand in operands])
    return torch.from_numpy(np.ascontiguousarray(codes)).to(operands[0].device)


def _add(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    assert isinstance(op, Add)
    if not isinstance(op.rescale, AddRescale):
        return _by_interpreter(network, op, operands)
    first, second = op.rescale.multipliers
    low, high = op.rescale.clamp
    total = operands[0] * first + operands[1] * second + op.rescale.offset
    return torch.clamp(total >> op.rescale.shift, low, high)


def _concat(_: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    assert isinstance(op, Concat)
    return torch.cat(list(operands), dim=op.axis + 1)


def _avg_pool(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    assert isinstance(op, AvgPool)
    if isinstance(op.requant, Tflite):
        return _by_interpreter(network, op, operands)
    padded = _channels_first(_padded(operands[0], op.padding, network.tensors[op.input].zero_point)).double()
    total = functional.avg_pool2d(padded, op.kernel, op.stride, divisor_override=1)
    codes = torch.round(total).to(torch.int64).permute(0, 2, 3, 1)
    return _requantize(network, op, codes, *_scalars(op, codes))


def _max_pool(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    assert isinstance(op, MaxPool)
    least = network.tensors[op.input].qmin
    padded = _channels_first(_padded(operands[0], op.padding, least)).double()
    greatest = functional.max_pool2d(padded, op.kernel, op.stride, 0, op.dilation)
    return greatest.permute(0, 2, 3, 1).to(torch.int64)


def _reshape(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    return operands[0].reshape(operands[0].shape[0], *network.tensors[op.output].shape)


def _requantize_op(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    assert isinstance(op, Requantize)
    return _requantize(network, op, operands[0], *_scalars(op, operands[0]))


def _pad(network: Network, op: Op, operands: Sequence[Tensor]) -> Tensor:
    assert isinstance(op, Pad)
    return _padded(operands[0], op.padding, network.tensors[op.input].zero_point)


_OPS: dict[type[Op], Callable[[Network, Op, Sequence[Tensor]], Tensor]] = {
    Add: _add,
    Concat: _concat,
    AvgPool: _avg_pool,
    MaxPool: _max_pool,
    Reshape: _reshape,
    Requantize: _requantize_op,
    Pad: _pad,
}
