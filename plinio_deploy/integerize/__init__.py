# SPDX-License-Identifier: Apache-2.0
"""From the fake-quantized network to true integers, and a torch executor that computes exactly what the chip will."""

from plinio_deploy.integerize.exact import ExactNetwork
from plinio_deploy.integerize.lower import Lowered, integerize, lower
from plinio_deploy.integerize.split import split

__all__ = ["ExactNetwork", "Lowered", "integerize", "lower", "split"]
