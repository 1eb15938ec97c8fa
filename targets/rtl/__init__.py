# SPDX-License-Identifier: Apache-2.0
"""Cycle-exact models of cores: RTL from Python packages, compiled by Verilator with the test bench of firmware/rtl.

`cores` says which files make a core, `simulator` finds Verilator, `model` makes an executable of both and keeps it.
"""
