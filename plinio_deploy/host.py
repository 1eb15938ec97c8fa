# SPDX-License-Identifier: Apache-2.0
"""Between the real world and codes: what a host does before it feeds a network and after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from plinio_deploy.network import Tensor
from plinio_deploy.packing import CodeArray


def quantize(tensor: Tensor, values: npt.NDArray[np.floating[Any]]) -> CodeArray:
    """Codes of real values: ``clamp(round_half_even(x / scale) + zero_point)``.

    Args:
        tensor: the network's input.
        values: ``(N, *tensor.shape)`` real numbers, NHWC.

    Returns:
        Codes of the same shape.
    """
    codes = np.rint(values.astype(np.float64) / tensor.scale) + tensor.zero_point
    clipped: CodeArray = np.clip(codes, tensor.qmin, tensor.qmax).astype(np.int32)
    return clipped


def dequantize(tensor: Tensor, codes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """Real values of codes: ``(q - zero_point) * scale``."""
    return (codes.astype(np.float64) - tensor.zero_point) * tensor.scale


def nchw_to_nhwc(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Bring a batch from PyTorch's order to a tensor's ``shape``.

    Args:
        values: ``(N, C, H, W)``, ``(N, C, L)`` (becomes H = 1) or ``(N, C)``.
        shape: of the network's tensor.

    Raises:
        ValueError: the values do not have that many elements per sample.
    """
    if values.ndim > 2:
        values = np.moveaxis(values, 1, -1)
    return np.ascontiguousarray(values).reshape(values.shape[0], *shape)
