# SPDX-License-Identifier: Apache-2.0
"""Recipes that ship with us, and plain training functions for any recipe."""
