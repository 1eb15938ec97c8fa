# SPDX-License-Identifier: Apache-2.0
"""ATen operators that move a window over one or two spatial dimensions: convolution, pooling, padding."""

from __future__ import annotations

from collections.abc import Sequence

from plinio_deploy.quantization.calls import Call, Made, Reference, Result, copied_parameters, unsupported
from plinio_deploy.quantization.graph import AvgPool, Conv, MaxPool, Pad, Padding, Pair


def _pair(value: int | Sequence[int], spatial: int, *, first: int) -> Pair:
    """Two numbers out of torch's int, one or two; one-dimensional operators get ``first`` for the height."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if spatial == 1:
        return (first, numbers[0])
    return (numbers[0], numbers[-1])


def _symmetric(pair: Pair) -> Padding:
    return (pair[0], pair[0], pair[1], pair[1])


def _same_padding(kernel: Pair, dilation: Pair) -> Padding:
    """Torch's 'same': the odd element goes to the end."""
    total = tuple(step * (size - 1) for size, step in zip(kernel, dilation, strict=True))
    return (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)


def conv(call: Call) -> Result:
    """A convolution, with padding as four numbers."""
    spatial = 1 if call.name == "conv1d" else 2
    weight = call.constant("weight")
    bias = call.constant("bias")
    source = call.source()
    if weight is None or len(source.shape) != spatial + 1:
        raise unsupported(
            f"{call.name} of a tensor of shape {source.shape}", f"{spatial + 1} dimensions and a batch", call.where
        )
    kernel4d = weight.tensor if spatial == 2 else weight.tensor.unsqueeze(2)
    kernel = (int(kernel4d.shape[2]), int(kernel4d.shape[3]))
    dilation = _pair(call.arguments["dilation"], spatial, first=1)
    padding = call.arguments["padding"]
    if padding == "same":
        pads = _same_padding(kernel, dilation)
    elif padding == "valid":
        pads = (0, 0, 0, 0)
    else:
        pads = _symmetric(_pair(padding, spatial, first=0))
    operator = Conv(
        parameters=weight.key if bias is None else f"{weight.key},{bias.key}",
        stride=_pair(call.arguments["stride"], spatial, first=1),
        padding=pads,
        dilation=dilation,
        groups=int(call.arguments["groups"]),
        spatial=spatial,
    )
    return Made(operator, (source.name,), copied_parameters(kernel4d, bias))


def avg_pool(call: Call) -> Result:
    """An average pooling whose every window counts its zero padding."""
    spatial = 1 if call.name == "avg_pool1d" else 2
    arguments = call.arguments
    source = call.source()
    kernel = _pair(arguments["kernel_size"], spatial, first=1)
    stride = _pair(arguments["stride"] or arguments["kernel_size"], spatial, first=1)
    padding = _symmetric(_pair(arguments["padding"], spatial, first=0))
    if arguments["ceil_mode"] and _ceil_extra(call, source, kernel, stride, padding, (1, 1)) != (0, 0):
        raise unsupported("avg_pool with ceil_mode=True and a partial window", "ceil_mode=False", call.where)
    if any(padding) and not arguments["count_include_pad"]:
        raise unsupported("avg_pool with padding and count_include_pad=False", "count_include_pad=True", call.where)
    divisor = arguments.get("divisor_override") or kernel[0] * kernel[1]
    return Made(AvgPool(kernel, stride, padding, int(divisor), spatial), (source.name,))


def max_pool(call: Call) -> Result:
    """A max pooling; ceil_mode becomes padding."""
    spatial = 1 if call.name.startswith("max_pool1d") else 2
    arguments = call.arguments
    source = call.source()
    kernel = _pair(arguments["kernel_size"], spatial, first=1)
    stride = _pair(arguments["stride"] or arguments["kernel_size"], spatial, first=1)
    dilation = _pair(arguments["dilation"], spatial, first=1)
    padding = _symmetric(_pair(arguments["padding"], spatial, first=0))
    if arguments["ceil_mode"]:
        extra = _ceil_extra(call, source, kernel, stride, padding, dilation)
        padding = (padding[0], padding[1] + extra[0], padding[2], padding[3] + extra[1])
    return Made(MaxPool(kernel, stride, padding, dilation, spatial), (source.name,))


def _spatial_shape(shape: Sequence[int]) -> Pair:
    """Height and width of ``(C, H, W)`` or ``(C, L)``."""
    return (int(shape[1]), int(shape[2])) if len(shape) == 3 else (1, int(shape[1]))


def _ceil_extra(call: Call, source: Reference, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    """Rows and columns by which ceil_mode's last window reaches beyond the padded input."""
    shape = call.shape
    if shape is None:  # max_pool with indices: a pair of tensors
        raise unsupported(f"{call.name} with ceil_mode=True", "ceil_mode=False", call.where)
    size, result = _spatial_shape(source.shape), _spatial_shape(shape[1:])
    pads = (padding[0] + padding[1], padding[2] + padding[3])
    extra = [
        max(0, (result[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - size[i] - pads[i]) for i in range(2)
    ]
    return (extra[0], extra[1])


def adaptive(call: Call) -> Result:
    """Adaptive pooling to an output size that divides the input."""
    spatial = 1 if "1d" in call.name else 2
    source = call.source()
    size = _spatial_shape(source.shape)
    wanted = _pair(call.arguments["output_size"], spatial, first=1)
    if size[0] % wanted[0] or size[1] % wanted[1]:
        raise unsupported(f"{call.name} of {size} to {wanted}", "an output size that divides the input's", call.where)
    kernel = (size[0] // wanted[0], size[1] // wanted[1])
    if "avg" in call.name:
        return Made(AvgPool(kernel, kernel, (0, 0, 0, 0), kernel[0] * kernel[1], spatial), (source.name,))
    return Made(MaxPool(kernel, kernel, (0, 0, 0, 0), (1, 1), spatial), (source.name,))


def pad(call: Call) -> Result:
    """Zero padding of spatial dimensions."""
    source = call.source()
    widths = [int(width) for width in call.arguments["pad"]]
    mode, value = call.arguments.get("mode", "constant"), call.arguments.get("value")
    if mode != "constant" or value not in (None, 0, 0.0):
        raise unsupported(f"pad with mode={mode!r}, value={value}", "padding with zeros", call.where)
    spatial = len(source.shape) - 1
    widths += [0] * (2 * (spatial + 1) - len(widths))
    if spatial not in (1, 2) or any(widths[2 * spatial :]) or min(widths) < 0:
        raise unsupported(
            f"pad by {widths} of {source.shape}", "non-negative padding of the spatial dimensions", call.where
        )
    if not any(widths):
        return source
    rows = (widths[2], widths[3]) if spatial == 2 else (0, 0)
    return Made(Pad((rows[0], rows[1], widths[0], widths[1]), spatial), (source.name,))
