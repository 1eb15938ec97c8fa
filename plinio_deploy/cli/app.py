# SPDX-License-Identifier: Apache-2.0
"""The list of verbs, in the order of the data."""

from __future__ import annotations

from typing import Annotated

import typer

from plinio_deploy import __version__
from plinio_deploy.cli import (
    build,
    calibrate,
    doctor,
    generate,
    integerize,
    measure,
    report,
    run,
    search,
    targets,
    train,
    tune,
)

app = typer.Typer(
    name="plinio-deploy",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 ok, 1 a check failed, 2 wrong request, 3 a tool is missing, 4 unsupported model, "
    "5 does not fit the target, 6 device, 70 bug, 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plinio-deploy {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A PyTorch model in, measured firmware out.

    Example: plinio-deploy run digits --target cortex-m4
    """


WHOLE = "The whole line"
STAGES = "One stage at a time"
OTHER = "The machine"

app.command(rich_help_panel=WHOLE)(run.run)
app.command(rich_help_panel=STAGES)(train.train)
app.command(rich_help_panel=STAGES)(search.search)
app.command(rich_help_panel=STAGES)(integerize.integerize)
app.command(rich_help_panel=STAGES)(tune.tune)
app.command(rich_help_panel=STAGES)(generate.generate)
app.command(rich_help_panel=STAGES)(build.build)
app.command(rich_help_panel=STAGES)(measure.measure)
app.command(rich_help_panel=STAGES)(report.report)
app.add_typer(targets.app, name="targets", rich_help_panel=OTHER)
app.command(rich_help_panel=OTHER)(calibrate.calibrate)
app.command(rich_help_panel=OTHER)(doctor.doctor)
