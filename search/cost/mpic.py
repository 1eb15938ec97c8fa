# SPDX-License-Identifier: Apache-2.0
"""Cycles and energy on MPIC, a RISC-V core with dot products of 2, 4 and 8 bits in any pairing.

Figures: those PLiNIO publishes (Jahier Pagliari et al., FDL 2023) after Ottavi et al., "A Mixed-Precision RISC-V
Processor for Extreme-Edge DNN Inference", ISVLSI 2020: multiply-accumulates per cycle for each pair of widths, and
milliwatts at 250 MHz.
"""

from __future__ import annotations

from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import Layer, add_weighted, input_bits, one_of, output_positions, weight_bits
from plinio_deploy.search.cost.spec import CostSpec, Spec

MACS_PER_CYCLE = {
    2: {2: 6.5, 4: 4.0, 8: 2.2},
    4: {2: 3.9, 4: 3.5, 8: 2.1},
    8: {2: 2.5, 4: 2.3, 8: 2.1},
}
"""By bits of the activations, then of the weights. A weight of 0 bits takes no time."""

CLOCK_HZ = 250e6

POWER_W = (5.30e-3 + 5.39e-3 + 5.46e-3 + 5.38e-3) / 4
"""Mean of the published power at the four homogeneous settings."""


def cycles_per_mac(activation_bits: Number, bits: Number) -> float:
    """One figure of the table.

    Raises:
        UsageError: a width is not in it.
    """
    row = MACS_PER_CYCLE[one_of("activation width", activation_bits, (2, 4, 8))]
    column = one_of("weight width", bits, (0, 2, 4, 8))
    return 1 / row[column] if column else 0.0


def _latency(layer: Layer, spec: Spec) -> Number:
    count = layer.weights * layer.positions + layer.biases * output_positions(spec)
    return count * cycles_per_mac(input_bits(spec), weight_bits(spec))


def _energy(layer: Layer, spec: Spec) -> Number:
    return _latency(layer, spec) * (POWER_W / CLOCK_HZ)


mpic_latency = add_weighted(CostSpec(shared=False, unit="cycle"), _latency)
"""Cycles."""

mpic_energy = add_weighted(CostSpec(shared=False, unit="J"), _energy)
"""Joules."""
