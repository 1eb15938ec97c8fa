# SPDX-License-Identifier: Apache-2.0
"""What all search methods have in common: one traced copy of the user's model, its cost, and two sets of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost.evaluate import Choice, LayerUse, NetworkUse, Number, TensorUse, evaluate
from plinio_deploy.search.cost.liveness import GraphOp, live_steps
from plinio_deploy.search.cost.spec import Cost, CostSpec
from plinio_deploy.search.feasibility import read_cost
from plinio_deploy.search.graph.layers import LAYERS
from plinio_deploy.search.graph.shapes import Shapes, shapes
from plinio_deploy.search.graph.trace import Leaf, is_choice, is_torch_layer, trace
from plinio_deploy.search.graph.usage import Call, Program, program
from plinio_deploy.search.units import parse, unit_of

CostArgument: TypeAlias = "Cost | Mapping[str, Cost]"


class DNAS(nn.Module):
    """A model made searchable; the user's own model is copied and stays as it is.

    In eval mode a searched model computes exactly what the network returned by `export` computes.

    Args:
        model: the model to search.
        cost: one cost (then `cost` gives its value) or several by name (then `get_cost(name)` does).
        input_example: what ``forward`` is called with: a tensor or a tuple of arguments.
        input_shape: shape of one input without the batch axis, instead of an example.
        full_cost: also count layers that are not searched.
        leaves: module paths or types that are kept whole and not looked into.

    Raises:
        UsageError: no example and no shape, or a shape that is none.
        UnsupportedModel: the model cannot be traced; says where and what to do.
    """

    def __init__(
        self,
        model: nn.Module,
        cost: CostArgument,
        input_example: Any | None = None,
        input_shape: Sequence[int] | None = None,
        *,
        full_cost: bool = False,
        leaves: Sequence[Leaf] = (),
    ) -> None:
        super().__init__()
        self.full_cost = full_cost
        self._cost: CostArgument = cost
        self._inputs = _example(model, input_example, input_shape)
        own = copy.deepcopy(model)
        if is_torch_layer(own) or is_choice(own):
            own = nn.Sequential(own).train(model.training)
        self.seed: fx.GraphModule = trace(own, self._inputs, leaves)
        self.training = model.training
        for path, module in self.seed.named_modules():
            if is_choice(module):
                holder: Any = module
                holder.path = path  # for its own messages
        self._paused: dict[str, bool] = {}
        self._plan: Program | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the model."""
        return self.seed(*args, **kwargs)

    # ---------------------------------------------------------------------------------------------- cost

    @property
    def cost_specification(self) -> CostArgument:
        """The cost or costs, exchangeable at any time."""
        return self._cost

    @cost_specification.setter
    def cost_specification(self, cost: CostArgument) -> None:
        self._cost = cost

    @property
    def cost(self) -> Tensor:
        """The value of the one cost, differentiable, computed anew each time."""
        if isinstance(self._cost, Mapping):
            raise UsageError(
                "this model was given several costs", got=", ".join(self._cost), hints=("Call get_cost(name).",)
            )
        return self._evaluate(self._cost)

    def get_cost(self, name: str | None = None) -> Tensor:
        """The value of the cost of that name (of the only one without a name), computed anew each time.

        Raises:
            UsageError: there is no cost of that name.
        """
        if name is None:
            return self.cost
        if not isinstance(self._cost, Mapping):
            raise UsageError("this model was given one cost without a name", got=name, hints=("Read .cost.",))
        if name not in self._cost:
            raise UsageError("no cost of that name", got=name, expected="one of " + ", ".join(self._cost))
        return self._evaluate(self._cost[name])

    def _limited(self, limit: float | str, name: str | None) -> tuple[Callable[[], float], float]:
        """A cost as it stands, to be called, and a limit on it in its own unit; percentages are of the present cost.

        Raises:
            UsageError: there is no cost of that name, or the limit is none.
        """

        def cost() -> float:
            return float(read_cost(self, name).detach())

        present = cost()
        spec = self._cost[name or ""] if isinstance(self._cost, Mapping) else self._cost
        return cost, parse(limit, present, unit_of(spec))

    def _evaluate(self, spec: Cost) -> Tensor:
        if not isinstance(spec, CostSpec):
            return evaluate(spec, self.network_use()).to(self._device())
        kinds = {call.kind for call in self._program().calls if call.kind is not None}
        priced = {kind for kind in kinds if any(issubclass(kind, pattern.kind) for pattern in spec)}
        use = self.network_use(steps=False, kinds=priced if spec.default_behavior == "zero" else kinds)
        return evaluate(spec, use).to(self._device())

    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    def network_use(self, *, steps: bool = True, kinds: Collection[type] | None = None) -> NetworkUse:
        """What the network as it stands computes, with tensors for all that is searched.

        Args:
            steps: also say what lies in memory at each step; only costs of the whole network need it.
            kinds: leave out uses of other kinds; all are there by default.
        """
        plan = self._program()
        thetas: dict[int, Tensor] = {}
        layers = [
            use
            for call in plan.calls
            if call.kind is not None and (kinds is None or call.kind in kinds) and self._counts(call)
            for use in self._layer_uses(call, thetas)
        ]
        if not steps:
            return NetworkUse(tuple(layers))
        inputs = [TensorUse(name, elements, outside=True) for name, elements in plan.inputs]
        ops = []
        for call in plan.calls:
            path = tuple(
                Choice(item.path, item.branch, _theta(item.choice, thetas)[item.branch]) for item in call.segments
            )
            ops.append(GraphOp(call.name, call.reads, self._tensor_use(call), call.form, path))
        return NetworkUse(tuple(layers), live_steps(inputs, ops, plan.outputs))

    def _layer_uses(self, call: Call, thetas: dict[int, Tensor]) -> list[LayerUse]:
        """The uses that a call stands for: one, or one per part where its channels differ in precision."""
        return [self._layer_use(call, thetas)]

    def _layer_use(self, call: Call, thetas: dict[int, Tensor]) -> LayerUse:
        weight: Number = 1.0
        for item in call.segments:
            weight = weight * _theta(item.choice, thetas)[item.branch]
        shapes_of = {"input_shape": (1, *call.input_shape[1:]), "output_shape": (1, *call.output_shape[1:])}
        assert call.kind is not None
        if call.module is None or not isinstance(call.module, LAYERS):
            spec = {**shapes_of, **call.extra, "elements": self._elements(call), "inputs": len(call.reads)}
            own = {} if call.module is None else vars(call.module)
            return LayerUse(
                call.name, call.kind, {**own, **spec}, weight, 0 if call.module is None else id(call.module)
            )
        static = {**vars(call.module), "bias": call.module.bias is not None, **shapes_of}
        spec = {**static, **self.effective(call.module)}
        return LayerUse(call.name, call.kind, spec, weight, id(call.module), static)

    def _program(self) -> Program:
        if self._plan is None:
            self._plan = self.make_program()
        return self._plan

    def example_shapes(self) -> Shapes:
        """Shapes of all nodes of the seed on the example input."""
        device = self._device()
        return shapes(self.seed, [_to(item, device) for item in self._inputs])

    # Hooks of the methods ---------------------------------------------------------------------------

    def make_program(self) -> Program:
        """The calls of the seed; methods that analyse channels pass what they found."""
        return program(self.seed, self.example_shapes())

    def _counts(self, call: Call) -> bool:
        """Does this call count in the cost? By default everything, or only what lies in alternatives."""
        return self.full_cost or bool(call.segments)

    def effective(self, module: nn.Module) -> dict[str, Any]:
        """Attributes of a layer that are searched, as tensors, under the names the layer has for them."""
        del module
        return {}

    def _elements(self, call: Call) -> Number:
        """Elements of a call's output for one sample, differentiable where channels are searched."""
        return call.elements

    def _tensor_use(self, call: Call) -> TensorUse:
        """What a call writes."""
        return TensorUse(call.writes, self._elements(call))

    def export(self) -> nn.Module:
        """The network that the search has found, as a plain module of its own."""
        raise NotImplementedError

    def summary(self) -> dict[str, dict[str, Any]]:
        """What is chosen, by module path."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------- parameters

    def named_nas_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters of the search, each once."""
        own = self._nas_ids()
        for name, parameter in self.named_parameters(prefix, recurse):
            if id(parameter) in own:
                yield name, parameter

    def named_net_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, nn.Parameter]]:
        """Weights of the network, each once: all parameters that are not the search's."""
        own = self._nas_ids()
        for name, parameter in self.named_parameters(prefix, recurse):
            if id(parameter) not in own:
                yield name, parameter

    def nas_parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As `named_nas_parameters`, without names."""
        yield from (parameter for _, parameter in self.named_nas_parameters("", recurse))

    def net_parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As `named_net_parameters`, without names."""
        yield from (parameter for _, parameter in self.named_net_parameters("", recurse))

    def _nas_ids(self) -> set[int]:
        """Identities of the parameters of the search: by default, of the alternatives' alphas."""
        return {id(module.alpha) for module in self.modules() if is_choice(module)}

    def train_nas_only(self) -> None:
        """Train the search's parameters; weights rest. What you had frozen yourself stays frozen."""
        self._pause(self.named_net_parameters())
        self._resume(self.named_nas_parameters())

    def train_net_only(self) -> None:
        """Train the weights; the search's parameters rest. What you had frozen yourself stays frozen."""
        self._pause(self.named_nas_parameters())
        self._resume(self.named_net_parameters())

    def train_net_and_nas(self) -> None:
        """Train both. What you had frozen yourself stays frozen."""
        self._resume(self.named_parameters())

    def _pause(self, parameters: Iterator[tuple[str, nn.Parameter]]) -> None:
        for name, parameter in list(parameters):
            self._paused.setdefault(name, parameter.requires_grad)
            parameter.requires_grad_(False)

    def _resume(self, parameters: Iterator[tuple[str, nn.Parameter]]) -> None:
        for name, parameter in list(parameters):
            if name in self._paused:
                parameter.requires_grad_(self._paused.pop(name) or parameter.requires_grad)

    # ---------------------------------------------------------------------------------------------- copies

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what follows from the graph; nodes of a graph have no identity across copies."""
        return {**self.__dict__, "_plan": None}

    def __str__(self) -> str:
        lines = [f"{type(self).__name__} of {type(self.seed).__name__}"]
        for path, chosen in self.summary().items():
            lines.append(f"  {path}: " + ", ".join(f"{key}={value}" for key, value in chosen.items()))
        return "\n".join(lines)


def _theta(choice: nn.Module, known: dict[int, Tensor]) -> Tensor:
    if id(choice) not in known:
        known[id(choice)] = choice.theta()  # type: ignore[operator]
    return known[id(choice)]


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _example(model: nn.Module, example: Any | None, shape: Sequence[int] | None) -> tuple[Any, ...]:
    """Arguments for ``forward``: the example, or one random sample of the shape on the model's device."""
    if example is not None:
        return tuple(example) if isinstance(example, tuple | list) else (example,)
    if shape is None:
        raise UsageError(
            "a search needs to know the model's input",
            expected="input_example (a tensor or a tuple of arguments) or input_shape (without the batch axis)",
        )
    if not isinstance(shape, tuple | list | torch.Size) or not all(
        isinstance(size, int) and size > 0 for size in shape
    ):
        raise UsageError("input_shape must be a tuple of positive sizes, without the batch axis", got=shape)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return (torch.rand((1, *shape), device=device),)
