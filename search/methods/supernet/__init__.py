# SPDX-License-Identifier: Apache-2.0
"""SuperNet: choose among alternative blocks by gradient descent on their weights in a mixture."""

from plinio_deploy.search.methods.supernet.module import SuperNetModule
from plinio_deploy.search.methods.supernet.supernet import SuperNet

__all__ = ["SuperNet", "SuperNetModule"]
