# SPDX-License-Identifier: Apache-2.0
"""Flash: the constants of the integer network, as the generated code stores them.

Each output channel has a row of packed weights, padded to whole bytes, a 32-bit bias and a 32-bit multiplier. Every
layer has both once normalization is folded and its output requantized, whatever the float layer has. A channel of 0
bits is stored nowhere. Code is not in it: it hardly depends on what is searched; `flash_with` adds a figure for it.
"""

from __future__ import annotations

from functools import partial

from plinio_deploy.search.cost.evaluate import NetworkUse, Number, as_tensor, evaluate
from plinio_deploy.search.cost.layer import Layer, add_weighted, weight_bits
from plinio_deploy.search.cost.rounding import ceil_div, value
from plinio_deploy.search.cost.spec import CostSpec, NetworkCost, Spec

BYTES_PER_CHANNEL = 8
"""Bias and multiplier."""


def _flash(layer: Layer, spec: Spec) -> Number:
    bits = weight_bits(spec)
    if value(bits) == 0:
        return 0.0
    row = ceil_div(layer.cin_per_group * layer.taps * bits, 8)
    return layer.cout * (row + BYTES_PER_CHANNEL)


flash = add_weighted(CostSpec(shared=True, unit="byte"), _flash)
"""Bytes of weights, biases and multipliers."""


def flash_with(code_bytes: float) -> NetworkCost:
    """The same with a constant for code and tables, so that a budget for the whole image can be stated.

    Args:
        code_bytes: bytes of everything that is no weight, from the size report of an earlier build.
    """
    return NetworkCost("flash_with", partial(_with_code, code_bytes), unit="byte")


def _with_code(code_bytes: float, use: NetworkUse) -> Number:
    return evaluate(flash, use) + as_tensor(code_bytes)
