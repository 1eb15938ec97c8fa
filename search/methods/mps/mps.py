# SPDX-License-Identifier: Apache-2.0
"""MPS: how many bits the weights of each layer or channel and each activation get, by gradient, in one training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.quantization.calibrate import Method
from plinio_deploy.quantization.capture import capture
from plinio_deploy.quantization.config import QuantConfig
from plinio_deploy.quantization.graph import Graph
from plinio_deploy.quantization.network import QuantNetwork
from plinio_deploy.quantization.quantizers import InputQuantizer
from plinio_deploy.quantization.simplify import simplify
from plinio_deploy.search.cost.evaluate import LayerUse, NetworkUse, TensorUse
from plinio_deploy.search.cost.params import params_bit
from plinio_deploy.search.cost.spec import Cost, CostSpec
from plinio_deploy.search.graph.layers import LAYERS
from plinio_deploy.search.graph.trace import Leaf, is_choice, matches
from plinio_deploy.search.graph.usage import Call
from plinio_deploy.search.methods.base import DNAS, CostArgument, _to
from plinio_deploy.search.methods.mps.choice import Choice
from plinio_deploy.search.methods.mps.network import MixedNetwork, Widths
from plinio_deploy.search.methods.mps.qinfo import MPSType, QInfo, Space, get_default_qinfo
from plinio_deploy.search.methods.mps.quantizers import MixedLayer
from plinio_deploy.search.methods.mps.sensitivity import rank_precisions
from plinio_deploy.search.methods.mps.settle import settle
from plinio_deploy.search.methods.mps.usage import Usage


class MPS(DNAS):
    """A model whose precisions are searched, quantized while it is.

        mps = MPS(model, cost=params_bit, input_example=x, calibration=loader)
        loss = criterion(mps(x), y) + 1e-6 * mps.cost
        qnet = mps.export()                 # a QuantNetwork: fine-tune it, then integerize(qnet)

    Batch norms are folded, so the model should be trained. In training it runs mixtures of precisions, in eval mode the
    likeliest one everywhere: exactly what the network returned by `export` computes. With one precision everywhere it
    is plain quantization-aware training.

    Alphas are parameters of the search; steps and clips of quantizers are parameters of the network.

    Args:
        model: a float model; it is copied.
        cost: see `DNAS`.
        input_example, input_shape: see `DNAS`.
        w_search_type: one choice for the weights of a layer, or one per output channel.
        qinfo: precisions; see `qinfo`. 8, 4 and 2 bits everywhere by default. 0 bits for weights prune channels; they
            need ``PER_CHANNEL``. A function is called with the captured graph and gives them.
        full_cost: also count layers that are excluded.
        exclude_names: module paths that keep 8 bits; a path stands for all that lies below it.
        exclude_types: the same by type.
        temperature: of the softmax.
        gumbel_softmax: with Gumbel noise.
        hard_softmax: the likeliest precision alone, straight-through.
        disable_sampling: thetas stay what they are.
        disable_shared_quantizers: accepted for PLiNIO's sake; here activations share a quantizer only where the
            integer network needs it (concat), weights never share a choice but for 0 bits of tied channels.
        quantize_output: also search the network's outputs, which have 8 bits otherwise.
        input_range: least and greatest real input, or one such pair per input.
        calibration: batches (tensors, or tuples that start with one) from which clips are chosen; without, the first
            batch that the model is called with is taken.
        calibration_method: see `plinio_deploy.quantization.calibrate.choose_clip`.
        learn_weight_steps: whether the steps of weights are trained.
        narrow_weights: widths of weights whose least code is left out; with 2 among them, 2-bit weights are ternary.

    Raises:
        UsageError: a bad or contradictory setting.
        UnsupportedModel: the model cannot be traced or has no integer form.
    """

    seed: fx.GraphModule

    def __init__(
        self,
        model: nn.Module,
        cost: CostArgument = params_bit,
        input_example: Any | None = None,
        input_shape: Sequence[int] | None = None,
        w_search_type: MPSType = MPSType.PER_LAYER,
        qinfo: QInfo | Callable[[Graph], QInfo] | None = None,
        *,
        full_cost: bool = False,
        exclude_names: Sequence[str] = (),
        exclude_types: Sequence[type[nn.Module]] = (),
        temperature: float = 1.0,
        gumbel_softmax: bool = False,
        hard_softmax: bool = False,
        disable_sampling: bool = False,
        disable_shared_quantizers: bool = False,
        quantize_output: bool = False,
        input_range: tuple[float, float] | tuple[tuple[float, float], ...] = (0.0, 1.0),
        calibration: Iterable[Any] | None = None,
        calibration_method: Method = "mse",
        learn_weight_steps: bool = True,
        narrow_weights: Sequence[int] = (),
    ) -> None:
        del disable_shared_quantizers
        super().__init__(model, cost, input_example, input_shape, full_cost=full_cost)
        _refuse_choices(model)
        # The traced model only says what costs what; the network runs. Its weights must not count as parameters.
        seed = self.seed
        del self._modules["seed"]
        self.__dict__["seed"] = seed.requires_grad_(False)
        self._method: Method = calibration_method
        graph = simplify(capture(model, self._inputs))
        modules = dict(model.named_modules())
        exclude: tuple[Leaf, ...] = (*exclude_names, *exclude_types)
        self._excluded = {
            node.path for node in graph.nodes if matches(node.path, modules.get(node.path, _NOTHING), exclude)
        }
        given = qinfo(graph) if callable(qinfo) else qinfo or get_default_qinfo()
        space = Space(given, {node.path for node in graph.nodes})
        config = QuantConfig(
            input_range=input_range, learn_weight_steps=learn_weight_steps, narrow_weights=tuple(narrow_weights)
        )
        widths = Widths(
            {n.path: (8,) if n.path in self._excluded else space.weights(n.path) for n in graph.nodes},
            {n.path: (8,) if n.path in self._excluded else space.outputs(n.path) for n in graph.nodes},
            space.inputs(),
            w_search_type is MPSType.PER_CHANNEL,
            quantize_output,
        )
        self.network = MixedNetwork(graph, config, widths)
        self.network.to(next((p.device for p in model.parameters()), torch.device("cpu")))
        self.network.train(model.training)
        self._usage: Usage | None = None
        self._once = False
        self.update_softmax_options(temperature, hard_softmax, gumbel_softmax)
        if disable_sampling:
            self.update_softmax_options(disable_sampling=True)
        if calibration is not None:
            self.calibrate(calibration)

    # ------------------------------------------------------------------------------------------ running

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the model; calibrates first if that was not done."""
        if kwargs:
            raise UsageError("a quantized network takes positional arguments", got=", ".join(kwargs))
        if not bool(self.network.calibrated):
            self.calibrate([args])
        return self.network(*args)

    def calibrate(self, batches: Iterable[Any], *, max_batches: int | None = None) -> None:
        """Choose the clips of all activations from what a few batches bring about in float.

        Raises:
            UsageError: no batch, or an input out of ``input_range``.
        """
        kept: list[Any] = []
        for batch in batches:
            if len(kept) == max_batches:
                break
            inputs = self._inputs_of(batch)
            self._check_range(inputs)
            kept.append((inputs,))
        self.network.calibrate(kept, method=self._method)

    def _inputs_of(self, batch: Any) -> tuple[Tensor, ...]:
        """The network's inputs out of a batch: itself, what it starts with, or a tuple that it starts with."""
        items = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        inner = items and isinstance(items[0], tuple | list)
        return tuple(items[0]) if inner else items[: len(self.network.inputs)]

    def correct_biases(self, batch: Any) -> None:
        """Move the means of all layers, as exported now, to where they are without rounding, before a search.

        With norms back, which a search has trained, renew their statistics for the precisions that it has chosen.

        Args:
            batch: one of a few hundred samples, as those of `calibrate`.

        Raises:
            UsageError: the network is not calibrated, or the number of inputs is wrong.
        """
        self.network.correct_biases((self._inputs_of(batch),))

    def restore_norms(self, batch: Any) -> None:
        """Put the batch norms back that the network has folded, for training: few bits train badly without them.

        Call it before optimizers are made; what `export` gives has them too. See `QuantNetwork.restore_norms`.

        Args:
            batch: one of a few hundred samples, as those of `calibrate`.

        Raises:
            UsageError: the network is not calibrated, or the number of inputs is wrong.
        """
        self.network.restore_norms((self._inputs_of(batch),))

    def fold_norms(self) -> None:
        """Fold them again, after training."""
        self.network.fold_norms()

    def rank_precisions(
        self, criterion: Callable[[Tensor, Tensor], Tensor], batches: Iterable[tuple[Any, Tensor]]
    ) -> None:
        """Start the search of weights' precisions from what each costs in loss; see `sensitivity`.

        Call it on a trained model; `settle` may follow at once.

        Args:
            criterion: from (output, target) to the mean loss.
            batches: pairs of input and target; a few hundred samples are enough. Networks of several inputs take a
                tuple of them as the input.

        Raises:
            UsageError: no batch, the network is not calibrated, or the number of inputs is wrong.
        """
        rank_precisions(self.network, criterion, batches)

    def _check_range(self, inputs: Sequence[Tensor]) -> None:
        for index, x in enumerate(inputs):
            low, high = self.network.config.range_of(index)
            least, greatest = float(x.detach().min()), float(x.detach().max())
            slack = 0.02 * (high - low)
            if least < low - slack or greatest > high + slack:
                raise UsageError(
                    "the network's input is out of its range",
                    where=f"input {index}",
                    got=f"{least:.4g} to {greatest:.4g}",
                    expected=f"{low:.4g} to {high:.4g}",
                    hints=("Pass input_range=(low, high).",),
                )

    def update_softmax_options(
        self,
        temperature: float | None = None,
        hard: bool | None = None,
        gumbel: bool | None = None,
        disable_sampling: bool | None = None,
    ) -> None:
        """Change how all precisions are selected; what is not given stays as it is.

        Raises:
            UsageError: the temperature is not positive.
        """
        for choice in self.network.choices():
            choice.update_softmax_options(temperature, hard, gumbel, disable_sampling)

    def _nas_ids(self) -> set[int]:
        return {id(module.alpha) for module in self.modules() if isinstance(module, Choice)}

    # ------------------------------------------------------------------------------------------ cost

    def example_shapes(self) -> Any:
        """See `DNAS`; the traced model stays where the user's model was."""
        from plinio_deploy.search.graph.shapes import shapes

        device = next((p.device for p in self.seed.parameters()), torch.device("cpu"))
        return shapes(self.seed, [_to(item, device) for item in self._inputs])

    def _counts(self, call: Call) -> bool:
        return self.full_cost or not isinstance(call.module, LAYERS) or call.name not in self._excluded

    def _evaluate(self, spec: Cost) -> Tensor:
        self._once = isinstance(spec, CostSpec) and spec.shared
        try:
            return super()._evaluate(spec)
        finally:
            self._once = False

    def network_use(self, *, steps: bool = True, kinds: Any = None) -> NetworkUse:
        """See `DNAS`."""
        self.network.settle()
        self._usage = Usage(self.network, self._program(), once=self._once)
        try:
            return super().network_use(steps=steps, kinds=kinds)
        finally:
            self._usage = None
            self.network.unsettle()

    def _layer_uses(self, call: Call, thetas: dict[int, Tensor]) -> list[LayerUse]:
        use = self._layer_use(call, thetas)
        assert self._usage is not None
        return self._usage.parts(call, use)

    def _tensor_use(self, call: Call) -> TensorUse:
        assert self._usage is not None
        return self._usage.tensor(call)

    # ------------------------------------------------------------------------------------------ results

    def export(self) -> QuantNetwork:
        """The quantized network of the likeliest precisions, parameters carried over; shares nothing with the search.

        Fine-tune it like any module, then `plinio_deploy.integerize.integerize` it.
        """
        return self.network.discrete()

    def settle(self, limit: float | str, name: str | None = None) -> float:
        """Meet a limit exactly after the search: one price on the bits of all weights, as low as the limit allows.

        Args:
            limit: in the cost's own unit; ``"24 kB"`` and the like; or ``"30 %"`` of the present cost.
            name: which of several costs.

        Returns:
            The cost of the network that `export` gives now, at most the limit.

        Raises:
            UsageError: no choice of precisions meets the limit, or there is no cost of that name.
        """
        training = self.training
        self.eval()
        try:
            cost, most = self._limited(limit, name)
            layers = (layer for layer in self.network.layers.values() if isinstance(layer, MixedLayer))
            return settle(list(dict.fromkeys(layer.choice for layer in layers)), cost, most)
        finally:
            self.train(training)

    def summary(self) -> dict[str, dict[str, Any]]:
        """The likeliest precisions by module path: of inputs, outputs and weights (a tuple where channels differ)."""
        return self._summary(self.network.chosen())

    def _summary(self, config: QuantConfig) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        precision: dict[str, int] = {}
        for node in self.network.nodes:
            chosen = config.layers.get(node.path)
            if isinstance(self.network.quantizer(node.name), InputQuantizer) or not node.inputs:
                precision[node.name] = config.input_bits
            elif chosen is not None and chosen.a_bits is not None and self.network.states_width(node):
                precision[node.name] = chosen.a_bits
            else:
                precision[node.name] = precision[node.inputs[0]]
            if node.path in self._excluded or (node.inputs and not self.network.states_width(node)):
                continue
            entry: dict[str, Any] = {"out_precision": precision[node.name]}
            if node.inputs:
                entry["in_precision"] = precision[node.inputs[0]]
            if chosen is not None and chosen.w_bits is not None and node.name in self.network.layer_of:
                widths = chosen.w_bits
                assert isinstance(widths, tuple)
                entry["w_precision"] = widths[0] if len(set(widths)) == 1 else widths
            found[node.path] = entry
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what follows from the graph."""
        return {**super().__getstate__(), "_usage": None}


_NOTHING = nn.Identity()


def _refuse_choices(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if is_choice(module) or isinstance(module, DNAS):
            raise UnsupportedModel(
                f"MPS of a model with a {type(module).__name__} in it",
                where=path or "the model itself",
                hints=("Search alternatives first, then search the precisions of what export() gives.",),
            )


__all__ = ["MPS"]
