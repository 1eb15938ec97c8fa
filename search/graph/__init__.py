# SPDX-License-Identifier: Apache-2.0
"""Graph passes over traced PyTorch models: tracing, shapes, which mask element governs which channel, slicing, BN folding."""
