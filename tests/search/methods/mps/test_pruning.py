# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import Tensor

from plinio_deploy.search.methods.mps.network import MixedNetwork
from tests.search.methods.mps.toys import PRUNED, Pair, Residual, layer, put, search, shuffle


def keep(network: MixedNetwork) -> tuple[Tensor, Tensor]:
    found = network.keep_channels()
    assert found is not None
    return found.probability.detach(), found.alive.detach()


def test_a_channel_of_its_own_has_the_softmax_over_all_widths() -> None:
    mps = shuffle(search(Pair(), per_channel=True, qinfo=PRUNED), 0)
    alpha = layer(mps, "a").choice.alpha.detach()
    assert mps.network.pruning is not None
    own = mps.network.pruning.components(next(iter(mps.network.layers)))
    probability, alive = keep(mps.network)
    torch.testing.assert_close(probability[own], 1 - torch.softmax(alpha, 0)[0])
    assert alive[own].tolist() == (alpha.argmax(0) > 0).float().tolist()


def test_tied_channels_decide_by_the_mean_of_their_logits() -> None:
    mps = search(Residual(), per_channel=True, qinfo=PRUNED)
    for path in ("first", "outer", "deep"):  # tied by the addition and the depthwise layer
        put(layer(mps, path).choice, torch.tensor([0.0, 0.0, 0.0, 1.0]).unsqueeze(1).expand(4, 6))
    pull = torch.tensor([0.0, 0.0, 0.0, 1.0]).unsqueeze(1).repeat(1, 6)
    pull[0, 2] = 3.5  # against 3 x 1: more than the mean of the three
    put(layer(mps, "first").choice, pull)
    found = mps.summary()
    for path in ("first", "outer", "deep"):
        assert found[path]["w_precision"] == (8, 8, 0, 8, 8, 8)
    pull[0, 2] = 2.5
    put(layer(mps, "first").choice, pull)
    assert all(mps.summary()[path]["w_precision"] == 8 for path in ("first", "outer", "deep"))


def test_a_pruned_channel_is_exactly_zero_in_training() -> None:
    mps = search(Pair(), per_channel=True, qinfo=PRUNED)
    alpha = torch.zeros(4, 8)
    alpha[0, 3] = 2.0
    put(layer(mps, "a").choice, alpha)
    values = mps.network.trace(torch.rand(2, 4, 8, 8))
    hidden = next(values[node.name] for node in mps.network.nodes if node.path == "a")
    assert bool((hidden[:, 3] == 0).all())
    assert bool((hidden[:, 2] != 0).any())
