# SPDX-License-Identifier: Apache-2.0
"""Counts that hold for whole layers only: what kernels do with remainders, and how often a load meets no whole word.

They jump where a channel more fills a word or starts a turn, so a search cannot follow them; it sees, instead of each,
a smooth count that it is nearly proportional to (`features.SMOOTH`), scaled so that both agree at the nearest layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

from plinio_deploy.targets.calibration.geometry import Geometry

TURN = (8, 22)
"""Least and greatest number of words per turn of the inner loops of `codegen/dsp`."""

TURN_COST = 0.25
"""What a turn costs besides, in words."""

WIDE = {8: 230_000, 4: 205_000}
"""Products per output times the span of codes, by width of weights: beyond, packed sums of random weights overflow."""

IMMEDIATE = 2047
"""Greatest offset of a load of RISC-V."""

FAR = 128
"""Least offset that a load of eight codes of the vector extension cannot hold."""

GROUP = {4: 13_000, 2: 41_000}
"""By width of weights, products with random ones that add up to 16 bits, times the span of codes."""

STEPS = 8
"""Products that `codegen/thumb` computes per turn; twice as many beside weights of fewer than 8 bits."""

_Axis = tuple[int, ...]


def _per_byte(at: Geometry) -> int:
    return 8 // at.a_bits


def _row_bytes(at: Geometry) -> int:
    """Bytes of one input position."""
    return -(-int(at.cin) * at.a_bits // 8)


def _segment(at: Geometry) -> int:
    """Bytes under one row of taps."""
    return int(at.kernel[1]) * _row_bytes(at)


def _pairs(at: Geometry) -> int:
    """Pairs of output positions; of depthwise layers in each row."""
    if at.op == "depthwise":
        return at.output[0] * -(-at.output[1] // 2)
    return -(-at.positions // 2)


def _blocks(at: Geometry) -> int:
    return -(-int(at.cout) // 4)


def halves(at: Geometry) -> int:
    """Words of two 16-bit halves that hold a patch."""
    per_byte, nbytes = _per_byte(at), _segment(at)
    return int(at.kernel[0]) * (2 * per_byte * (nbytes // 4) + per_byte * min(nbytes % 4, 2))


@lru_cache(maxsize=4096)
def turns(words: int, multiple: int) -> tuple[int, int]:
    """Words per turn and turns, as `codegen/dsp` chooses them for a patch of so many words."""
    least, greatest = TURN
    if words <= greatest:
        return -(-words // multiple) * multiple, 1
    found = ((size, -(-words // size)) for size in range(least, greatest + 1, multiple))
    return min(found, key=lambda turn: (turn[0] * turn[1] + TURN_COST * turn[1], turn[0]))


def _turns(at: Geometry) -> tuple[int, int]:
    return turns(halves(at), 4 if at.op == "linear" else 2)


def _turn_words(at: Geometry) -> float:
    size, count = _turns(at)
    return _pairs(at) * _blocks(at) * size * count


def _wide_words(at: Geometry) -> float:
    limit = WIDE.get(at.w_bits or 0, math.inf)
    return _turn_words(at) if float(at.depth) * (2**at.a_bits - 1) > limit else 0.0


def _clipped(at: Geometry) -> bool:
    return at.inside[0] * at.inside[1] < 1


def _scattered(at: Geometry) -> bool:
    """Whether patches of neighbours do not follow each other."""
    return max(int(size) for size in at.kernel) > 1 or max(at.stride) > 1 or _clipped(at)


def _starts(at: Geometry, axis: int, taps: int, reach: int) -> list[int]:
    """Input elements at which segments of ``reach`` elements start, one for each output element and each of some taps.

    Those outside the input, or with less than ``reach`` elements left in it, are taken from elsewhere.
    """
    first = (out * at.stride[axis] - at.before[axis] + tap for out in range(at.output[axis]) for tap in range(taps))
    return [start for start in first if 0 <= start <= at.source[axis] - reach]


def _remainders(starts: list[int], pitch: int) -> _Axis:
    """How many of some multiples of ``pitch`` leave 0, 1, 2 and 3 when divided by 4."""
    found = [0] * 4
    for start in starts:
        found[start * pitch % 4] += 1
    return tuple(found)


@lru_cache(maxsize=4096)
def _misaligned(at: Geometry) -> tuple[float, float]:
    """Words loaded from odd addresses, and from even ones that are no multiple of 4."""
    row = _row_bytes(at)
    if at.op == "depthwise":
        # Rows lie behind each other in a ring of bytes, padding included; per tap and four channels a word is loaded.
        channels = int(at.cout)
        wide = (at.output[1] - 1) * at.stride[1] + int(at.kernel[1])
        starts = [out * at.stride[1] + tap for out in range(at.output[1]) for tap in range(int(at.kernel[1]))]
        across, down = _remainders(starts, channels), _remainders(list(range(int(at.kernel[0]))), wide * channels)
        each = at.output[0] * -(-channels // 4)
    else:
        across = _remainders(_starts(at, 1, 1, int(at.kernel[1])), row)
        down = _remainders(_starts(at, 0, int(at.kernel[0]), 1), at.source[1] * row)
        each = _segment(at) // 4
    found = [0] * 4
    for i, some in enumerate(across):
        for j, others in enumerate(down):
            found[(i + j) % 4] += some * others * each
    return float(found[1] + found[3]), float(found[2])


@lru_cache(maxsize=4096)
def _copied(at: Geometry) -> tuple[float, float]:
    """Words and bytes that `memcpy` moves: whole words only if both addresses are multiples of 4."""
    words = loose = 0
    if at.op == "copy":
        nbytes = _row_bytes(at)
        places = [
            (row * nbytes, (row * at.operands + operand) * nbytes)
            for row in range(at.positions)
            for operand in range(at.operands)
        ]
    elif at.op == "depthwise":
        nbytes, depth = at.source[1] * int(at.cout), int(at.kernel[0])
        wide = ((at.output[1] - 1) * at.stride[1] + int(at.kernel[1])) * int(at.cout)
        places = [
            (row * nbytes, (row + at.before[0]) % depth * wide + at.before[1] * int(at.cout))
            for row in range(at.source[0])
        ]
    else:
        return 0.0, 0.0
    for source, target in places:
        aligned = source % 4 == 0 and target % 4 == 0
        words += nbytes // 4 if aligned else 0
        loose += nbytes % 4 if aligned else nbytes
    return float(words), float(loose)


@lru_cache(maxsize=4096)
def _gathered(at: Geometry) -> tuple[float, ...]:
    """The counts of `counts.GATHERED`, in their order: words are copied where both addresses and the length allow.

    Patches start at whole words. Rows that lie inside the input are copied at once, others tap by tap.
    """
    if at.op == "depthwise":
        return (0.0,) * 6
    cin, taps, whole = int(at.cin), int(at.kernel[1]), at.a_bits == 8
    again = _steps(at) * _step(at) / at.positions
    if at.kernel == (1, 1) and at.stride == (1, 1) and not _clipped(at):
        if whole and cin % 4 == 0:
            return (0.0,) * 6  # read where they lie
        return at.positions * again, 0.0, at.positions * cin * again, 0.0, 0.0, 0.0
    down, across = _starts(at, 0, int(at.kernel[0]), 1), _starts(at, 1, 1, taps)
    inside = len(_starts(at, 1, taps, 1))  # taps, of all output columns
    lone = inside - (taps * len(across) if whole else 0)
    outside = at.output[0] * int(at.kernel[0]) - len(down)
    padding = taps * at.output[1] - inside
    segments, aligned = len(down) * len(across) if whole else 0, 0
    if taps * cin % 4 == 0:
        places = _remainders(across, cin), _remainders(down, at.source[1] * cin)
        aligned = sum(places[0][left] * places[1][-left % 4] for left in range(4)) if whole else 0
    singles = len(down) * lone
    words = aligned * taps * cin // 4 + (singles * cin // 4 if whole and cin % 4 == 0 else 0)
    found = (
        segments + singles,
        words,
        segments * taps * cin + singles * cin - 4 * words,
        outside * at.output[1] + len(down) * padding,
        (outside * at.output[1] * taps + len(down) * padding) * cin,
        at.positions * (at.output[1] & (at.output[1] - 1) > 0),
    )
    return tuple(count * again for count in found)


def _deep(at: Geometry, many: int) -> float:
    """Vectors of so many products, of each pair of positions and four of channels."""
    return float(_pairs(at) * _blocks(at) * -(-int(at.depth) // many))


def _row_vectors(at: Geometry) -> float:
    """Vectors of 16 codes that rows of patches are copied by; of depthwise layers those of whole rows."""
    if at.op == "depthwise":
        return at.source[0] * float(-(-at.source[1] * int(at.cout) // 16))
    return float(at.positions * int(at.kernel[0]) * -(-int(at.kernel[1]) * int(at.cin) // 16))


def _padded(at: Geometry) -> int:
    return -(-int(at.depth) // 4) * 4


def _step(at: Geometry) -> int:
    """Positions per step of `codegen/rv32`: as many as there are registers and immediate offsets for."""
    wide = at.w_bits == 8
    count, pitch = (4, max(_padded(at), int(at.cout))) if wide else (8, int(at.cout))
    while count > 1 and (count > at.positions or (count - 1) * pitch + (8 if wide else 0) > IMMEDIATE):
        count //= 2
    return count


def _steps(at: Geometry) -> int:
    return -(-at.positions // _step(at))


def _flushes(at: Geometry) -> float:
    """How often halves of sums are taken apart, for random weights."""
    if at.w_bits is None or at.w_bits == 8:
        return 0.0
    group = max(4, GROUP[at.w_bits] // (2**at.a_bits - 1) // 4 * 4)
    return float(_steps(at) * _blocks(at) * -(-_padded(at) // group))


def _lines(at: Geometry) -> tuple[int, int]:
    """Blocks of neighbouring pixels of each output row of `codegen/rv32/depthwise`, and pixels of a block."""
    if at.op != "depthwise":
        return 0, 0
    inner, width = at.output[1] - _borders(at), int(at.kernel[1])
    size = max(1, min(4, inner))
    while size > 1 and ((size - 1) * at.stride[1] + width - 1) * int(at.cin) > IMMEDIATE:
        size -= 1
    return -(-inner // size), size


def _line_loads(at: Geometry) -> float:
    """Elements that its blocks load, for each channel anew."""
    count, size = _lines(at)
    columns = len({pixel * at.stride[1] + tap for pixel in range(size) for tap in range(int(at.kernel[1]))})
    return float(at.output[0] * count * int(at.cout) * int(at.kernel[0]) * columns)


def _line_pixels(at: Geometry) -> float:
    """Pixels of all its blocks, those that are computed twice included."""
    count, size = _lines(at)
    return float(at.output[0] * count * size)


def _eights(at: Geometry) -> float:
    """Eights of channels of all widths, of pairs of pixels, of `codegen/mve_depthwise`."""
    return float(at.share) * _pairs(at) * -(-int(at.cin) // 8) if at.op == "depthwise" else 0.0


def _far(at: Geometry) -> int:
    """Loads of a window of two pixels whose offset takes an instruction."""
    offsets = (tap + pixel * at.stride[1] for pixel in range(2) for tap in range(int(at.kernel[1])))
    return int(at.kernel[0]) * sum(offset * int(at.cin) >= FAR for offset in offsets)


def _ring_rows(at: Geometry) -> float:
    """Rows that it puts into a ring, padding included: none where rows can be read where they lie."""
    if at.op != "depthwise" or (not _clipped(at) and int(at.cin) % 8 == 0):
        return 0.0
    return float(at.share) * ((at.output[0] - 1) * at.stride[0] + int(at.kernel[0]))


def _ragged(at: Geometry, bits: int) -> float:
    """Elements written with so many bits, of layers whose rows end within a byte where they are read or written."""
    ends = any(int(at.cout) * width % 8 for width in (at.packed, at.a_bits))
    return float(int(at.cout) * at.positions * (at.packed == bits and ends))


def _borders(at: Geometry) -> int:
    """Output columns whose window does not lie inside the input."""
    reach = at.source[1] - int(at.kernel[1])
    return sum(not 0 <= out * at.stride[1] - at.before[1] <= reach for out in range(at.output[1]))


def _products(at: Geometry) -> float:
    """Products of pairs of positions and fours of channels, what `codegen/thumb` fills patches up with included."""
    steps = STEPS if at.w_bits == 8 and float(at.share) == 1 else 2 * STEPS
    return float(_pairs(at) * _blocks(at) * -(-int(at.depth) // steps) * steps)


@lru_cache(maxsize=4096)
def _patches(at: Geometry) -> tuple[float, float, float, float]:
    """Rows that its patches are copied by, turns of eight codes or of a byte, codes left over, elements in padding.

    Of an odd number of positions the first is computed twice.
    """
    if at.op == "depthwise":
        return 0.0, 0.0, 0.0, 0.0
    inside = [
        [
            sum(0 <= out * at.stride[axis] - at.before[axis] + tap < at.source[axis] for tap in range(int(taps)))
            for out in range(at.output[axis])
        ]
        for axis, taps in enumerate(at.kernel)
    ]
    rows, lengths = sum(inside[0]), [taps * int(at.cin) for taps in inside[1]]
    each = 8 if at.a_bits == 8 else _per_byte(at)
    again = 2 * _pairs(at) / at.positions if at.positions > 1 else 1.0
    padding = at.positions * int(at.kernel[0]) * _row(at) - rows * sum(lengths)
    found = (
        rows * sum(length > 0 for length in lengths),
        rows * sum(length // each for length in lengths),
        rows * sum(length % each for length in lengths),
        padding,
    )
    return found[0] * again, found[1] * again, found[2] * again, found[3] * again


def _row(at: Geometry) -> int:
    """Elements under one row of taps."""
    return int(at.kernel[1]) * int(at.cin)


EXACT: Mapping[str, Callable[[Geometry], float]] = {
    "ragged8": lambda at: _ragged(at, 8),
    "ragged4": lambda at: _ragged(at, 4),
    "ragged2": lambda at: _ragged(at, 2),
    "turns": lambda at: float(_pairs(at) * _blocks(at) * _turns(at)[1]),
    "turn_words": _turn_words,
    "wide_words": _wide_words,
    "patch_words": lambda at: at.share * _pairs(at) * halves(at),
    "odd_words": lambda at: at.share * _misaligned(at)[0],
    "even_words": lambda at: at.share * _misaligned(at)[1],
    "copied_words": lambda at: at.share * _copied(at)[0],
    "copied_bytes": lambda at: at.share * _copied(at)[1],
    "clipped_rows": lambda at: at.share * _pairs(at) * int(at.kernel[0]) * _clipped(at),
    "scattered_pairs": lambda at: at.share * _pairs(at) * _scattered(at),
    "calls": lambda at: float(_pairs(at)),
    "eight_blocks": lambda at: float(_pairs(at) * -(-int(at.cout) // 8)),
    "odd_blocks": lambda at: float(_pairs(at) * (int(at.cout) % 4 > 0)),
    "eights": lambda at: _deep(at, 8),
    "vectors": lambda at: _deep(at, 16),
    "long_vectors": lambda at: _deep(at, 32 if at.w_bits == 4 else 64),
    "eight_taps": lambda at: float(_pairs(at) * -(-int(at.cout) // 8) * int(at.kernel[0]) * int(at.kernel[1])),
    "row_vectors": lambda at: at.share * _row_vectors(at),
    "steps": lambda at: at.share * _steps(at),
    "step_words": lambda at: at.share * _steps(at) * _step(at) * _padded(at),
    "step_blocks": lambda at: float(_steps(at) * _blocks(at)),
    "step_loads": lambda at: float(_steps(at) * _blocks(at) * _step(at) * _padded(at)),
    "step_weights": lambda at: float(_steps(at) * int(at.cout) * _padded(at)),
    "step_products": lambda at: float(_steps(at) * _step(at) * int(at.cout) * _padded(at)),
    "step_codes": lambda at: float(_steps(at) * _step(at) * int(at.cout)),
    "flushes": _flushes,
    "line_calls": lambda at: at.share * at.output[0] * _lines(at)[0],
    "line_channels": lambda at: float(at.output[0] * _lines(at)[0] * int(at.cout)),
    "line_taps": lambda at: float(at.output[0] * _lines(at)[0] * int(at.cout) * int(at.kernel[0]) * int(at.kernel[1])),
    "line_loads": _line_loads,
    "line_codes": lambda at: _line_pixels(at) * int(at.cout),
    "line_products": lambda at: _line_pixels(at) * int(at.cout) * int(at.kernel[0]) * int(at.kernel[1]),
    "border_copies": lambda at: at.share * _borders(at) * at.output[0] * int(at.kernel[0]) * int(at.kernel[1]),
    "window_eights": _eights,
    "window_taps": lambda at: _eights(at) * int(at.kernel[0]) * int(at.kernel[1]),
    "far_taps": lambda at: _eights(at) * _far(at),
    "ring_rows": _ring_rows,
    "ring_vectors": lambda at: _ring_rows(at) * -(-at.source[1] * int(at.cin) // 16),
    "border_codes": lambda at: float(_borders(at) * at.output[0] * int(at.cout)),
    "border_taps": lambda at: float(_borders(at) * at.output[0] * int(at.cout) * int(at.kernel[0]) * int(at.kernel[1])),
    "padded_products": lambda at: _products(at) if at.positions > 1 else 0.0,
    "lone_products": lambda at: _products(at) if at.positions == 1 else 0.0,
    "loose_blocks": lambda at: float(_pairs(at) * _blocks(at) * (int(at.cout) % 4 > 0)),
    "patch_rows": lambda at: at.share * _patches(at)[0],
    "patch_turns": lambda at: at.share * _patches(at)[1],
    "patch_ones": lambda at: at.share * _patches(at)[2],
    "patch_fill": lambda at: at.share * _patches(at)[3],
    "gather_copies": lambda at: at.share * _gathered(at)[0],
    "gather_words": lambda at: at.share * _gathered(at)[1],
    "gather_bytes": lambda at: at.share * _gathered(at)[2],
    "gather_clears": lambda at: at.share * _gathered(at)[3],
    "gather_zeros": lambda at: at.share * _gathered(at)[4],
    "gather_places": lambda at: at.share * _gathered(at)[5],
    "mixed_macs": lambda at: float(at.cout * at.depth * at.positions * (at.share < 1)),
    "mixed_outputs": lambda at: float(at.cout * at.positions * (at.share < 1)),
    "pair_runs": lambda at: float(_pairs(at) * (at.runs - 1)),
    "digit_words": lambda at: at.share * _pairs(at) * halves(at) * (at.digits and at.op != "depthwise"),
    "digit_blocks": lambda at: float(_pairs(at) * _blocks(at) * (at.digits and at.op != "depthwise")),
}
"""Count of a layer in whole numbers, by name."""
