# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost import params_bit
from plinio_deploy.search.methods.mps import MPS, MPSType, get_default_qinfo, sensitivity
from plinio_deploy.search.methods.mps.quantizers import MixedLayer

IGNORED = 3


def searched(kind: MPSType, precisions: tuple[int, ...] = (0, 2, 4, 8)) -> MPS:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4, 5))
    with torch.no_grad():
        model[3].get_parameter("weight").view(5, 6, 4)[:, IGNORED] = 0.0
    return MPS(
        model.eval(),
        cost={"size": params_bit},
        input_example=torch.rand(1, 2, 4, 4),
        w_search_type=kind,
        qinfo=get_default_qinfo(precisions, (8,)),
        calibration=[torch.rand(32, 2, 4, 4)],
    )


def logits(nas: MPS) -> list[Tensor]:
    return [layer.choice.alpha.detach() for layer in nas.network.layers.values() if isinstance(layer, MixedLayer)]


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(64, 2, 4, 4, generator=generator), torch.randint(0, 5, (64,), generator=generator)


def test_fewer_bits_cost_more_and_nothing_where_nobody_looks() -> None:
    nas = searched(MPSType.PER_CHANNEL)
    weights = [p.detach().clone() for p in nas.net_parameters()]
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    first, last = logits(nas)
    seen = [channel for channel in range(6) if channel != IGNORED]
    assert not first[:, IGNORED].any()
    # A rounding error may happen to be orthogonal to the gradients in a channel, not in the sum of all.
    rises = -first[:, seen].sum(1)
    assert rises[0] > rises[1] > rises[2] > rises[3] > 0
    assert (first[0, seen] < first[3, seen]).all()
    assert float(-last[1:].sum(1)[0]) > float(-last[1:].sum(1)[2])
    assert all(torch.equal(old, new) for old, new in zip(weights, nas.net_parameters(), strict=True))
    assert all(p.grad is None for p in nas.parameters())


def test_a_limit_takes_what_nobody_looks_at_first() -> None:
    nas = searched(MPSType.PER_CHANNEL)
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    nas.settle("70 %", "size")
    bits = nas.summary()["0"]["w_precision"]
    assert bits[IGNORED] == 0
    assert all(width > 0 for channel, width in enumerate(bits) if channel != IGNORED)


def test_rounding_counts_for_less_than_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    found, usual = [], sensitivity.LEFT
    for left in (1.0, usual):
        monkeypatch.setattr(sensitivity, "LEFT", left)
        nas = searched(MPSType.PER_CHANNEL)
        nas.rank_precisions(nn.functional.cross_entropy, [batch()])
        found.append(logits(nas)[0])
    # In units of what 2 bits cost, which shrinks too.
    torch.testing.assert_close(found[1][1:], found[0][1:])
    torch.testing.assert_close(found[1][0] * usual, found[0][0])


def test_a_choice_per_layer_sums_over_its_channels() -> None:
    nas = searched(MPSType.PER_LAYER, (2, 4, 8))
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    for alpha in logits(nas):
        assert alpha.shape == (3,)
        assert alpha[0] < alpha[1] < alpha[2] < 0


def test_no_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to rank"):
        searched(MPSType.PER_CHANNEL).rank_precisions(nn.functional.cross_entropy, [])


def test_gradients_are_those_of_the_network_before_any_choice() -> None:
    nas = searched(MPSType.PER_CHANNEL)
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    first = [alpha.clone() for alpha in logits(nas)]
    nas.settle("50 %", "size")
    assert 0 in nas.summary()["0"]["w_precision"]
    nas.train_nas_only()
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    for old, new in zip(first, logits(nas), strict=True):
        torch.testing.assert_close(new, old)
    assert not any(p.requires_grad for p in nas.net_parameters())


def test_norms_change_nothing_about_what_a_precision_costs() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -0.5, 0.5)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).eval()
    nas = MPS(
        model,
        cost={"size": params_bit},
        input_example=torch.rand(1, 2, 4, 4),
        w_search_type=MPSType.PER_CHANNEL,
        qinfo=get_default_qinfo((0, 2, 4, 8), (8,)),
        calibration=[torch.rand(32, 2, 4, 4)],
    )
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    folded = [alpha.clone() for alpha in logits(nas)]
    nas.restore_norms(batch())
    nas.rank_precisions(nn.functional.cross_entropy, [batch()])
    for old, new in zip(folded, logits(nas), strict=True):
        torch.testing.assert_close(new, old, rtol=0.02, atol=1e-3)


def test_a_loss_that_nothing_changes_leaves_no_preference() -> None:
    nas = searched(MPSType.PER_CHANNEL)
    nas.rank_precisions(lambda output, _: 0.0 * output.sum(), [batch()])
    assert all(not alpha.any() for alpha in logits(nas))


def test_a_search_that_is_not_calibrated_is_refused() -> None:
    nas = MPS(nn.Conv2d(2, 5, 4), input_example=torch.rand(1, 2, 4, 4))
    with pytest.raises(UsageError, match="not calibrated"):
        nas.rank_precisions(nn.functional.cross_entropy, [batch()])
