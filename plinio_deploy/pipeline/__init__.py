# SPDX-License-Identifier: Apache-2.0
"""The stages, one module each, and `line`, which strings them together."""
