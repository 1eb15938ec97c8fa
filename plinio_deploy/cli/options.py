# SPDX-License-Identifier: Apache-2.0
"""The options that several verbs share: one spelling, one default, one sentence each."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plinio_deploy.console import Terminal

if TYPE_CHECKING:
    from plinio_deploy.codegen.requested import Requested

_COMMON = "Output"


class BudgetName(StrEnum):
    """How long to train."""

    FULL = "full"
    SHORT = "short"


class WinogradName(StrEnum):
    """Where Winograd's method has its transformed weights."""

    NONE = "none"
    SCRATCH = "scratch"
    FLASH = "flash"


class CostName(StrEnum):
    """What can be dear."""

    SIZE = "size"
    FLASH = "flash"
    RAM = "ram"
    MACS = "macs"
    CYCLES = "cycles"


def size(text: str) -> int:
    """Bytes: ``32k`` and ``32KiB`` are 32 * 1024, ``32kB`` is 32 000; likewise ``M``, ``MiB`` and ``MB``.

    Raises:
        typer.BadParameter: it is no such amount.
    """
    kilo = {"": 1, "b": 1, "k": 1 << 10, "ki": 1 << 10, "kib": 1 << 10, "kb": 1000}
    return _amount(text, {**kilo, "m": 1 << 20, "mi": 1 << 20, "mib": 1 << 20, "mb": 1_000_000})


def count(text: str) -> int:
    """A number: ``3M`` is 3 000 000.

    Raises:
        typer.BadParameter: it is no such amount.
    """
    return _amount(text, {"": 1, "k": 1000, "m": 1_000_000})


def _amount(text: str, units: Mapping[str, int]) -> int:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in units:
        raise typer.BadParameter(f"{text!r} is no amount such as 16384 or 16k")
    return round(float(match[1]) * units[match[2].lower()])


AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, also on failure.", rich_help_panel=_COMMON)
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Say more; twice: also the tools' command lines.",
        rich_help_panel=_COMMON,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only results and errors.", rich_help_panel=_COMMON)]
Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show where in the program an error arose.", rich_help_panel=_COMMON)
]

Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the run: every stage has its own in it.")
]
Targets = Annotated[
    list[str],
    typer.Option(
        "--target", "-t", metavar="NAME", help="What to build for; may be given more than once. See: targets list."
    ),
]
SearchTargets = Annotated[
    list[str],
    typer.Option("--target", "-t", metavar="NAME", help="Whose firmware a limit is on; may be given more than once."),
]
Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="Built in (digits, ic, kws, vww, ad, tcn), or a Python file that defines `recipe`."
    ),
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="NAME", help="Begins every C symbol, macro and file name of the network.")
]
Samples = Annotated[
    int, typer.Option("--samples", metavar="N", min=0, help="Test samples to run on the target; 0 runs all of them.")
]
TraceSamples = Annotated[
    int, typer.Option("--trace-samples", metavar="N", min=0, help="Samples of which every single tensor is compared.")
]
Elf = Annotated[
    Path | None,
    typer.Option("--elf", metavar="FILE", help="Measure this Arm program instead: no network, no comparison."),
]
Symbols = Annotated[
    str,
    typer.Option("--symbols", metavar="LIST", help="Its functions to count, separated by commas.", show_default=False),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", min=0, help="Epochs of float training instead of the recipe's number."),
]
QatEpochs = Annotated[
    int | None,
    typer.Option("--qat-epochs", metavar="N", min=0, help="Epochs with quantizers instead of the recipe's number."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Random seed instead of the recipe's.")]

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="Folder of npz files that the recipe reads."),
]
Budget = Annotated[
    BudgetName,
    typer.Option("--budget", help="All epochs as the recipe says, or its short share of them."),
]
_SEARCH = "Search"
Methods = Annotated[
    str,
    typer.Option(
        "--methods",
        metavar="LIST",
        help="Search with some of supernet,pit,mps: layers, then channels, then bit widths.",
        rich_help_panel=_SEARCH,
        show_default=False,
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        "--strength", metavar="X", help="Price of all of the initial cost, as a loss.", rich_help_panel=_SEARCH
    ),
]
Cost = Annotated[CostName, typer.Option("--cost", help="What --strength is a price on.", rich_help_panel=_SEARCH)]
MaxFlash = Annotated[
    int | None,
    typer.Option(
        "--max-flash",
        metavar="BYTES",
        parser=size,
        help="Most flash of the firmware, bench included; 32k is 32 KiB.",
        rich_help_panel=_SEARCH,
    ),
]
MaxRam = Annotated[
    int | None,
    typer.Option(
        "--max-ram",
        metavar="BYTES",
        parser=size,
        help="Most RAM of the firmware, stack included.",
        rich_help_panel=_SEARCH,
    ),
]
MaxCycles = Annotated[
    int | None,
    typer.Option(
        "--max-cycles", metavar="N", parser=count, help="Most cycles of one inference.", rich_help_panel=_SEARCH
    ),
]
SearchEpochs = Annotated[
    int | None,
    typer.Option(
        "--search-epochs",
        metavar="N",
        min=1,
        help="Epochs of each search instead of the recipe's number.",
        rich_help_panel=_SEARCH,
    ),
]
TuneEpochs = Annotated[
    int | None,
    typer.Option(
        "--tune-epochs",
        metavar="N",
        min=0,
        help="Epochs of fine-tuning what was found instead of the recipe's number.",
        rich_help_panel=_SEARCH,
    ),
]

Tune = Annotated[
    bool,
    typer.Option("--tune", help="Choose kernels by measuring them on the target; see the verb tune."),
]

_REQUESTED = "Kernels that spend memory"
Winograd = Annotated[
    WinogradName | None,
    typer.Option(
        "--winograd",
        help="Winograd's method for convolutions 3 x 3, weights transformed at run time in scratch, or in flash.",
        rich_help_panel=_REQUESTED,
        show_default=False,
    ),
]
AddsAlong = Annotated[
    bool | None,
    typer.Option(
        "--adds-along/--no-adds-along",
        help="Adds along with the convolution before them.",
        rich_help_panel=_REQUESTED,
        show_default=False,
    ),
]
Wide = Annotated[
    bool | None,
    typer.Option(
        "--wide/--no-wide",
        help="Weights of 8 bits in half as much flash again.",
        rich_help_panel=_REQUESTED,
        show_default=False,
    ),
]

DEFAULT_OUT = Path("out")
DEFAULT_PREFIX = "net"
DEFAULT_TRACE_SAMPLES = 16


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the verbs that may train; each attribute is one."""

    epochs: Epochs = None
    qat_epochs: QatEpochs = None
    seed: Seed = None
    data: Data = None
    budget: Budget = BudgetName.FULL


@dataclass(frozen=True)
class SearchOptions:
    """Options of the verbs that may search; each attribute is one."""

    methods: Methods = ""
    strength: Strength = None
    cost: Cost = CostName.SIZE
    max_flash: MaxFlash = None
    max_ram: MaxRam = None
    max_cycles: MaxCycles = None
    search_epochs: SearchEpochs = None
    tune_epochs: TuneEpochs = None


@dataclass(frozen=True)
class KernelOptions:
    """Options of the verbs that choose kernels; each attribute is one. Nothing said is not the same as no."""

    winograd: Winograd = None
    adds_along: AddsAlong = None
    wide: Wide = None

    def asked(self) -> Requested:
        """As the code generator and the tuner take it."""
        from plinio_deploy.codegen.requested import Requested

        return Requested(None if self.winograd is None else self.winograd.value, self.adds_along, self.wide)


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that all verbs have, and those of the groups that it takes.

    Args:
        function: takes a `Terminal` named ``terminal`` and its own options; a parameter that is annotated with a data
            class, such as `TrainingOptions`, stands for an option per attribute.

    Returns:
        The same with ``--json``, ``--verbose``, ``--quiet`` and ``--traceback`` in place of the terminal.
    """
    own = inspect.signature(function, eval_str=True).parameters
    groups = {name: _options(item.annotation) for name, item in own.items() if is_dataclass(item.annotation)}

    @functools.wraps(function)
    def call(*, as_json: bool, verbose: int, quiet: bool, traceback: bool, **given: Any) -> None:  # noqa: ARG001
        # --traceback is for `plinio_deploy.cli.entry`, which looks for it even where parsing fails.
        for name, members in groups.items():
            given[name] = own[name].annotation(**{item.name: given.pop(item.name) for item in members})
        function(terminal=Terminal(-1 if quiet else verbose, as_json=as_json), **given)

    common = {
        "as_json": (AsJson, False),
        "verbose": (Verbose, 0),
        "quiet": (Quiet, False),
        "traceback": (Traceback, False),
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        option.replace(kind=keyword)
        for name, item in own.items()
        if name != "terminal"
        for option in groups.get(name, (item,))
    ]
    parameters += [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in common.items()
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {item.name: item.annotation for item in parameters}
    return call


def _options(group: Any) -> tuple[inspect.Parameter, ...]:
    """The options that a data class stands for."""
    return tuple(inspect.signature(group, eval_str=True).parameters.values())
