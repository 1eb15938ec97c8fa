# SPDX-License-Identifier: Apache-2.0
"""What a user brings: a model, data, a loss, a metric and the range of the input. Importing this does not import torch.

A recipe file is a Python file that defines ``recipe``::

    class Recipe(plinio_deploy.recipe.Recipe):
        input_shape = (1, 8, 8)
        input_range = (0.0, 1.0)

        def model(self): ...
        def data(self): ...

    recipe = Recipe()
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from plinio_deploy.errors import PlinioDeployError, RecipeError

if TYPE_CHECKING:
    import torch

    from plinio_deploy.quantization import LayerConfig

Budget = Literal["full", "short"]
"""How long training takes: as the recipe says, or the recipe's `short` share of it."""

FloatArray = npt.NDArray[np.floating[Any]]

BUILT_IN: Mapping[str, str] = {
    name: f"plinio_deploy.recipes.{name}" for name in ("digits", "ic", "kws", "vww", "ad", "tcn")
}
"""Recipes that ship with us: name -> module."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and targets as arrays.

    Attributes:
        x: float32 ``(N, *input_shape)``.
        y: targets, ``(N, ...)``.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Data:
    """The three parts of a data set: each a `Split`, or a torch ``Dataset`` or ``DataLoader`` of ``(x, y)``."""

    train: Any
    val: Any
    test: Any


class Recipe:
    """Subclass this; `model` and `data` have to be written, the rest has defaults for classification.

    Attributes:
        name: of the network; a C identifier. The file's name if empty.
        input_shape: of one sample in torch's order: ``(C, H, W)``, ``(C, L)`` or ``(C,)``.
        input_range: least and greatest real input; what lies outside saturates.
        epochs: of float training.
        qat_epochs: of training with quantizers in.
        lr: first learning rate of float training (falls along a cosine).
        qat_lr: the same with quantizers in.
        qat_norms: whether batch norms, which quantization folds, come back while quantizers are in. Weights of few bits
            gain by it in trainings of some thousand steps, and lose in short ones.
        batch_size: samples per step.
        weight_decay: of weights; never applied to quantizers.
        seed: of everything random.
        w_bits, a_bits: width of weights and activations: 2, 4 or 8.
        linear_scales: ``channel`` or ``tensor``: what has a step in fully connected layers (`QuantConfig`). A search
            over bit widths always has one per channel.
        warmup_epochs: of a search's alternatives, before any is judged.
        search_epochs: of each search.
        tune_epochs: of fine-tuning what a search found.
        search_lr: first learning rate of the weights during a search.
        nas_lr: learning rate of masks and selections.
        search_w_bits, search_a_bits: widths that a mixed-precision search chooses from; 0 removes a channel.
        distill: share of the loss, in searches and in what follows them, that is the distance from the answers of the
            trained float model (`Distillation`); for classifiers. 0 for none.
        short: share of all epochs that ``--budget short`` trains.
        min_float_metric: least metric that the float model must reach; ``None`` for no bar.
        max_metric_drop: how much of the metric the integer network may lose.
    """

    name: str = ""
    input_shape: tuple[int, ...]
    input_range: tuple[float, float]
    epochs: int = 30
    qat_epochs: int = 6
    lr: float = 1e-2
    qat_lr: float = 1e-3
    qat_norms: bool = False
    batch_size: int = 64
    weight_decay: float = 1e-4
    seed: int = 0
    w_bits: int = 8
    a_bits: int = 8
    linear_scales: Literal["channel", "tensor"] = "channel"
    warmup_epochs: int = 2
    search_epochs: int = 8
    tune_epochs: int = 8
    search_lr: float = 2e-3
    nas_lr: float = 1e-2
    search_w_bits: tuple[int, ...] = (0, 2, 4, 8)
    search_a_bits: tuple[int, ...] = (8,)
    distill: float = 0.0
    short: float = 0.25
    min_float_metric: float | None = None
    max_metric_drop: float = 0.005
    source: str = ""
    """Where the recipe was loaded from; `load_recipe` sets it."""
    folder: Path | None = None
    """The folder of ``--data``; `load_recipe` sets it."""
    data_from: str = ""
    """What to put into the folder of ``--data`` and where it is to be had, for whoever gave none."""

    def model(self) -> torch.nn.Module:
        """A new float model; called after seeding, so initialisation is reproducible."""
        raise NotImplementedError

    def data(self) -> Data:
        """Training, validation and test data; the same every time."""
        raise NotImplementedError

    def supernet(self) -> torch.nn.Module:
        """The model with alternatives in it (`SuperNetModule`), for ``--methods supernet``; the recipe may have none.

        What `model` has in a place comes first among its alternatives: it starts from trained weights.
        """
        raise NotImplementedError

    def augment(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A batch of training samples, changed by chance; as it is unless overridden.

        Args:
            x: ``(N, *input_shape)``.
            generator: draw everything from it, so that a run can be repeated.
        """
        del generator
        return x

    def loss(self, output: Any, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of one batch; cross entropy of logits unless overridden."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(output, target)

    def metric(self, outputs: Any, targets: npt.NDArray[Any]) -> float:
        """Quality in ``[0, 1]``, higher is better; accuracy unless overridden.

        Args:
            outputs: what the model returns for all samples, as numpy: one array, or a tuple of them. For the integer
                network the real numbers that its output codes stand for.
            targets: all targets.
        """
        return float(np.mean(np.argmax(outputs, axis=1) == targets))

    def layers(self) -> Mapping[str, LayerConfig]:
        """Bit widths of single layers, by module path; none unless overridden."""
        return {}

    def budgeted(self, epochs: int, budget: Budget) -> int:
        """Epochs within a budget; what is not 0 stays at least 1."""
        return epochs if budget == "full" or epochs == 0 else max(1, round(self.short * epochs))

    def data_folder(self) -> Path:
        """The folder of ``--data``.

        Raises:
            RecipeError: none was given; says what belongs into it.
        """
        if self.folder is None:
            raise RecipeError(
                f"the recipe {self.name} needs a folder of data",
                where=self.source,
                got="no --data",
                expected=self.data_from or "a folder of npz files",
                hints=(f"plinio-deploy run {self.source} --data FOLDER --target cortex-m4", FORMAT),
            )
        return self.folder


FORMAT = (
    "The format: <name>_train.npz and <name>_test.npz (also _val, and parts _0, _1, ...), each with samples x and "
    "labels y; images (N, H, W) or (N, H, W, C) uint8, signals (N, C, L), vectors (N, F)."
)
"""Of folders of data, in a sentence; `plinio_deploy.recipes.npz` has the whole of it."""


def load_recipe(spec: str, folder: Path | None = None) -> Recipe:
    """Load a recipe by built-in name, or from a Python file.

    Args:
        spec: a key of `BUILT_IN`, or a path that ends in ``.py``.
        folder: what was given as ``--data``.

    Raises:
        RecipeError: no such recipe; the file raises, or defines no usable ``recipe``; names file and line.
    """
    if spec in BUILT_IN:
        module, source = importlib.import_module(BUILT_IN[spec]), spec
    else:
        path = Path(spec)
        if not path.is_file():
            close = difflib.get_close_matches(spec, BUILT_IN, n=1)
            raise RecipeError(
                "no such recipe",
                got=spec,
                expected="a built-in name (" + ", ".join(BUILT_IN) + ") or the path of a Python file",
                hints=[f"Did you mean {name!r}?" for name in close],
            )
        module, source = _import_file(path), str(path)
    found = getattr(module, "recipe", None)
    if found is None:
        raise RecipeError(
            "the recipe file defines no recipe",
            where=source,
            expected="a module-level name `recipe`",
            hints=("End the file with: recipe = MyRecipe()",),
        )
    with blaming(source, "recipe"):
        recipe = found() if callable(found) and not isinstance(found, Recipe) else found
    if isinstance(recipe, Recipe):
        recipe.folder = folder
    return _checked(recipe, source)


def _import_file(path: Path) -> ModuleType:
    """Run a file as a module of its own; its name depends on its path, so that two files do not collide."""
    name = f"plinio_deploy_recipe_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError("not a Python file", where=str(path), expected="a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with blaming(str(path), "the file itself"):
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module


@contextmanager
def blaming(source: str, member: str) -> Iterator[None]:
    """Turn whatever a recipe raises into a `RecipeError` that names the recipe's file and line.

    Args:
        source: the recipe's file or name.
        member: what of the recipe is being used.
    """
    try:
        yield
    except PlinioDeployError:
        raise
    except Exception as error:
        raise RecipeError(
            f"the recipe raised {type(error).__name__}: {error}",
            where=_place(source, error),
            got=f"while running {member}",
            hints=("Run the file with Python to see the whole traceback.",),
        ) from error


def _place(source: str, error: Exception) -> str:
    """``file:line`` of the deepest frame in the recipe's own file, else of the error itself."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == Path(source).name]
    if own:
        return f"{source}:{own[-1].lineno}"
    return f"{source} ({frames[-1].filename}:{frames[-1].lineno})" if frames else source


def _checked(recipe: object, source: str) -> Recipe:
    if not isinstance(recipe, Recipe):
        raise RecipeError(
            "`recipe` is no Recipe",
            where=source,
            got=type(recipe).__name__,
            expected="an instance of a subclass of plinio_deploy.recipe.Recipe",
        )
    missing = [name for name in ("model", "data") if getattr(type(recipe), name) is getattr(Recipe, name)]
    missing += [name for name in ("input_shape", "input_range") if not hasattr(recipe, name)]
    if missing:
        raise RecipeError(
            "the recipe lacks a member",
            where=source,
            got="no " + ", no ".join(missing),
            expected="model(), data(), input_shape and input_range",
        )
    for member, (good, expected) in _RULES.items():
        value = getattr(recipe, member)
        if not good(value):
            raise RecipeError(f"a bad {member}", where=source, got=repr(value), expected=expected)
    recipe.source = source
    if not recipe.name:
        recipe.name = re.sub(r"\W", "_", Path(source).stem, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z_]\w*", recipe.name, flags=re.ASCII):
        raise RecipeError("a bad name", where=source, got=repr(recipe.name), expected="letters, digits and _")
    return recipe


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and 1 <= len(value) <= 3 and all(isinstance(v, int) and v > 0 for v in value)


def _is_range(value: object) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(isinstance(v, int | float) for v in value):
        return False
    return bool(np.isfinite(value[0]) and np.isfinite(value[1]) and value[0] < value[1])


def _is_count(least: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < float("inf")


def _are_widths(value: object, known: set[int]) -> bool:
    return isinstance(value, tuple) and set(value) <= known and bool(set(value) - {0})


_RULES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "input_shape": (_is_shape, "a tuple of 1 to 3 positive integers: (C, H, W), (C, L) or (C,)"),
    "input_range": (_is_range, "(low, high) with low < high"),
    "epochs": (_is_count(0), "an integer of at least 0"),
    "qat_epochs": (_is_count(0), "an integer of at least 0"),
    "warmup_epochs": (_is_count(0), "an integer of at least 0"),
    "search_epochs": (_is_count(1), "an integer of at least 1"),
    "tune_epochs": (_is_count(0), "an integer of at least 0"),
    **dict.fromkeys(("lr", "qat_lr", "search_lr", "nas_lr"), (_is_rate, "a positive, finite number")),
    "qat_norms": (lambda value: isinstance(value, bool), "True or False"),
    "weight_decay": (lambda value: value == 0 or _is_rate(value), "a finite number of at least 0"),
    "batch_size": (_is_count(1), "an integer of at least 1"),
    "seed": (_is_count(0), "an integer of at least 0"),
    "w_bits": (lambda value: value in (2, 4, 8), "2, 4 or 8"),
    "a_bits": (lambda value: value in (2, 4, 8), "2, 4 or 8"),
    "linear_scales": (lambda value: value in ("channel", "tensor"), "'channel' or 'tensor'"),
    "search_w_bits": (lambda value: _are_widths(value, {0, 2, 4, 8}), "a tuple out of 0, 2, 4 and 8, not 0 alone"),
    "search_a_bits": (lambda value: _are_widths(value, {2, 4, 8}), "a tuple out of 2, 4 and 8"),
    "distill": (_is_fraction, "a number from 0 to 1"),
    "short": (lambda value: _is_fraction(value) and value != 0, "a number above 0, at most 1"),
    "min_float_metric": (lambda value: value is None or _is_fraction(value), "None, or a number from 0 to 1"),
    "max_metric_drop": (_is_fraction, "a number from 0 to 1"),
}
