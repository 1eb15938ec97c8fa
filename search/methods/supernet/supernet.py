# SPDX-License-Identifier: Apache-2.0
"""Search over the alternatives that a model offers in its `SuperNetModule`s."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.search.cost import params
from plinio_deploy.search.graph.trace import Leaf
from plinio_deploy.search.methods.base import DNAS, CostArgument
from plinio_deploy.search.methods.supernet.module import SuperNetModule


class SuperNet(DNAS):
    """A model with alternatives, searched for which of them to keep.

        nas = SuperNet(model, cost={"size": cost.params_bit}, input_example=x)
        loss = criterion(nas(x), y) + 1e-6 * nas.get_cost("size")
        model = nas.export()

    In eval mode it computes exactly what the network returned by `export` computes. A `SuperNetModule` may lie in a
    branch of another one; its part of the cost counts with the product of the weights on the way to it.

    Args:
        model: a model that holds at least one `SuperNetModule`; it is copied and stays as it is.
        cost: one cost (then `cost` gives its value) or several by name (then `get_cost(name)` does).
        input_example: what ``forward`` is called with: a tensor or a tuple of arguments.
        input_shape: shape of one input without the batch axis, instead of an example.
        full_cost: also count the layers outside of alternatives.
        leaves: module paths or types that are kept whole and not looked into.

    Raises:
        UsageError: no example and no shape, or a shape that is none.
        UnsupportedModel: there are no alternatives, or their shapes differ, or the model cannot be traced.
    """

    def __init__(
        self,
        model: nn.Module,
        cost: CostArgument = params,
        input_example: Any | None = None,
        input_shape: Sequence[int] | None = None,
        full_cost: bool = False,
        *,
        leaves: Sequence[Leaf] = (),
    ) -> None:
        super().__init__(model, cost, input_example, input_shape, full_cost=full_cost, leaves=leaves)
        for path, module in self.named_choices():
            module.path = path
        if not self.named_choices():
            raise UnsupportedModel(
                "There is nothing to choose in this model",
                got=type(model).__name__,
                expected="at least one SuperNetModule",
                hints=["Put SuperNetModule([block_a, block_b, ...]) in the place of a block."],
            )
        self._program()  # runs every branch once: differing shapes are refused here and not in the middle of a search

    def named_choices(self) -> list[tuple[str, SuperNetModule]]:
        """All places with alternatives and their paths in the model, outer ones before those in their branches."""
        return [(path, module) for path, module in self.seed.named_modules() if isinstance(module, SuperNetModule)]

    @property
    def train_selection(self) -> bool:
        """Whether any selection is trained; setting it freezes or frees all of them."""
        return any(module.train_selection for _, module in self.named_choices())

    @train_selection.setter
    def train_selection(self, value: bool) -> None:
        for _, module in self.named_choices():
            module.train_selection = value

    def update_softmax_options(
        self,
        temperature: float | None = None,
        hard: bool | None = None,
        gumbel: bool | None = None,
        single_path: bool | None = None,
    ) -> None:
        """Change how all places select their paths; what is not given stays as it is.

        Raises:
            UsageError: the temperature is not positive.
        """
        for _, module in self.named_choices():
            module.update_softmax_options(temperature, hard, gumbel, single_path)

    def get_total_icv(self, eps: float = 1e-3) -> Tensor:
        """Sum over all places of mean(theta)^2 / (var(theta) + eps): large while selections are undecided.

        The inverse squared coefficient of variation; add it to the loss, weighted, to push selections apart.

        Args:
            eps: keeps uniform weights finite; positive.
        """
        values = []
        for _, module in self.named_choices():
            theta = module.theta()
            variance = theta.var() if len(theta) > 1 else torch.zeros_like(theta.sum())
            values.append(theta.mean().square() / (variance + eps))
        return torch.stack([value.to(values[0].device) for value in values]).sum()

    def export(self) -> fx.GraphModule:
        """The network with the best branch in every place, every value kept; shares nothing with the search."""
        exported = copy.deepcopy(self.seed)
        _resolve(exported)
        exported.recompile()
        return exported

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per place, by module path: the weight of each branch."""
        return {
            path: {
                "supernet_branches": {
                    f"branch_{index}": {"alpha": weight}
                    for index, weight in enumerate(module.probabilities().detach().tolist())
                },
                "type": type(module).__name__,
            }
            for path, module in self.named_choices()
        }


def _resolve(module: nn.Module) -> None:
    """Put the best branch of every place, itself resolved, where the place is."""
    for name, child in list(module.named_children()):
        if isinstance(child, SuperNetModule):
            best = child.branches[child.best_index]
            _resolve(best)
            setattr(module, name, _plain(best))
        else:
            _resolve(child)


def _plain(branch: nn.Module) -> nn.Module:
    """A traced branch without its graph, where that is one layer or nothing."""
    if not isinstance(branch, fx.GraphModule):
        return branch
    source, *rest = branch.graph.nodes
    if source.op != "placeholder":
        return branch
    if len(rest) == 1 and rest[0].args == (source,):
        return nn.Identity().train(branch.training)
    if len(rest) == 2 and rest[0].op == "call_module" and rest[0].args == (source,) and not rest[0].kwargs:
        return branch.get_submodule(str(rest[0].target)) if rest[1].args == (rest[0],) else branch
    return branch
