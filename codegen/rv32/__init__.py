# SPDX-License-Identifier: Apache-2.0
"""Micro-kernels for RV32IM and for the PULP extension of CV32E40P: blocks, layouts of weights, assembly."""
