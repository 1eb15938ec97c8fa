# SPDX-License-Identifier: Apache-2.0
"""The rules that every integer network keeps, and the proof that no accumulator can overflow.

`verify` runs after every pass that makes a network and whenever one is loaded.
"""

from __future__ import annotations

from plinio_deploy.network import Network
from plinio_deploy.verify.ops import RULES
from plinio_deploy.verify.rules import fail
from plinio_deploy.verify.structure import NAME, check_order, check_tensor

__all__ = ["verify"]


def verify(network: Network) -> Network:
    """Check every rule of the grammar and prove that no accumulator leaves int32.

    Returns:
        The same network, so that a pass can end in ``return verify(...)``.

    Raises:
        InvalidNetwork: a rule is broken; names the op or tensor.
    """
    if not NAME.match(network.name):
        fail(network.name, "the network's name is no C identifier", network.name, "letters, digits and _")
    if network.flavour not in ("hi32", "tflite"):
        fail(network.name, "unknown requantization flavour", network.flavour, "hi32 or tflite")
    for name, tensor in network.tensors.items():
        check_tensor(name, tensor)
    check_order(network)
    for op in network.ops:
        RULES[type(op)](network, op)
    return network
