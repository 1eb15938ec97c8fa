# SPDX-License-Identifier: Apache-2.0
"""The command line: one module per verb; `main` turns errors into messages and exit codes."""

from __future__ import annotations

from plinio_deploy.cli.entry import main

__all__ = ["main"]
