# SPDX-License-Identifier: Apache-2.0
"""A PyTorch model in, measured firmware out, in one command."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
