# SPDX-License-Identifier: Apache-2.0
"""PIT: channels, receptive field, dilation and kernel size by masks (Risso et al., DAC 2021)."""

from __future__ import annotations

from plinio_deploy.search.methods.pit.pit import PIT

__all__ = ["PIT"]
