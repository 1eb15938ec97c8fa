# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters, operations, bits, cycles, energy, RAM and flash, all differentiable."""
