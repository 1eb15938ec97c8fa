# SPDX-License-Identifier: Apache-2.0
"""One place in a network with several candidate blocks, of which the search keeps one."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.search.methods.supernet import linear, merge, mixing, selection

PEEK = 0.25
"""How often a single-path step also looks at a second path, by default."""


class SuperNetModule(selection.Selection):
    """Candidate blocks with one selection logit each; use it like the layer that it stands for.

    While training it computes, with theta = softmax(alpha / temperature):

    - by default the mixture ``sum_i theta_i * branch_i(x)``; branches that are linear run as one convolution
      (:mod:`~plinio_deploy.search.methods.supernet.merge`);
    - with ``gumbel_softmax`` the same with Gumbel noise on alpha, drawn anew at every call;
    - with ``hard_softmax`` the most probable branch alone, with the gradient of the mixture (straight-through);
    - with ``single_path`` one branch drawn with probability theta: nothing else runs, so that a step costs about one
      branch. Every few calls (``peek``) a second drawn branch runs forward only, and the inner product of the output's
      gradient with the difference of the two outputs drives alpha. It is weighted by the inverse of the probability of
      the look, which makes it an unbiased estimate of the straight-through gradient over all paths. (Comparing two
      paths is ProxylessNAS's idea, Cai et al. 2019, arXiv 1812.00332. The output's gradient on the drawn path alone,
      as in GDAS, Dong and Yang 2019, arXiv 1910.04465, says nothing here: before a batch norm it is zero.)

    In eval mode the branch with the largest alpha runs, which is the one that :meth:`export` returns.

    Args:
        supernet_branches: the candidates; all must return one tensor of the same shape.
        gumbel_softmax: add Gumbel noise while training.
        hard_softmax: run as if one branch were chosen, keep the gradient of the mixture.
        single_path: draw one branch per call while training.
        peek: probability, in (0, 1], that a single-path call also looks at a second branch.
        merge_linear: mix linear branches in weight space. Same function up to rounding; off only for comparisons.

    Attributes:
        alpha: selection logits, shape (n,), initially 1/n each.
        temperature: positive scalar tensor (a buffer: it is part of ``state_dict``).

    Raises:
        UsageError: no branch, or ``peek`` out of range.
    """

    def __init__(
        self,
        supernet_branches: Iterable[nn.Module],
        gumbel_softmax: bool = False,
        hard_softmax: bool = False,
        *,
        single_path: bool = False,
        peek: float = PEEK,
        merge_linear: bool = True,
    ) -> None:
        super().__init__(gumbel_softmax=gumbel_softmax, hard_softmax=hard_softmax)
        self.branches = nn.ModuleList(supernet_branches)
        if len(self.branches) == 0:
            raise UsageError("A SuperNetModule needs at least one branch", got="none")
        if not 0 < peek <= 1:
            raise UsageError("The probability of a look at a second path is out of range", got=peek, expected="(0, 1]")
        n = len(self.branches)
        self.alpha = nn.Parameter(torch.full((n,), 1 / n))
        self.single_path = single_path
        self.peek = peek
        self.merge_linear = merge_linear
        self.path = ""  # where the search found this module in the user's model; named in errors
        self._noise: Tensor | None = None  # of the last call, so that theta() and the cost are those of that call
        self._drawn: int | None = None

    def __len__(self) -> int:
        return len(self.branches)

    def __getitem__(self, index: int) -> nn.Module:
        return self.branches[index]

    @property
    def train_selection(self) -> bool:
        """Whether alpha is trained."""
        return self.alpha.requires_grad

    @train_selection.setter
    def train_selection(self, value: bool) -> None:
        self.alpha.requires_grad_(value)

    @property
    def best_index(self) -> int:
        """The branch with the largest alpha; the first of equals."""
        return int(torch.argmax(self.alpha.detach()))

    def probabilities(self) -> Tensor:
        """softmax(alpha / temperature), shape (n,), whatever the mode; no noise."""
        return selection.soft(self.alpha, self.temperature)

    def theta(self) -> Tensor:
        """Weight of every branch in what this module now stands for, shape (n,), with a fresh graph to alpha.

        In eval mode one-hot at the best branch. While training: the mixture's weights (with the noise of the last
        call under Gumbel), one-hot under ``hard_softmax``, and the probabilities of being drawn under
        ``single_path``, so that a cost weighted by theta is the expected one.
        """
        if not self.training:
            return selection.straight_through(self.probabilities(), self.best_index)
        if self.single_path:
            probabilities = self.probabilities()
            if self.hard_softmax and self._drawn is not None:
                return selection.straight_through(probabilities, self._drawn)
            return probabilities
        noise = self._noise if self.gumbel_softmax else None
        theta = selection.soft(self.alpha, self.temperature, None if noise is None else noise.to(self.alpha))
        return selection.straight_through(theta, int(torch.argmax(theta.detach()))) if self.hard_softmax else theta

    def update_softmax_options(
        self,
        temperature: float | None = None,
        hard: bool | None = None,
        gumbel: bool | None = None,
        single_path: bool | None = None,
    ) -> None:
        """Change how paths are selected; what is not given stays as it is.

        Raises:
            UsageError: the temperature is not positive.
        """
        self.set_softmax(temperature, hard, gumbel)
        if single_path is not None:
            self.single_path = single_path

    def export(self) -> nn.Module:
        """A copy of the branch with the largest alpha, with every value that it has."""
        return copy.deepcopy(self.branches[self.best_index])

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Run the paths that the mode asks for; inputs go to the branches as they are."""
        if not self.training or len(self.branches) == 1:
            return self._run(self.best_index, inputs, named)
        if self.single_path:
            return self._run_drawn(inputs, named)
        if self.gumbel_softmax:
            self._noise = selection.gumbel_noise(self.alpha)
        theta = self.theta()
        chosen = int(torch.argmax(theta.detach())) if self.hard_softmax else None
        if chosen is not None and not theta.requires_grad:
            return self._run(chosen, inputs, named)
        return self._run_all(theta, chosen, inputs, named)

    def extra_repr(self) -> str:
        """Options and the current weights."""
        flags = [name for name in ("gumbel_softmax", "hard_softmax", "single_path") if getattr(self, name)]
        theta = ", ".join(f"{value:.3g}" for value in self.probabilities().detach().tolist())
        return ", ".join([*flags, f"temperature={float(self.temperature):.3g}", f"theta=[{theta}]"])

    def _run(self, index: int, inputs: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        output: Tensor = self.branches[index](*inputs, **named)
        return output

    def _run_drawn(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        probabilities = self.probabilities()
        self._drawn, _ = selection.draw(probabilities)
        output = self._run(self._drawn, inputs, named)
        if not probabilities.requires_grad or not torch.is_grad_enabled():
            return output
        # With the weights frozen nothing else may carry a gradient: then look always, so that backward has a way to go.
        peek = self.peek if output.requires_grad else 1.0
        if float(torch.rand(())) >= peek:
            return output
        other, chance = selection.draw(probabilities, other_than=self._drawn)
        with torch.no_grad():
            seen = self._run(other, inputs, named)
        self._check([output, seen], [self._drawn, other])
        return mixing.compare(output, seen, probabilities[other] / (chance * peek))

    def _run_all(self, theta: Tensor, chosen: int | None, inputs: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        """The mixture; where ``chosen`` is a branch, the others run without a graph of their own."""
        groups, found = self._merged() if len(inputs) == 1 and not named else ((), {})
        base: Tensor | None = None
        outputs: list[Tensor] = []
        sources: list[int] = []
        for group in groups:
            merged = merge.convolve(inputs[0], theta[list(group)], [found[i] for i in group])
            outputs.append(merged)
            sources.append(group[0])
            base = merged if base is None else base + merged
        apart = [i for i in range(len(self.branches)) if not any(i in group for group in groups)]
        for i in apart:
            with torch.set_grad_enabled(torch.is_grad_enabled() and chosen in (None, i)):
                outputs.append(self._run(i, inputs, named))
            sources.append(i)
        self._check(outputs, sources)
        if not apart:
            assert base is not None
            return base
        return mixing.mix(theta[apart], outputs[len(groups) :], base)

    def _merged(self) -> tuple[tuple[tuple[int, ...], ...], dict[int, linear.LinearBranch]]:
        if not self.merge_linear:
            return (), {}
        found = [linear.describe(branch) for branch in self.branches]
        groups = merge.plan(tuple(None if branch is None else branch.geometry for branch in found))
        return groups, {i: branch for i, branch in enumerate(found) if branch is not None}

    def _check(self, outputs: list[Tensor], sources: list[int]) -> None:
        """Refuse outputs of different shapes, which would broadcast."""
        if any(output.shape != outputs[0].shape for output in outputs):
            shapes = ", ".join(f"branch {i}: {tuple(o.shape)}" for i, o in zip(sources, outputs, strict=True))
            raise UnsupportedModel(
                "The branches of a SuperNetModule return different shapes",
                where=self.path or None,
                got=shapes,
                expected="one shape",
                hints=["Give every branch the same stride, padding that keeps the size, and output channels."],
            )
