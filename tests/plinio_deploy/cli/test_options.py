# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import inspect

from plinio_deploy.cli import options
from plinio_deploy.console import Terminal


def test_verb_trades_the_terminal_for_the_common_options() -> None:
    seen: list[tuple[int, bool, str]] = []

    @options.verb
    def greet(terminal: Terminal, name: str = "x") -> None:
        """Say hello."""
        seen.append((terminal.verbosity, terminal.as_json, name))

    assert list(inspect.signature(greet).parameters) == ["name", "as_json", "verbose", "quiet", "traceback"]
    assert greet.__doc__ == "Say hello."
    greet(name="y", as_json=True, verbose=2, quiet=False, traceback=False)
    greet(name="z", as_json=False, verbose=2, quiet=True, traceback=False)
    assert seen == [(2, True, "y"), (-1, False, "z")]


def test_a_group_of_options_stands_for_each_of_them() -> None:
    seen: list[options.TrainingOptions] = []

    @options.verb
    def learn(terminal: Terminal, *, training: options.TrainingOptions, fast: bool = False) -> None:
        seen.append(training if not (fast or terminal.as_json) else options.TrainingOptions())

    parameters = inspect.signature(learn).parameters
    assert list(parameters)[:6] == ["epochs", "qat_epochs", "seed", "data", "budget", "fast"]
    assert parameters["epochs"].annotation == options.Epochs
    given = {name: item.default for name, item in parameters.items()}
    learn(**{**given, "epochs": 7})
    assert seen == [options.TrainingOptions(epochs=7)]
