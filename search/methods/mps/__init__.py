# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: bits of each layer's or each channel's weights, and of each activation, by gradient."""

from plinio_deploy.search.methods.mps.mps import MPS
from plinio_deploy.search.methods.mps.qinfo import MPSType, get_default_qinfo

__all__ = ["MPS", "MPSType", "get_default_qinfo"]
