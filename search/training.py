# SPDX-License-Identifier: Apache-2.0
"""Help for training a model under search; every function can be left out or replaced by a loop of one's own.

A search needs three lines in any PyTorch loop:

    nas = SuperNet(model, cost={"size": params_bit}, input_example=x)       # 1. instead of the model
    loss = criterion(nas(x), y) + regularizer(nas, epoch, n_epochs)         # 2. in the loop
    model = nas.export()                                                    # 3. after it

What is here covers the usual course: warm up the weights alone, search with two optimizers while the temperature falls,
discretize, and fine-tune:

    both = optimizers(nas, nas_lr=1e-2)
    warm_up(nas, loader, criterion, both, epochs=5)
    search(nas, loader, criterion, both, epochs=50, regularizer=regularizer, temperature=exponential(5.0, 0.1))
    discretize(nas)
    fine_tune(nas, loader, criterion, both.net, epochs=20)      # the network that export() gives, still in place
    model = nas.export()

Each of them is a few lines around `train_epoch`, to be read and written anew where a training needs more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.feasibility import Searched
from plinio_deploy.search.regularizers import Regularizer
from plinio_deploy.search.schedules import Schedule, progress

Criterion: TypeAlias = "Callable[[Any, Any], Tensor]"
"""The task's loss, from (output, target)."""


class Trainable(Searched, Protocol):
    """A model under search, as far as training asks: every method of ours is one."""

    training: bool

    def __call__(self, *inputs: Any) -> Any:
        """Run the model."""

    def train(self, mode: bool = True) -> Any:
        """Switch to training mode."""

    def net_parameters(self) -> Iterator[nn.Parameter]:
        """Weights."""
        ...

    def train_net_only(self) -> None:
        """Freeze masks and selections."""

    def train_net_and_nas(self) -> None:
        """Free what was frozen."""


class Steps(Protocol):
    """What a loop asks of an optimizer."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Move the parameters."""


@dataclass
class Optimizers:
    """Two optimizers that step together: one for the weights, one for masks and selections.

    Attributes:
        net: for the weights.
        nas: for masks and selections; ``None`` if there are none.
    """

    net: torch.optim.Optimizer
    nas: torch.optim.Optimizer | None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for optimizer in self:
            optimizer.zero_grad(set_to_none)

    def step(self) -> None:
        """One step of both; parameters without a gradient stay."""
        for optimizer in self:
            optimizer.step()

    def __iter__(self) -> Iterator[torch.optim.Optimizer]:
        yield self.net
        if self.nas is not None:
            yield self.nas

    def state_dict(self) -> dict[str, Any]:
        """State of both."""
        return {"net": self.net.state_dict(), "nas": None if self.nas is None else self.nas.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where two others stopped."""
        self.net.load_state_dict(state["net"])
        if self.nas is not None:
            self.nas.load_state_dict(state["nas"])


def optimizers(
    model: Trainable, *, net_lr: float = 1e-3, nas_lr: float = 1e-2, weight_decay: float = 1e-4
) -> Optimizers:
    """Adam for both sets of parameters, with what masks need: their own learning rate and no weight decay.

    Weight decay pulls masks towards 0, that is towards pruning, at a strength nobody asked for.

    Args:
        model: the model under search.
        net_lr: learning rate of the weights.
        nas_lr: learning rate of masks and selections.
        weight_decay: of the weights (decoupled, as in AdamW).
    """
    net = torch.optim.AdamW(list(model.net_parameters()), lr=net_lr, weight_decay=weight_decay)
    searched = list(model.nas_parameters())
    return Optimizers(net, torch.optim.Adam(searched, lr=nas_lr) if searched else None)


def train_epoch(
    model: Trainable | nn.Module,
    batches: Iterable[Any],
    criterion: Criterion,
    optimizer: Steps,
    *,
    regularizer: Regularizer | None = None,
    epoch: int = 0,
    n_epochs: int = 1,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> float:
    """One pass over the data.

    The cost is computed outside of autocast, in single precision: a half holds counts up to 65 504 only.

    Args:
        model: under search, or a plain module.
        batches: pairs of input and target.
        criterion: from (output, target) to the loss.
        optimizer: anything with ``zero_grad`` and ``step``.
        regularizer: added to the loss, called as ``regularizer(model, epoch + 1, n_epochs)``.
        epoch: counted from 0.
        n_epochs: epochs of the search.
        device: where batches go first.
        autocast: dtype of mixed precision for model and criterion; ``None`` for none.
        scaler: for ``autocast=torch.float16``; needs ``optimizer`` to be an `Optimizers` or a torch optimizer.

    Returns:
        Mean loss per batch, without the regularizer.

    Raises:
        UsageError: no batch, or the loss is not finite.
    """
    model.train()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for x, y in batches:
        inputs, target = (x, y) if device is None else (x.to(device), y.to(device))
        kind = inputs.device.type if isinstance(inputs, Tensor) else "cpu"
        optimizer.zero_grad()
        with torch.autocast(kind, dtype=autocast, enabled=autocast is not None):
            loss = criterion(model(inputs), target)
        whole = loss.float()
        if regularizer is not None:
            whole = whole + regularizer(model, epoch + 1, n_epochs).to(whole.device)
        _step(whole, optimizer, scaler)
        total += loss.detach().to(total)
        count += 1
    if count == 0:
        raise UsageError("The data holds no batch")
    mean = float(total) / count
    if mean != mean or mean in (float("inf"), float("-inf")):
        raise UsageError(
            "The loss is not finite", got=mean, where=f"epoch {epoch}", hints=["Lower the learning rate.", "Clip."]
        )
    return mean


def warm_up(
    model: Trainable, batches: Iterable[Any], criterion: Criterion, optimizer: Optimizers, epochs: int, **options: Any
) -> list[float]:
    """Train the weights alone, so that the search does not judge untrained branches; then both are free again.

    Args:
        model: under search.
        batches: iterated once per epoch.
        criterion: from (output, target) to the loss.
        optimizer: for both; the part for the weights steps.
        epochs: how many.
        options: further arguments of :func:`train_epoch` (device, autocast, scaler).

    Returns:
        Mean loss of each epoch.
    """
    model.train_net_only()
    losses = [train_epoch(model, batches, criterion, optimizer.net, **options) for _ in range(epochs)]
    model.train_net_and_nas()
    return losses


def search(
    model: Trainable,
    batches: Iterable[Any],
    criterion: Criterion,
    optimizer: Optimizers,
    epochs: int,
    *,
    regularizer: Regularizer | None = None,
    temperature: Schedule | None = None,
    **options: Any,
) -> list[float]:
    """Train weights, masks and selections together.

    Args:
        model: under search.
        batches: iterated once per epoch.
        criterion: from (output, target) to the loss.
        optimizer: for both.
        epochs: how many.
        regularizer: added to the loss.
        temperature: of all selections, over progress; as they are if not given.
        options: further arguments of :func:`train_epoch` (device, autocast, scaler).

    Returns:
        Mean loss of each epoch, without the regularizer.
    """
    losses = []
    for epoch in range(epochs):
        if temperature is not None:
            anneal(model, temperature, epoch, epochs)
        at: dict[str, Any] = {"regularizer": regularizer, "epoch": epoch, "n_epochs": epochs}
        losses.append(train_epoch(model, batches, criterion, optimizer, **at, **options))
    return losses


def fine_tune(
    model: Trainable | nn.Module,
    batches: Iterable[Any],
    criterion: Criterion,
    optimizer: Steps,
    epochs: int,
    **options: Any,
) -> list[float]:
    """Train the weights of a discretized search, or of an exported network, for some epochs; returns their losses."""
    return [train_epoch(model, batches, criterion, optimizer, **options) for _ in range(epochs)]


def _step(loss: Tensor, optimizer: Steps, scaler: torch.amp.GradScaler | None) -> None:
    if scaler is None:
        torch.autograd.backward(loss)
        optimizer.step()
        return
    torch.autograd.backward(scaler.scale(loss))
    for each in optimizer if isinstance(optimizer, Optimizers) else [optimizer]:
        if not isinstance(each, torch.optim.Optimizer):
            raise UsageError("A gradient scaler steps torch optimizers only", got=type(each).__name__)
        if any(p.grad is not None for group in each.param_groups for p in group["params"]):
            scaler.step(each)
    scaler.update()


def anneal(model: Trainable | nn.Module, schedule: Schedule, epoch: int, n_epochs: int) -> float:
    """Set the temperature of every selection in a model.

    Args:
        model: under search.
        schedule: temperature over progress; :func:`~plinio_deploy.search.schedules.exponential` from 5 to 0.1 is usual.
        epoch: counted from 0.
        n_epochs: epochs of the search.

    Returns:
        The temperature.

    Raises:
        UsageError: the schedule gives a temperature that is not positive.
    """
    temperature = schedule(progress(epoch, n_epochs))
    for module in _selections(model):
        module.update_softmax_options(temperature=temperature)
    return temperature


def discretize(model: Trainable) -> None:
    """Fix what the search has found: selections become hard, masks and selections stop learning.

    From here on training runs the network that ``export()`` gives, in place, with its weights.
    """
    for module in _selections(model):
        module.update_softmax_options(hard=True, gumbel=False, single_path=False)
    model.train_net_only()


def _selections(model: Trainable | nn.Module) -> list[Any]:
    """Innermost modules with selection options; a wrapper that offers the same call hands it on to them."""
    return [
        module
        for module in model.modules()
        if callable(getattr(module, "update_softmax_options", None))
        and isinstance(getattr(module, "alpha", None), Tensor)
    ]
