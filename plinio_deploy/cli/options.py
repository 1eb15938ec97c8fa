# SPDX-License-Identifier: Apache-2.0
"""The options that several verbs share: one spelling, one default, one sentence each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from plinio_deploy.console import Terminal

_COMMON = "Output"

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
Recipe = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A built-in recipe (digits), or a Python file that defines `recipe`.")
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
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", min=0, help="Epochs of float training instead of the recipe's number."),
]
QatEpochs = Annotated[
    int | None,
    typer.Option("--qat-epochs", metavar="N", min=0, help="Epochs with quantizers instead of the recipe's number."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Random seed instead of the recipe's.")]

DEFAULT_OUT = Path("out")
DEFAULT_TRACE_SAMPLES = 16


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that all verbs have.

    Args:
        function: takes a `Terminal` named ``terminal`` and its own options.

    Returns:
        The same with ``--json``, ``--verbose``, ``--quiet`` and ``--traceback`` in place of the terminal.
    """

    @functools.wraps(function)
    def call(*, as_json: bool, verbose: int, quiet: bool, traceback: bool, **own: Any) -> None:  # noqa: ARG001
        # --traceback is for `plinio_deploy.cli.entry`, which looks for it even where parsing fails.
        function(terminal=Terminal(-1 if quiet else verbose, as_json=as_json), **own)

    common = {
        "as_json": (AsJson, False),
        "verbose": (Verbose, 0),
        "quiet": (Quiet, False),
        "traceback": (Traceback, False),
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    own_parameters = inspect.signature(function, eval_str=True).parameters
    parameters = [item.replace(kind=keyword) for name, item in own_parameters.items() if name != "terminal"]
    parameters += [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in common.items()
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {item.name: item.annotation for item in parameters}
    return call
