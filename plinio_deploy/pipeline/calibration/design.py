# SPDX-License-Identifier: Apache-2.0
"""Which layers are measured: a few hundred that cover what networks are made of, the same ones every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import permutations

from plinio_deploy.pipeline.calibration.draw import ODD, ROUND, Draw
from plinio_deploy.pipeline.calibration.micro import Spec, scattered

MACS = (1500, 500_000)
"""Least and most multiply-accumulates of a layer."""

TYPICAL = 40_000
"""Above this many, layers are drawn more seldom, by the ratio: large ones are needed, but take long."""

WIDTHS = ((8, 8), (4, 8), (2, 8), (8, 4), (4, 4), (2, 4), (8, 2), (4, 2), (2, 2))
"""Bits of weights and of activations; the first three are what networks mostly have and get more layers."""

COUNTS: Mapping[str, tuple[int, int]] = {
    "conv": (72, 36),
    "first": (28, 0),
    "pointwise": (56, 28),
    "depthwise": (52, 28),
    "linear": (48, 28),
    "pool": (48, 56),
    "max_pool": (40, 36),
    "add": (40, 48),
    "requantize": (48, 48),
    "copy": (40, 40),
}
"""Layers for each pair of widths (of activations alone, for ops without weights): usual ones, and others."""

MIXED = {"conv": 24, "pointwise": 20, "depthwise": 16, "linear": 16}
"""Layers whose output channels have several widths, for 8-bit inputs; a third as many for 4-bit ones."""


RAGGED = 14
"""Linear layers with vectors of such lengths, for each pair of widths."""

WIDE, WIDE_MIXED = 12, 24
"""Linear layers of short vectors and many outputs, as autoencoders end: per pair of widths, and of several widths."""

NARROW, NARROW_MIXED = 8, 16
"""Linear layers of the shortest vectors, as they follow the narrowest part of an autoencoder; likewise."""

PRUNED: Mapping[int, int] = {4: 36, 8: 14}
"""Layers of any number of channels, for each op and width of activations, half of them of several widths."""

UNLIKE = 12
"""Sums of tensors of two widths, for each pair of them."""

SHIFTED: Mapping[str, tuple[int, int]] = {
    "first": (5, 16),
    "conv": (4, 10),
    "pointwise": (3, 8),
    "depthwise": (5, 12),
    "linear": (3, 8),
}
"""Layers whose sums are shifted, of each kind: for each pair of widths, and of several widths."""

AGAIN = {kind: COUNTS[kind] for kind in ("depthwise", "max_pool", "conv", "pointwise", "first")} | {"start": (40, 0)}
"""Kinds that are drawn once more: much of what they take is left to a compiler, whose code differs shape by shape. And
layers that networks start with, over many positions."""

MOVES: Mapping[str, int] = {"add": 2, "requantize": 3, "copy": 1, "pool": 3, "max_pool": 2}
"""Layers for each width of activations and number of channels, of ops without weights."""


TIED = 60
"""Layers of each kind whose channels' widths change anywhere, for 8 and for 4 bits of activations."""


LATE = {"pointwise": 24, "depthwise": 12}
"""Layers of many channels and few positions, as networks end, for 8 and for 4 bits of activations."""


def _fits(spec: Spec) -> bool:
    least, most = MACS
    if spec.op not in ("conv", "linear"):
        return 200 <= spec.macs <= 20_000
    if spec.op == "linear":
        return 200 <= spec.macs <= most
    return least <= spec.macs <= most and math.prod(spec.size) * spec.cin <= 20_000


def layers(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """The design.

    Args:
        part: a name; other names give other layers, drawn the same way.
        share: of `COUNTS`.
        typical: instead of `TYPICAL`.
    """
    return [*_uniform(part, share, typical), *_mixed(part, share, typical)]


def more(part: str, like: Spec, count: int, typical: float = TYPICAL) -> list[Spec]:
    """Further layers of the kind and widths of one, to look for those that a rare kernel executes."""
    op = _kind(like)
    draw = Draw(f"{part} more {op} {like.w_bits} {like.a_bits}")
    drawn = (_drawn(draw, op, typical) for _ in range(count))
    return [
        replace(spec, w_bits=like.w_bits, a_bits=like.a_bits, out_bits=_out_bits(draw, op, like.a_bits))
        for spec in drawn
    ]


def ragged(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Linear layers as pruning leaves them behind: vectors of any length."""
    found = []
    for w_bits, a_bits in WIDTHS:
        draw = Draw(f"{part} ragged {w_bits} {a_bits}")
        for _ in range(math.ceil(RAGGED * share)):
            spec = _drawn(draw, "ragged", typical)
            found.append(replace(spec, w_bits=(w_bits,), a_bits=a_bits, out_bits=_out_bits(draw, "linear", a_bits)))
    return found


def wide(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Linear layers of short vectors and many outputs: what each output costs beside its products is most of them."""
    return _vectors(part, "wide", (WIDE, WIDE_MIXED), share, typical)


def narrow(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Linear layers of the shortest vectors: kernels that fill them up compete with those that do not."""
    return _vectors(part, "narrow", (NARROW, NARROW_MIXED), share, typical)


def _vectors(part: str, op: str, counts: tuple[int, int], share: float, typical: float) -> list[Spec]:
    """Linear layers at every pair of widths, and of several widths."""
    found = []
    for w_bits, a_bits in (*WIDTHS, (0, 8), (0, 4)):
        draw = Draw(f"{part} {op} {w_bits} {a_bits}")
        for _ in range(math.ceil(share * (counts[0] if w_bits else counts[1] / (1 if a_bits == 8 else 3)))):
            spec = _drawn(draw, op, typical)
            bits = (w_bits,) if w_bits else draw.widths(spec.cout)
            found.append(replace(spec, w_bits=bits, a_bits=a_bits, out_bits=_out_bits(draw, "linear", a_bits)))
    return found


def pruned(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Layers as pruning and mixed precision leave them behind: rows that end within a byte, several widths."""
    found = []
    for op in MIXED:
        for a_bits, count in PRUNED.items():
            draw = Draw(f"{part} pruned {op} {a_bits}")
            for _ in range(math.ceil(count * share)):
                spec = _drawn(draw, f"pruned {op}", typical)
                w_bits = draw.widths(spec.cout) if draw.rng.random() < 0.5 else (draw.rng.choice((8, 4, 2)),)
                found.append(replace(spec, w_bits=w_bits, a_bits=a_bits, out_bits=_out_bits(draw, op, a_bits)))
    return found


def unlike(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Sums of two tensors of different widths, as mixed precision leaves them around a block."""
    found = []
    for a_bits, other_bits in permutations((8, 4, 2), 2):
        draw = Draw(f"{part} unlike {a_bits} {other_bits}")
        for _ in range(math.ceil(UNLIKE * share)):
            bits = draw.rng.choice((8, 8, a_bits, other_bits))
            found.append(replace(_drawn(draw, "add", typical), a_bits=a_bits, other_bits=other_bits, out_bits=bits))
    return found


def shifted(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Layers with great scales, as few products of few bits have them: not every kernel can compute those."""
    found = []
    for op, (alike, several) in SHIFTED.items():
        for w_bits, a_bits in (*WIDTHS, (0, 8), (0, 4)):
            draw = Draw(f"{part} shifted {op} {w_bits} {a_bits}")
            for _ in range(math.ceil(share * (alike if w_bits else several))):
                spec = _drawn(draw, op, typical)
                bits = (w_bits,) if w_bits else draw.widths(spec.cout)
                out_bits = _out_bits(draw, op, a_bits)
                found.append(replace(spec, w_bits=bits, a_bits=a_bits, out_bits=out_bits, shifted=True))
    return found


def again(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Further layers of `AGAIN`, drawn as `layers` draws them."""
    return list(_uniform(f"{part} again", share, typical, AGAIN))


def tied(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Layers whose widths change within four channels, and often."""
    found = []
    for op in ("wide", *(f"pruned {kind}" for kind in MIXED)):
        for a_bits in (8, 4):
            draw = Draw(f"{part} tied {op} {a_bits}")
            for index in range(math.ceil(TIED * share)):
                spec = _drawn(draw, op, typical)
                bits = scattered(draw.rng, spec.cout) if index % 2 else draw.few(spec.cout)
                out_bits = _out_bits(draw, op, a_bits)
                great = a_bits == 4 and index % 4 < 2  # few products of few bits
                found.append(replace(spec, w_bits=bits, a_bits=a_bits, out_bits=out_bits, shifted=great))
    return found


def late(part: str, share: float = 1.0) -> list[Spec]:
    """Layers as they are at the end of networks, most of them of several widths."""
    found = []
    for op, count in LATE.items():
        for a_bits in (8, 4):
            draw = Draw(f"{part} late {op} {a_bits}")
            for _ in range(math.ceil(count * share)):
                spec = draw.late(op)
                w_bits = draw.widths(spec.cout) if draw.rng.random() < 0.6 else (draw.rng.choice((8, 4, 2)),)
                found.append(replace(spec, w_bits=w_bits, a_bits=a_bits, out_bits=_out_bits(draw, op, a_bits)))
    return found


def mixed(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Layers of several widths."""
    return list(_mixed(part, share, typical))


def moves(part: str, share: float = 1.0, typical: float = TYPICAL) -> list[Spec]:
    """Ops without weights at every number of channels: what an element costs hangs on how rows end, in jumps."""
    found = []
    for op, count in MOVES.items():
        for a_bits in (8, 4, 2):
            for channels in sorted({*ROUND, *ODD}):
                draw = Draw(f"{part} moves {op} {a_bits} {channels}", channels)
                for index in range(math.ceil(count * share)):
                    wanted = (a_bits, *(bits for bits in (8, 4, 2) if bits != a_bits))[index]
                    out_bits = wanted if op in ("requantize", "add") else _out_bits(draw, op, a_bits)
                    found.append(replace(_drawn(draw, op, typical), a_bits=a_bits, out_bits=out_bits))
    return found


def _kind(spec: Spec) -> str:
    if spec.op != "conv":
        return spec.op
    if spec.groups > 1:
        return "depthwise"
    return "pointwise" if spec.kernel == (1, 1) else "conv"


def _uniform(part: str, share: float, typical: float, kinds: Mapping[str, tuple[int, int]] = COUNTS) -> Iterator[Spec]:
    for op, (usual, other) in kinds.items():
        weighted = op in ("conv", "first", "start", "pointwise", "depthwise", "linear")
        for index, (w_bits, a_bits) in enumerate(WIDTHS if weighted else ((8, 8), (8, 4), (8, 2))):
            count = usual if index < (3 if weighted else 1) else other
            draw = Draw(f"{part} {op} {w_bits} {a_bits}")
            for _ in range(math.ceil(count * share)):
                yield replace(
                    _drawn(draw, op, typical), w_bits=(w_bits,), a_bits=a_bits, out_bits=_out_bits(draw, op, a_bits)
                )


def _mixed(part: str, share: float, typical: float) -> Iterator[Spec]:
    for op, count in MIXED.items():
        for a_bits in (8, 4):
            draw = Draw(f"{part} {op} mixed {a_bits}")
            for _ in range(math.ceil(share * count / (1 if a_bits == 8 else 3))):
                spec = _drawn(draw, op, typical)
                w_bits = draw.widths(spec.cout)
                yield replace(spec, w_bits=w_bits, a_bits=a_bits, out_bits=_out_bits(draw, op, a_bits))


def _drawn(draw: Draw, op: str, typical: float) -> Spec:
    makers: Mapping[str, Callable[[], Spec]] = {
        "conv": draw.conv,
        "first": draw.first,
        "start": draw.start,
        "pointwise": draw.pointwise,
        "depthwise": draw.depthwise,
        "linear": draw.linear,
        "ragged": draw.ragged,
        "wide": draw.wide,
        "narrow": draw.narrow,
        **{f"pruned {kind}": partial(draw.pruned, kind) for kind in MIXED},
        "pool": draw.pool,
        "max_pool": draw.max_pool,
        "copy": draw.copy,
    }
    while True:
        spec = makers[op]() if op in makers else draw.plain(op)
        if (op == "narrow" or _fits(spec)) and draw.rng.random() * spec.macs < typical:
            return spec


def _out_bits(draw: Draw, op: str, a_bits: int) -> int:
    """Mostly the width of the input: networks seldom change it from layer to layer, but where they do it on purpose."""
    if op == "requantize":
        return draw.rng.choice((8, 4, 2))
    return draw.rng.choice((a_bits, a_bits, a_bits, a_bits, 8, 4, 2))
