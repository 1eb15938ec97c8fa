# SPDX-License-Identifier: Apache-2.0
"""Checks that `make check` runs, and the setup script behind every target of the Makefile."""
