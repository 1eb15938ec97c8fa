# SPDX-License-Identifier: Apache-2.0
"""From a float PyTorch model to its fake-quantized, trainable twin.

In processing order: ``capture`` (torch.export; ``aten`` and ``windows``: what each operator means) -> ``graph`` ->
``simplify`` (batch norms, activations) -> ``layout`` (channels last, or a refusal) -> ``groups`` (who shares a
quantizer) -> ``network``, made of ``layers``, ``quantizers`` and ``rounding``, with clips from ``calibrate``.
"""

from plinio_deploy.quantization.capture import capture
from plinio_deploy.quantization.config import LayerConfig, QuantConfig
from plinio_deploy.quantization.network import QuantNetwork, quantize

__all__ = ["LayerConfig", "QuantConfig", "QuantNetwork", "capture", "quantize"]
