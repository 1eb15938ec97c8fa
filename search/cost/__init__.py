# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters, operations, bits, cycles, energy, RAM and flash, all differentiable.

    from plinio_deploy import PIT, cost

    nas = PIT(model, cost={"size": cost.params_bit, "ram": cost.peak_ram, "cycles": cost.latency("cortex-m4")}, ...)
    loss = task_loss + 1e-6 * nas.get_cost("size")

A cost of one's own is a `CostSpec` with a formula per pattern of layers, or a `NetworkCost` with one for the network
(`plinio_deploy.search.cost.spec` explains both).
"""

from __future__ import annotations

from plinio_deploy.search.cost.diana import diana_latency
from plinio_deploy.search.cost.evaluate import (
    Choice,
    LayerUse,
    NetworkUse,
    StepUse,
    TensorUse,
    evaluate,
    layer_costs,
)
from plinio_deploy.search.cost.flash import flash, flash_with
from plinio_deploy.search.cost.gap8 import gap8_latency
from plinio_deploy.search.cost.latency import energy, latency
from plinio_deploy.search.cost.liveness import GraphOp, live_steps
from plinio_deploy.search.cost.memory import arena, peak_ram
from plinio_deploy.search.cost.mpic import mpic_energy, mpic_latency
from plinio_deploy.search.cost.ne16 import ne16_latency
from plinio_deploy.search.cost.ops import ops, ops_all, ops_bit, ops_bit_no_bias, ops_no_bias
from plinio_deploy.search.cost.params import params, params_bit, params_bit_bias, params_bit_no_bias, params_no_bias
from plinio_deploy.search.cost.spec import (
    Add,
    AddOp,
    Conv1d3,
    Conv1dDW,
    Conv1dGeneric,
    Conv2d3x3,
    Conv2dDW,
    Conv2dGeneric,
    Conv3dDW,
    Conv3dGeneric,
    ConvTranspose1dGeneric,
    ConvTranspose2dGeneric,
    ConvTranspose3dGeneric,
    Copy,
    CopyOp,
    Cost,
    CostSpec,
    LinearGeneric,
    Mul,
    MulOp,
    NetworkCost,
    Op,
    Pattern,
    Pool,
    PoolOp,
    Requantize,
    RequantizeOp,
)

__all__ = [
    "Add",
    "AddOp",
    "Choice",
    "Conv1d3",
    "Conv1dDW",
    "Conv1dGeneric",
    "Conv2d3x3",
    "Conv2dDW",
    "Conv2dGeneric",
    "Conv3dDW",
    "Conv3dGeneric",
    "ConvTranspose1dGeneric",
    "ConvTranspose2dGeneric",
    "ConvTranspose3dGeneric",
    "Copy",
    "CopyOp",
    "Cost",
    "CostSpec",
    "GraphOp",
    "LayerUse",
    "LinearGeneric",
    "Mul",
    "MulOp",
    "NetworkCost",
    "NetworkUse",
    "Op",
    "Pattern",
    "Pool",
    "PoolOp",
    "Requantize",
    "RequantizeOp",
    "StepUse",
    "TensorUse",
    "arena",
    "diana_latency",
    "energy",
    "evaluate",
    "flash",
    "flash_with",
    "gap8_latency",
    "latency",
    "layer_costs",
    "live_steps",
    "mpic_energy",
    "mpic_latency",
    "ne16_latency",
    "ops",
    "ops_all",
    "ops_bit",
    "ops_bit_no_bias",
    "ops_no_bias",
    "params",
    "params_bit",
    "params_bit_bias",
    "params_bit_no_bias",
    "params_no_bias",
    "peak_ram",
]
