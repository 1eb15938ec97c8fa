# SPDX-License-Identifier: Apache-2.0
"""Targets: what they are, which tools serve them, how firmware for them is built and run.

`schema` and `registry` describe targets, `toolchains` finds tools, `build` makes an ELF file out of generated C and the
bench firmware, `elf` reads sizes and symbols back, `runners` execute it. Steps to add a board: README.md.
"""
