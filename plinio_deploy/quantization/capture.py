# SPDX-License-Identifier: Apache-2.0
"""From a PyTorch model to the captured graph: the one file that knows `torch.export`.

The model is exported in eval mode, not decomposed, from a deep copy; the caller's model is never touched. What each
ATen operator means is in `plinio_deploy.quantization.aten`. Here live the things around it: parameters and constants
(an expression of parameters alone, such as weight normalisation, is evaluated), in-place operators, names, source
lines, and the operators at the end that are left to the host.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import operator
import re
import sys
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization import aten
from plinio_deploy.quantization.calls import Call, Constant, Finish, Reference, Result, unsupported
from plinio_deploy.quantization.graph import Conv, Graph, Input, Linear, Node, Parameters, PostProcess, Where

BATCH = 2
"""Samples in the exported example: more than one, so that a model which mixes samples shows it."""

_CHECKS = ("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size")
"""Operators that only check something and have no result."""

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TORCH_FOLDER = str(Path(torch.__file__).resolve().parent)


def capture(model: nn.Module, example_input: Tensor | Sequence[Tensor]) -> Graph:
    """Capture what a model computes in eval mode.

    Args:
        model: any model whose ``forward`` takes tensors and returns a tensor, or a tuple or list of them.
        example_input: one tensor, or one per argument, each ``(N, ...)`` with any ``N >= 1``; only shapes matter.

    Returns:
        The graph, with detached copies of the parameters.

    Raises:
        UnsupportedModel: the model cannot be exported, or holds an operator without an integer form; names the module
            and the source line.
    """
    examples = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    batch = tuple(torch.zeros((BATCH, *example.shape[1:])) for example in examples)
    program = _export(model, batch)
    with torch.no_grad():
        return _Capture(program).run()


def _export(model: nn.Module, batch: tuple[Tensor, ...]) -> ExportedProgram:
    try:
        frozen = copy.deepcopy(model).cpu().float().eval()
        with _quiet():
            return torch.export.export(frozen, batch)
    except Exception as error:  # torch.export raises many unrelated types
        reason = str(error).strip().split("\n")[0]
        raise UnsupportedModel(
            "the model cannot be captured by torch.export",
            where=type(model).__name__,
            got=f"{type(error).__name__}: {reason}",
            expected="a forward() of tensor operators only, for any batch size",
            hints=(
                "Check the example input's shape: " + ", ".join(str(tuple(b.shape)) for b in batch) + " was used.",
                "Replace control flow that depends on tensor values, and hard-coded batch sizes, by tensor operators.",
            ),
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch says: of slow paths that only its own kernels take, and of a failure before it raises.

    Where it fails it prints the graph as far as it got, past all logging. What the model itself prints is let through.
    """
    printed, unfinished, before = io.StringIO(), "", logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(printed):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        graph = getattr(error, "partial_fx_graph", None)
        unfinished = "" if graph is None else f"{graph}\n"
        raise
    finally:
        logging.disable(before)
        text = printed.getvalue()
        sys.stderr.write(text.replace(unfinished, "") if unfinished else text)


@dataclass
class _Slot:
    """What an exported value is now: a node's result, a constant, or the end of the graph. Views share the storage."""

    value: Reference | Constant | Finish
    storage: int


class _Capture:
    """One walk over an exported program."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._nodes: list[Node] = []
        self._slots: dict[torch.fx.Node, _Slot] = {}
        self._parameters: dict[str, Parameters] = {}
        self._names: set[str] = set()

    def run(self) -> Graph:
        inputs: list[str] = []
        output: torch.fx.Node | None = None
        for fx_node in self._program.graph.nodes:
            if fx_node.op == "placeholder":
                self._placeholder(fx_node, inputs)
            elif fx_node.op == "get_attr":
                self._set(fx_node, Constant(_attribute(self._program.graph_module, str(fx_node.target)), fx_node.name))
            elif fx_node.op == "output":
                output = fx_node
            else:
                self._call(fx_node)
        assert output is not None, "every exported graph ends in an output"
        return self._finish(inputs, output)

    def _set(self, fx_node: torch.fx.Node, value: Reference | Constant | Finish, storage: int | None = None) -> None:
        self._slots[fx_node] = _Slot(value, _storage(fx_node) if storage is None else storage)

    def _placeholder(self, fx_node: torch.fx.Node, inputs: list[str]) -> None:
        spec = next(s for s in self._program.graph_signature.input_specs if getattr(s.arg, "name", "") == fx_node.name)
        target = spec.target or fx_node.name
        if spec.kind is InputKind.USER_INPUT:
            name = self._unique("input" if len(self._user_inputs()) == 1 else fx_node.name)
            shape = tuple(fx_node.meta["val"].shape)[1:]
            self._nodes.append(Node(name, Input(len(inputs)), (), shape, name, Where(name, "")))
            inputs.append(name)
            self._set(fx_node, Reference(name, shape))
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            tensor = self._program.state_dict.get(target, self._program.constants.get(target))
            self._set(fx_node, Constant(tensor.detach(), target))
        else:
            constant = self._program.constants[target]
            assert isinstance(constant, Tensor), "only tensors are constants of a model of tensors"
            self._set(fx_node, Constant(constant, target))

    def _user_inputs(self) -> list[object]:
        return [s for s in self._program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]

    def _call(self, fx_node: torch.fx.Node) -> None:
        if fx_node.target is operator.getitem:
            self._getitem(fx_node)
            return
        if _operator_name(fx_node.target)[0] in _CHECKS:
            return
        where = _where(fx_node)
        call = self._bind(fx_node, where)
        if not any(isinstance(slot.value, Reference | Finish) for slot in self._operands(fx_node)):
            self._constant(fx_node)
            return
        result = aten.translate(call)
        self._store(fx_node, call, result)

    def _operands(self, fx_node: torch.fx.Node) -> list[_Slot]:
        return [self._slots[used] for used in fx_node.all_input_nodes if used in self._slots]

    def _bind(self, fx_node: torch.fx.Node, where: Where) -> Call:
        """Arguments by name, from the operator's schema, with defaults filled in and exported values looked up."""
        name, overload = _operator_name(fx_node.target)
        values: dict[str, Any] = {}
        schema = getattr(fx_node.target, "_schema", None)
        for position, argument in enumerate(schema.arguments if schema is not None else ()):
            if position < len(fx_node.args):
                raw = fx_node.args[position]
            elif argument.name in fx_node.kwargs:
                raw = fx_node.kwargs[argument.name]
            else:
                raw = argument.default_value if argument.has_default_value() else None
            values[argument.name] = self._look_up(raw)
        value = fx_node.meta.get("val")
        if isinstance(value, tuple | list):  # pooling with indices
            value = value[0]
        shape = tuple(value.shape) if isinstance(value, Tensor) else None
        inplace = name.endswith("_") and not name.endswith("__")
        return Call(name.rstrip("_") if inplace else name, overload, values, shape, where, inplace)

    def _look_up(self, raw: Any) -> Any:
        """An argument with every exported value replaced by what it is now."""
        if isinstance(raw, torch.fx.Node):
            return self._slots[raw].value
        if isinstance(raw, list | tuple):
            return [self._look_up(item) for item in raw]
        return raw

    def _constant(self, fx_node: torch.fx.Node) -> None:
        """Evaluate an expression of parameters and constants."""

        def tensor(used: torch.fx.Node) -> Any:
            value = self._slots[used].value
            return value.tensor if isinstance(value, Constant) else value

        function: Callable[..., Any] = fx_node.target  # type: ignore[assignment]
        result = function(*torch.fx.map_arg(fx_node.args, tensor), **torch.fx.map_arg(fx_node.kwargs, tensor))
        keys = [s.value.key for s in self._operands(fx_node) if isinstance(s.value, Constant)]
        self._set(fx_node, Constant(result, f"{_operator_name(fx_node.target)[0]}({','.join(keys)})"))

    def _getitem(self, fx_node: torch.fx.Node) -> None:
        source, index = fx_node.args
        assert isinstance(source, torch.fx.Node)
        slot = self._slots[source]
        if isinstance(slot.value, Constant):
            self._set(fx_node, Constant(slot.value.tensor[index], f"{slot.value.key}[{index}]"))  # type: ignore[index]
        elif index == 0:
            self._set(fx_node, slot.value, slot.storage)
        elif fx_node.users:
            raise unsupported("the indices of a max-pooling", "its values", _where(fx_node))

    def _store(self, fx_node: torch.fx.Node, call: Call, result: Result) -> None:
        first = fx_node.all_input_nodes[0]
        if isinstance(result, Reference | Finish):
            # In eval mode dropout hands on its input itself, which the exporter's shape-only run does not show.
            storage = self._slots[first].storage if "dropout" in call.name else None
            self._set(fx_node, result, storage)
            return
        path = _path(fx_node, call)
        name = self._unique(identifier(path))
        assert call.shape is not None
        reference = Reference(name, call.shape[1:])
        self._nodes.append(Node(name, result.operator, result.inputs, reference.shape, path, call.where))
        if result.parameters is not None:
            assert isinstance(result.operator, Conv | Linear)
            self._parameters.setdefault(result.operator.parameters, result.parameters)
        if call.inplace:
            self._overwrite(fx_node, self._slots[first], reference, call)
        self._set(fx_node, reference)

    def _overwrite(self, fx_node: torch.fx.Node, old: _Slot, new: Reference, call: Call) -> None:
        """An in-place operator: whatever was the same tensor under another name is the new value from here on."""
        before = old.value
        for other, slot in self._slots.items():
            if slot.storage != old.storage:
                continue
            if slot.value == before:
                slot.value = new
            elif any(user not in self._slots and user is not fx_node for user in other.users):
                got = f"in-place {call.name} of a tensor that has a view which is read later"
                raise unsupported(got, "the operator that is not in place", call.where)

    def _unique(self, wanted: str) -> str:
        name = free_name(wanted, self._names)
        self._names.add(name)
        return name

    def _finish(self, inputs: Sequence[str], output: torch.fx.Node) -> Graph:
        specs = self._program.graph_signature.output_specs
        returned = list(output.args[0])  # type: ignore[arg-type]
        users = [value for value, spec in zip(returned, specs, strict=True) if spec.kind.name == "USER_OUTPUT"]
        names: list[str] = []
        post: list[PostProcess] = []
        for index, fx_node in enumerate(users):
            value = self._slots[fx_node].value if isinstance(fx_node, torch.fx.Node) else None
            if isinstance(value, Finish):
                post.append(PostProcess(index, value.kind, value.dim, value.keepdim))
                value = value.source
            if not isinstance(value, Reference):
                raise UnsupportedModel(
                    "an output of the model does not depend on its input",
                    where=f"output {index}",
                    hints=("Return only tensors that the input influences.",),
                )
            names.append(value.name)
        return Graph(
            tuple(self._nodes), tuple(inputs), tuple(names), self._parameters, tuple(post), _is_leaf(self._program)
        )


def _is_leaf(program: ExportedProgram) -> bool:
    """Whether the model returns a bare tensor."""
    spec = program.call_spec.out_spec
    return spec is not None and bool(spec.is_leaf())


def _storage(fx_node: torch.fx.Node) -> int:
    """Identity of the memory that torch would give this value: equal for a tensor and its views."""
    value = fx_node.meta.get("val")
    if not isinstance(value, Tensor):
        return id(fx_node)
    return int(value.untyped_storage()._cdata)  # noqa: SLF001 - no public name for it


def _attribute(module: nn.Module, path: str) -> Tensor:
    value: Any = module
    for part in path.split("."):
        value = getattr(value, part)
    tensor: Tensor = value.detach()
    return tensor


def _operator_name(target: object) -> tuple[str, str]:
    """``("conv2d", "padding")`` for ``aten.conv2d.padding``."""
    parts = str(target).split(".")
    if len(parts) == 3 and parts[0] == "aten":
        return parts[1], parts[2]
    return str(getattr(target, "__name__", target)), ""


def _where(fx_node: torch.fx.Node) -> Where:
    stack = fx_node.meta.get("nn_module_stack") or {}
    module = list(stack.values())[-1][0] if stack else ""
    source = ""
    for path, line in _FRAME.findall(fx_node.meta.get("stack_trace") or ""):
        if not str(Path(path).resolve()).startswith(_TORCH_FOLDER):
            source = f"{path}:{line}"
    return Where(module, source)


def identifier(path: str) -> str:
    """A C identifier for a module path: dots become underscores, a leading digit gets a letter in front."""
    cleaned = re.sub(r"\W", "_", path, flags=re.ASCII)
    return cleaned if cleaned[:1].isalpha() else f"layer{cleaned}" if cleaned.startswith("_") else f"layer_{cleaned}"


def free_name(wanted: str, taken: Container[str]) -> str:
    """A name that is not taken: the wanted one, or the first of ``wanted_2``, ``wanted_3`` and so on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _path(fx_node: torch.fx.Node, call: Call) -> str:
    """The module's path if it is one of torch's own layers, else the operator's name below the module's path."""
    stack = list((fx_node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return call.name
    path, kind = stack[-1]
    kind_name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    if path and kind_name.startswith("torch.nn."):
        return str(path)
    return f"{path}.{call.name}" if path else call.name
