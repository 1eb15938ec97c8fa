# SPDX-License-Identifier: Apache-2.0
"""Firmware sources as package data: bench, runtime, ports, QEMU plugin. C and assembly only; no Python code."""
