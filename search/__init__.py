# SPDX-License-Identifier: Apache-2.0
"""Search for layer types, channels and bit widths against the cost of a target."""
