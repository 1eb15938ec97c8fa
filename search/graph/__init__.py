# SPDX-License-Identifier: Apache-2.0
"""Graph passes over traced PyTorch models: tracing, shapes, channels, slicing, folding of norms."""
