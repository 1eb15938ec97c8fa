# SPDX-License-Identifier: Apache-2.0
"""One spatial axis of a convolution or pooling window, as loop bounds in C.

Padding costs no test per tap: the range of taps that fall inside the input is found once per output row or column.
Where a bound does not depend on the position it is a literal, and a loop of one turn is no loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from plinio_deploy.codegen.expression import add, mul
from plinio_deploy.network import AvgPool, Conv, MaxPool, Padding, Tensor


@dataclass(frozen=True)
class Axis:
    """A window moving along one axis.

    Attributes:
        name: ``y`` or ``x``; C variables are called ``oy`` (output), ``iy`` (first tap), ``ky`` (tap).
        input: extent of the input.
        output: extent of the output.
        kernel: taps.
        stride: input elements per output element.
        before: padding in front of the input.
        dilation: input elements per tap.
    """

    name: str
    input: int
    output: int
    kernel: int
    stride: int
    before: int
    dilation: int

    @property
    def spread(self) -> int:
        """Input elements from the first tap of a window to its last, both included."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def reach(self) -> int:
        """Elements that a copy of the input needs so that no tap leaves it: the padding and all that windows visit."""
        return max((self.output - 1) * self.stride + self.spread, self.before)

    def inside(self, index: int) -> range:
        """The taps of one output element that fall inside the input."""
        first = index * self.stride - self.before
        taps = [tap for tap in range(self.kernel) if 0 <= first + tap * self.dilation < self.input]
        return range(taps[0], taps[-1] + 1) if taps else range(0)

    @property
    def ranges(self) -> set[range]:
        """The different results of `inside`."""
        return {self.inside(index) for index in range(self.output)}

    @property
    def clipped(self) -> bool:
        """Whether some tap of some output element falls into the padding."""
        return self.ranges != {range(self.kernel)}

    @property
    def varies(self) -> bool:
        """Whether the range of taps depends on the position, so that C has to find it."""
        return len(self.ranges) > 1

    @property
    def may_miss(self) -> bool:
        """Whether some output element has no tap inside at all."""
        return range(0) in self.ranges

    @property
    def index(self) -> str:
        """The output element."""
        return f"o{self.name}" if self.output > 1 else "0"

    @property
    def start(self) -> str:
        """The input element of tap 0, to be declared as ``iy``; may be negative."""
        return add(mul(self.index, self.stride), -self.before)

    @property
    def origin(self) -> str:
        """How C names the input element of tap 0."""
        return f"i{self.name}" if self.declares_origin else self.start

    @property
    def declares_origin(self) -> bool:
        """Whether `start` is worth a variable of its own."""
        return self.output > 1 and self.start != self.index

    @property
    def begin_varies(self) -> bool:
        """Whether the first tap to visit depends on the position."""
        return self.varies and (self.may_miss or len({taps.start for taps in self.ranges}) > 1)

    @property
    def end_varies(self) -> bool:
        """Whether the last tap to visit depends on the position."""
        return self.varies and (self.may_miss or len({taps.stop for taps in self.ranges}) > 1)

    @property
    def begin(self) -> str:
        """First tap to visit."""
        return f"k{self.name}_begin" if self.begin_varies else str(next(iter(self.ranges)).start)

    @property
    def end(self) -> str:
        """One past the last tap to visit."""
        return f"k{self.name}_end" if self.end_varies else str(next(iter(self.ranges)).stop)

    def _divided(self, numerator: str) -> str:
        return numerator if self.dilation == 1 else f"({add(numerator, self.dilation - 1)}) / {self.dilation}"

    @property
    def begin_formula(self) -> str:
        """C for the first tap inside: taps before the input are skipped."""
        origin = self.origin
        return f"{origin} < 0 ? {self._divided(f'-{origin}')} : 0" if self.before else "0"

    @property
    def end_formula(self) -> str:
        """C for one past the last tap inside; may lie before the first if the window misses the input."""
        room = f"{self.input} - {self.origin}"
        reach = self.dilation * (self.kernel - 1)
        return f"{room} > {reach} ? {self.kernel} : {self._divided(room)}"

    @property
    def span(self) -> str:
        """C for how many taps are visited."""
        if not self.varies:
            return str(int(self.end) - int(self.begin))
        return f"({self.end} - {self.begin})" if self.begin != "0" else self.end

    def loops(self, *, all_taps: bool) -> bool:
        """Whether the taps need a loop: not if there is just one."""
        if all_taps or not self.clipped:
            return self.kernel > 1
        return self.varies or int(self.end) - int(self.begin) != 1

    def tap(self, *, all_taps: bool) -> str:
        """How C names the tap."""
        if self.loops(all_taps=all_taps):
            return f"k{self.name}"
        return "0" if all_taps or not self.clipped else self.begin

    def position(self, *, all_taps: bool = False) -> str:
        """The input element under the tap."""
        return add(self.origin, mul(self.tap(all_taps=all_taps), self.dilation))


@dataclass(frozen=True)
class Window:
    """Both axes and the bytes per pixel, as the templates need them.

    Attributes:
        y, x: the axes.
        row_bytes: bytes of one input pixel.
        out_row_bytes: bytes of one output pixel.
        all_taps: whether padded taps are visited too (and read a row of zero points).
    """

    y: Axis
    x: Axis
    row_bytes: int
    out_row_bytes: int
    all_taps: bool

    @property
    def taps(self) -> int:
        """Taps of a whole window."""
        return self.y.kernel * self.x.kernel

    @property
    def clipped(self) -> bool:
        """Whether any tap falls into the padding."""
        return self.y.clipped or self.x.clipped

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """``(y, x)``."""
        return self.y, self.x

    @property
    def source(self) -> str:
        """Bytes from the start of the input to the pixel under the tap."""
        row = mul(self.y.position(all_taps=self.all_taps), self.x.input)
        return mul(add(row, self.x.position(all_taps=self.all_taps)), self.row_bytes)

    @property
    def target(self) -> str:
        """Bytes from the start of the output to the pixel written."""
        return mul(add(mul(self.y.index, self.x.output), self.x.index), self.out_row_bytes)

    @property
    def tap(self) -> str:
        """Number of the tap within the window, row by row."""
        return add(mul(self.y.tap(all_taps=self.all_taps), self.x.kernel), self.x.tap(all_taps=self.all_taps))

    @property
    def is_inside(self) -> str:
        """C for whether the tap lies inside the input; only axes that can leave it are tested."""
        tests = [f"(uint32_t)({axis.position(all_taps=True)}) < {axis.input}u" for axis in self.axes if axis.clipped]
        return " && ".join(tests)

    @property
    def visited(self) -> str:
        """C for how many taps of a window are inside."""
        spans = [axis.span for axis in self.axes]
        return " * ".join(span for span in spans if span != "1") or "1"


def window(op: Conv | AvgPool | MaxPool, source: Tensor, output: Tensor, *, all_taps: bool = False) -> Window:
    """The window of an op."""
    dilation = (1, 1) if isinstance(op, AvgPool) else op.dilation
    padding: Padding = op.padding
    axes = [
        Axis(name, source.shape[i], output.shape[i], op.kernel[i], op.stride[i], padding[2 * i], dilation[i])
        for i, name in enumerate("yx")
    ]
    return Window(axes[0], axes[1], source.row_bytes, output.row_bytes, all_taps)
