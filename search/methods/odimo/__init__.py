# SPDX-License-Identifier: Apache-2.0
"""Mapping of each layer's output channels onto several accelerators with data formats of their own, by gradient."""

from plinio_deploy.search.methods.odimo.diana import DIANA
from plinio_deploy.search.methods.odimo.odimo import ODiMO_MPS
from plinio_deploy.search.methods.odimo.platform import Accelerator, Platform

__all__ = ["DIANA", "Accelerator", "ODiMO_MPS", "Platform"]
