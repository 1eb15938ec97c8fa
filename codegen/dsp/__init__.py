# SPDX-License-Identifier: Apache-2.0
"""Convolutions and matrix products with the DSP extension (Cortex-M4, M7, M33): two 16-bit products at a time.

In the order in which a layer passes through::

    columns    the patch under a kernel as words of two 16-bit codes: which product is where
    blocks     four output channels at a time: weights packed so that few instructions unpack them, scaled accumulators
    assembly   the micro-kernels as text: two pixels by four channels, one pixel by four channels
    narrow     constants of matrix products whose channels share a multiplier
    chain      what they do where three accumulators hold four channels
    widening   the micro-kernel that makes the patch of codes of the input

Winograd's method (`winograd`, `winograd_assembly`) has patches and micro-kernels of its own.

How products are packed. ``SMLAD`` multiplies two pairs of 16-bit halves and adds both products to an accumulator. Half
of a weight word holds several channels at once, ``c0 + 256 * c1`` for 8-bit weights, and is multiplied as it is: the
accumulator gets ``A0 + 256 * A1``. A second accumulator gets ``A0`` alone, after one instruction that removes the upper
channel; the difference is ``256 * A1``, exactly, as long as ``A1`` fits 24 bits, which is proven from the weights.
Packed that way, n channels in a half cost n - 1 instructions to unpack instead of n, and none needs a register besides
the word itself. What is left of the scale is taken away after the multiplication of the requantization, where it is
free: ``floor(floor(x / 2^32) / 2^s) == floor(x / 2^(32 + s))``.

Codes of activations are widened as unsigned ones, ``code - least code``; biases make up for it. Weights of fewer than 8
bits are packed as unsigned digits, ``w + 2^(bits - 1)``, which adds ``2^(bits - 1)`` times the sum of the patch to each
channel; the accumulators start lower by as much. `chain` says where the top channel of a half needs no such digit.
"""
