# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of calibrated cost tables, without torch.

``geometry`` and ``features`` describe an op, ``nnls`` fits the form, ``attributes`` and ``residual`` correct it,
``choice`` says which kernel a layer gets, ``fitting`` makes a table, ``prediction`` prices integer networks with it.
"""
