# SPDX-License-Identifier: Apache-2.0
"""Search methods: SuperNet chooses blocks, PIT channels and kernel sizes."""
