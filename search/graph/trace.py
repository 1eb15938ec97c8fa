# SPDX-License-Identifier: Apache-2.0
"""From an ``nn.Module`` to a ``torch.fx`` graph whose nodes know their place in the user's code.

Leaves of the trace are the layers of ``torch.nn`` (and sub-classes that keep the layer's ``forward``), modules that
offer alternatives (``SuperNetModule``: anything with ``branches`` and ``theta``), and whatever the user marks. The
example input runs alongside the trace, so that questions about shapes (``if x.shape[1] == 3``, ``for part in
x.chunk(2)``, ``len``) have an answer; questions about *values* have none and are refused.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn

from plinio_deploy.errors import UnsupportedModel

Leaf = str | type[nn.Module]

_SHAPE_METHODS = {"size", "dim", "ndimension", "numel", "nelement", "is_floating_point", "element_size", "stride"}
_SHAPE_ATTRIBUTES = {"shape", "ndim", "dtype", "device", "is_cuda", "requires_grad"}
_TORCH_MODULES = ("torch.nn", "torch.ao.nn")


def is_choice(module: nn.Module) -> bool:
    """Does the module hold alternative branches with weights ``theta()`` (a ``SuperNetModule``)?"""
    return isinstance(getattr(module, "branches", None), nn.ModuleList) and callable(getattr(module, "theta", None))


def is_torch_layer(module: nn.Module) -> bool:
    """Is the module a layer of ``torch.nn``, or a sub-class that computes the same or says that it stands for it?"""
    if getattr(type(module), "stands_for_base", False):
        return True
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict | fx.GraphModule):
        return False
    for base in type(module).__mro__:
        if base is nn.Module:
            return False
        if base.__module__.startswith(_TORCH_MODULES):
            return type(module).forward is base.forward  # type: ignore[attr-defined]
    return False


def matches(path: str, module: nn.Module, marks: Sequence[Leaf]) -> bool:
    """Is the module named, or of a type named, in ``marks``? A path also matches what lies below it."""
    for mark in marks:
        if isinstance(mark, str):
            if path == mark or path.startswith(mark + "."):
                return True
        elif isinstance(module, mark):
            return True
    return False


def place(node: fx.Node) -> str:
    """Where a node stems from, for messages: ``module.path (file.py:12)``, as far as it is known."""
    path = node.meta.get("module_path") or (node.target if node.op == "call_module" else "")
    line = node.meta.get("source_line", "")
    if path and line:
        return f"{path} ({line})"
    return str(path or line or node.name)


def spelled(node: fx.Node) -> str:
    """The operation of a node in words a user knows: ``x.view``, ``torch.add``, ``module Conv2d``."""
    if node.op == "call_method":
        return f"x.{node.target}"
    if node.op == "call_function":
        module = getattr(node.target, "__module__", "") or ""
        name = getattr(node.target, "__name__", str(node.target))
        return (
            f"{module.replace('_operator', 'operator').replace('torch._C._nn', 'torch.nn.functional')}.{name}".lstrip(
                "."
            )
        )
    return f"{node.op} {node.target}"


def unsupported(node: fx.Node, what: str, *, got: object = None, hints: Sequence[str] = ()) -> UnsupportedModel:
    """The error for a node that cannot be handled; names the module path, the source line and what to do."""
    return UnsupportedModel(what, where=place(node), got=got if got is not None else spelled(node), hints=hints)


class _Proxy(fx.Proxy):
    """A proxy that answers questions about shapes from the example that runs alongside."""

    tracer: _Tracer  # pyright: ignore[reportIncompatibleVariableOverride]

    def __getattr__(self, k: str) -> Any:
        if k in _SHAPE_ATTRIBUTES:  # at once, so that what comes out answers questions too
            return self.tracer.create_proxy("call_function", getattr, (self, k), {})
        return super().__getattr__(k)

    def __len__(self) -> int:
        return len(self.tracer.static(self, "len()"))

    def __index__(self) -> int:
        return operator.index(self.tracer.static(self, "an index"))

    def __int__(self) -> int:
        return int(self.tracer.static(self, "int()"))

    def __float__(self) -> float:
        return float(self.tracer.static(self, "float()"))


class _Tracer(fx.Tracer):
    def __init__(self, inputs: Sequence[Any], leaves: Sequence[Leaf]) -> None:
        super().__init__()
        self.inputs = list(inputs)
        self.leaves = leaves
        self.values: dict[fx.Node, Any] = {}
        self.fixed: set[fx.Node] = set()  # nodes whose value follows from shapes alone
        self.choices: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {}
        self._evaluating = False
        self._model: nn.Module | None = None

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        self._model = root
        return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_choice(m) or is_torch_layer(m) or matches(module_qualified_name, m, self.leaves)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._evaluating:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._evaluating:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any | None = None,
        proxy_factory_fn: Callable[[fx.Node], fx.Proxy] | None = None,
    ) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)
        node = proxy.node
        node.meta["module_path"] = self.scope.module_path if kind != "call_module" else str(target)
        node.meta["source_line"] = _user_line()
        self._evaluate(node)
        return proxy

    def _evaluate(self, node: fx.Node) -> None:
        assert self._model is not None
        self._evaluating = True
        try:
            args = fx.map_arg(node.args, self._value)
            kwargs = fx.map_arg(node.kwargs, self._value)
            if node.op == "placeholder":
                value = self.inputs.pop(0) if self.inputs else (node.args[0] if node.args else None)
            elif node.op == "call_module":
                module = self._model.get_submodule(str(node.target))
                if is_choice(module):
                    self.choices.setdefault(str(node.target), (module, args))
                value = module.forward(*args, **kwargs)
            else:
                value = evaluate(self._model, node, args, kwargs)
        except UnsupportedModel:
            raise
        except Exception as error:
            raise unsupported(
                node,
                f"the model failed on the example input: {error}",
                hints=("Call the model itself on the example input; it must run before it can be searched.",),
            ) from error
        finally:
            self._evaluating = False
        self.values[node] = value
        if _is_static(node, value, self.fixed):
            self.fixed.add(node)

    def _value(self, node: fx.Node) -> Any:
        if node not in self.values and node.op == "get_attr":  # buffers get their nodes when they are first an argument
            assert self._model is not None
            self.values[node] = evaluate(self._model, node, (), {})
        return self.values[node]

    def static(self, proxy: fx.Proxy, use: str) -> Any:
        """The value of a proxy that follows from shapes alone; refuses one that depends on the data."""
        if proxy.node not in self.fixed:
            raise unsupported(
                proxy.node,
                f"the model uses {use} of a value that depends on the data, so its graph differs from input to input",
                hints=(
                    "Replace the condition by tensor operations (torch.where, masks).",
                    "Or mark the module around it as a leaf: leaves=('its.path',); what flows into it then stays.",
                ),
            )
        return self.values[proxy.node]

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.static(obj, "the truth"))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        value = self.values[obj.node]
        if isinstance(value, tuple | list):
            return iter([obj[i] for i in range(len(value))])  # type: ignore[index]
        if isinstance(value, Tensor):
            return iter([obj[i] for i in range(value.shape[0])])  # type: ignore[index]
        return iter(self.static(obj, "the elements"))


def _user_line() -> str:
    """``file.py:12`` of the innermost frame that is neither PyTorch's nor ours."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the public inspect.stack reads every source file on the way
    while frame is not None:
        file = frame.f_code.co_filename
        if "/torch/" not in file and file != __file__ and not file.startswith("<"):
            return f"{file.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _is_static(node: fx.Node, value: Any, fixed: set[fx.Node]) -> bool:
    if isinstance(value, Tensor):
        return False
    if node.op == "placeholder":
        return True
    if node.op == "call_method" and node.target in _SHAPE_METHODS:
        return True
    if node.op == "call_function" and node.target is getattr and node.args[1] in _SHAPE_ATTRIBUTES:
        return True
    if isinstance(value, tuple | list) and value and all(isinstance(item, Tensor) for item in value):
        return True
    return node.op == "call_function" and all(source in fixed for source in node.all_input_nodes)


def evaluate(root: nn.Module, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """What a node that is neither placeholder, module nor output computes from its evaluated arguments."""
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(root)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def trace(model: nn.Module, inputs: Sequence[Any], leaves: Sequence[Leaf] = ()) -> fx.GraphModule:
    """Trace a model into a ``GraphModule`` that shares its modules; ``SuperNetModule``s get their branches traced too.

    Args:
        model: the model, in the mode (train or eval) to trace; alternatives inside it have their branches replaced
            by graph modules in place, so hand over a copy.
        inputs: example arguments of ``forward``, on the model's device.
        leaves: module paths or types that are kept whole.

    Raises:
        UnsupportedModel: the model decides by the data, or does not run on the example.
    """
    tracer = _Tracer(inputs, leaves)
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            graph = tracer.trace(model)
            for path, (choice, args) in tracer.choices.items():
                _trace_branches(choice, path, args, leaves)
    except UnsupportedModel:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"the model cannot be traced: {error}",
            where=_error_line(error),
            hints=("Mark the module around that line as a leaf: leaves=('its.path',).",),
        ) from error
    finally:
        for module, flag in flags.items():
            module.training = flag
    _free_dropout(model, graph)
    for node in graph.nodes:
        node.type = None  # where annotations are kept as text, a graph with them could not be pickled
    graph._tracer_cls = None  # noqa: SLF001 - else unpickling would call our tracer, which needs an example
    traced = fx.GraphModule(model, graph, type(model).__name__)
    traced.training = flags[model]
    for path, module in traced.named_modules():
        if module not in flags:  # containers that GraphModule made anew
            module.training = flags.get(_submodule(model, path), flags[model])
    return traced


def _submodule(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return model


def _trace_branches(choice: nn.Module, path: str, args: tuple[Any, ...], leaves: Sequence[Leaf]) -> None:
    branches = choice.branches
    assert isinstance(branches, nn.ModuleList)
    for index, branch in enumerate(branches):
        if isinstance(branch, fx.GraphModule):
            continue
        prefix = f"{path}.branches.{index}"
        own = [
            mark[len(prefix) + 1 :] if isinstance(mark, str) and mark.startswith(prefix + ".") else mark
            for mark in leaves
        ]
        if is_torch_layer(branch) and len(args) == 1:
            branch(*args)  # must run on the example
            branches[index] = _one_layer(branch)
            continue
        wrapped = branch if not is_torch_layer(branch) and not is_choice(branch) else nn.Sequential(branch)
        wrapped.training = branch.training
        branches[index] = trace(wrapped, args, own)


def _one_layer(layer: nn.Module) -> fx.GraphModule:
    """What tracing ``nn.Sequential(layer)`` gives, in a tenth of the time; most branches are this."""
    graph = fx.Graph()
    called = graph.call_module("0", (graph.placeholder("input_1"),))
    called.meta.update({"module_path": "0", "source_line": ""})
    graph.output(called)
    traced = fx.GraphModule({"0": layer}, graph, "Sequential")
    traced.training = layer.training
    return traced


def _error_line(error: BaseException) -> str | None:
    found = None
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if "/torch/" not in file and file != __file__ and not file.startswith("<"):
            found = f"{file.rsplit('/', 1)[-1]}:{step.tb_lineno}"
        step = step.tb_next
    return found


def _free_dropout(model: nn.Module, graph: fx.Graph) -> None:
    """``F.dropout(x, p, self.training)`` would keep the mode of the trace: a dropout module follows the mode."""
    kinds = {"dropout": nn.Dropout, "dropout1d": nn.Dropout1d, "dropout2d": nn.Dropout2d, "dropout3d": nn.Dropout3d}
    kinds |= {"alpha_dropout": nn.AlphaDropout, "feature_alpha_dropout": nn.FeatureAlphaDropout}
    for node in list(graph.nodes):
        name = getattr(node.target, "__name__", "")
        if node.op != "call_function" or name not in kinds or "torch" not in str(node.target.__module__):
            continue
        arguments = dict(zip(("input", "p", "training"), node.args, strict=False)) | dict(node.kwargs)
        if arguments.get("training", True) is not False or isinstance(arguments.get("p"), fx.Node):
            continue
        path = f"{node.name}_module"
        model.add_module(path, kinds[name](float(arguments.get("p", 0.5))).train(model.training))
        with graph.inserting_before(node):
            fresh = graph.call_module(path, (arguments["input"],))
        fresh.meta.update(node.meta)
        node.replace_all_uses_with(fresh)
        graph.erase_node(node)
