# SPDX-License-Identifier: Apache-2.0
"""C expressions for codes, requantization and helpers; one emitter per layer, one set of used helpers per project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plinio_deploy.codegen.expression import add
from plinio_deploy.network import Hi32, Requant, Tensor, Tflite


@dataclass
class Helpers:
    """The helper functions that a project uses, in no order; `render` writes them with those they use in turn."""

    used: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Requantizer:
    """How an accumulator starts and how it becomes a code.

    Attributes:
        start: C for its first value.
        code: C for the output code, of the variable ``acc``.
    """

    start: str
    code: str


@dataclass(frozen=True)
class Emitter:
    """Writes C for one layer.

    Attributes:
        prefix: of the project.
        symbol: of the layer; its arrays start with it.
        helpers: collects what is used.
        arrays: C names of arrays by their suffix, for those that start with another symbol.
    """

    prefix: str
    symbol: str
    helpers: Helpers
    arrays: Mapping[str, str] = field(default_factory=dict)

    def helper(self, name: str) -> str:
        """The C name of a helper (a file below ``templates/helpers``), which is then part of the project."""
        self.helpers.used.add(name)
        return f"{self.prefix}_{name}"

    def array(self, suffix: str) -> str:
        """The C name of one of the layer's arrays."""
        return self.arrays.get(suffix, f"{self.symbol}{suffix}")

    @staticmethod
    def ctype(tensor: Tensor) -> str:
        """Element type of a pointer to a tensor: ``int8_t`` for signed bytes, else raw bytes."""
        return "int8_t" if tensor.bits == 8 and tensor.signed else "uint8_t"

    def load(self, tensor: Tensor, pointer: str, index: str) -> str:
        """The code of channel ``index`` in the row of channels at ``pointer``."""
        if tensor.bits == 8:
            return f"{pointer}[{index}]"
        helper = self.helper(f"load_{'s' if tensor.signed else 'u'}{tensor.bits}")
        return f"{helper}({pointer}, {index})"

    def store(self, tensor: Tensor, pointer: str, index: str, code: str) -> str:
        """A statement that stores a code; channels of a row have to be stored in ascending order."""
        if tensor.bits == 8:
            return f"{pointer}[{index}] = ({self.ctype(tensor)}){code};"
        return f"{self.helper(f'store_{tensor.bits}')}({pointer}, {index}, {code});"

    def weight(self, ctype: str, bits: int, pointer: str, index: str) -> str:
        """The weight ``index`` of a row; ``ctype`` is the type of the whole array."""
        if ctype == "int8_t":
            return f"{pointer}[{index}]"
        return f"{self.helper(f'load_s{bits}')}({pointer}, {index})"

    def requantizer(self, requant: Requant, bias: str, multiplier: str, shift: str, output: Tensor) -> Requantizer:
        """How to requantize.

        Args:
            requant: of the op.
            bias: C for the bias of the channel.
            multiplier: C for its multiplier.
            shift: C for its shift; used by `Tflite` alone.
            output: the tensor that receives the code.
        """
        tail = f"{output.zero_point}, {requant.clamp[0]}, {requant.clamp[1]})"
        if isinstance(requant, Tflite):
            rounding = "double" if requant.double_rounding else "single"
            call = self.helper(f"requantize_{rounding}")
            return Requantizer(bias, f"{call}(acc, {multiplier}, {shift}, {tail}")
        call = self.helper("requantize")
        if requant.shift == 0:
            return Requantizer(bias, f"{call}(acc, {multiplier}, {tail}")
        shifted = f"{self.helper('shift_left')}(acc, {requant.shift})"
        return Requantizer("0", f"{call}({add(shifted, bias)}, {multiplier}, {tail}")

    def channel_requantizer(self, requant: Requant, output: Tensor, unit: int = 1) -> Requantizer:
        """`requantizer` with the layer's arrays ``_b``, ``_m`` and ``_s``, indexed by ``oc``; equal ones as a literal.

        Args:
            requant: of the op.
            output: the tensor that receives the code.
            unit: of the biases in ``_b``.
        """

        def value(suffix: str, values: list[int]) -> str:
            return str(values[0]) if len(set(values)) == 1 else f"{self.array(suffix)}[oc]"

        shifts = [] if isinstance(requant, Hi32) else requant.shift.tolist()
        shift = value("_s", shifts) if shifts else ""
        bias = f"{self.array('_b')}[oc]{f' * {unit}' if unit > 1 else ''}"
        return self.requantizer(requant, bias, value("_m", requant.multiplier.tolist()), shift, output)

    def scalar_requantizer(self, requant: Requant, bias: int, output: Tensor) -> Requantizer:
        """`requantizer` with one bias, multiplier and shift for all channels, as literals."""
        shift = "" if isinstance(requant, Hi32) else str(int(requant.shift[0]))
        return self.requantizer(requant, literal(bias), str(int(requant.multiplier[0])), shift, output)


def literal(value: int) -> str:
    """An int32 constant; C has no literal for the least one."""
    return "(-2147483647 - 1)" if value == -(1 << 31) else str(value)


def shape_of(tensor: Tensor) -> str:
    """``(8, 8, 16) u4``: shape, signedness, bits."""
    extents = ", ".join(str(extent) for extent in tensor.shape)
    return f"({extents}) {'s' if tensor.signed else 'u'}{tensor.bits}"
