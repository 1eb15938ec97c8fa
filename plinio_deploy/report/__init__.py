# SPDX-License-Identifier: Apache-2.0
"""The report: `content` gathers the numbers into one JSON document, `page` draws that document as one HTML page."""

from __future__ import annotations

from plinio_deploy.report.content import collect
from plinio_deploy.report.page import render

__all__ = ["collect", "render"]
