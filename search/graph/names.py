# SPDX-License-Identifier: Apache-2.0
"""Names of operations by what they do to channels. One name stands for the function, the method and the operator."""

from __future__ import annotations

from torch import fx

ELEMENTWISE = frozenset({
    "abs", "acos", "add", "addcdiv", "addcmul", "alpha_dropout", "and", "asin", "atan", "atan2", "bfloat16",
    "bitwise_and", "bitwise_or", "bool", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "clip", "clone",
    "contiguous", "copy", "cos", "cosh", "cpu", "cuda", "detach", "div", "divide", "double", "dropout", "dropout1d",
    "dropout2d", "dropout3d", "elu", "empty_like", "eq", "erf", "erfc", "exp", "exp2", "expit", "expm1",
    "fake_quantize_per_tensor_affine", "feature_alpha_dropout", "feature_dropout", "fill", "float", "floor",
    "floor_divide", "floordiv", "fmod", "frac", "full_like", "ge", "gelu", "gt", "half", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "heaviside", "int", "invert", "isfinite", "isinf", "isnan", "le", "leaky_relu", "lerp",
    "log", "log10", "log1p", "log2", "logical_and", "logical_not", "logical_or", "logical_xor", "logsigmoid", "long",
    "lt", "masked_fill", "maximum", "minimum", "mish", "mod", "mul", "multiply", "nan_to_num", "ne", "neg",
    "negative", "ones_like", "or", "pos", "positive", "pow", "prelu", "rand_like", "randn_like", "reciprocal", "relu",
    "relu6", "remainder", "requires_grad", "round", "rrelu", "rsqrt", "rsub", "selu", "sgn", "sigmoid", "sign",
    "silu", "sin", "sinh", "softplus", "softshrink", "softsign", "sqrt", "square", "sub", "subtract", "tan", "tanh",
    "tanhshrink", "threshold", "to", "true_divide", "truediv", "trunc", "type", "type_as", "where", "xor", "zero",
    "zeros_like",
})  # fmt: skip
"""Each element of the result depends on the elements at the same place (after broadcasting)."""

MOVEMENT = frozenset({
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_to", "cat", "channel_shuffle", "chunk", "concat",
    "concatenate", "diagonal", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud", "getitem", "hstack",
    "index_select", "moveaxis", "movedim", "narrow", "native_channel_shuffle", "permute", "pixel_shuffle",
    "pixel_unshuffle", "ravel", "repeat", "repeat_interleave", "reshape", "reshape_as", "roll", "select", "split",
    "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "t", "tensor_split", "tile", "transpose",
    "unbind", "unflatten", "unfold_copy", "unsqueeze", "view", "view_as", "vstack",
})  # fmt: skip
"""Elements change places and nothing else."""

VIEWS = frozenset({
    "alpha_dropout", "clone", "contiguous", "detach", "dropout", "dropout1d", "dropout2d", "dropout3d", "expand",
    "expand_as", "flatten", "float", "ravel", "reshape", "reshape_as", "squeeze", "to", "unflatten", "unsqueeze",
    "view", "view_as",
})  # fmt: skip
"""Movement and the like that costs no memory of its own."""

REDUCTIONS = frozenset({
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean", "median", "min",
    "nanmean", "norm", "prod", "std", "std_mean", "sum", "var", "var_mean",
})  # fmt: skip
"""Some axes are reduced to one number each."""

OVER_AXIS = frozenset({
    "argsort", "cumprod", "cumsum", "log_softmax", "normalize", "softmax", "softmin", "sort", "topk",
})  # fmt: skip
"""Elements along one axis depend on each other."""

QUIET = frozenset({
    "argmax", "argmin", "argsort", "log_softmax", "softmax", "softmin", "sort", "topk",
})  # fmt: skip
"""Operations that usually end a network; along the channel axis they keep all channels instead of being refused."""

OPAQUE = frozenset({
    "batch_norm", "bmm", "conv1d", "conv2d", "conv3d", "einsum", "linear", "matmul", "mm",
    "scaled_dot_product_attention",
})  # fmt: skip
"""Layers as functions, and contractions."""

SPATIAL = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool", "interpolate", "upsample")
"""Beginnings of the names of pooling and resizing."""

_IN_PLACE = {"iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "imod", "iand", "ior", "ixor"}


def name_of(node: fx.Node) -> str:
    """The operation's one name, without in-place and operator decorations."""
    if node.op == "call_method":
        return str(node.target).strip("_")
    target = node.target
    module = str(getattr(target, "__module__", "") or "")
    name = str(getattr(target, "__name__", target))
    if module in {"_operator", "operator"}:
        name = name.strip("_")
        return (
            name[1:]
            if name in {"iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "imod", "iand", "ior", "ixor"}
            else name
        )
    if target is getattr:
        return f"getattr:{node.args[1]}"
    if module.startswith("torch") or module == "" or type(target).__name__ == "builtin_function_or_method":
        return name.strip("_")
    return f"{module}.{name}"
