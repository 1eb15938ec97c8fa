# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks.prediction import rows
from plinio_deploy.pipeline.calibration.micro import Builder, Spec


@pytest.mark.qemu
def test_layers_and_what_is_spent_between_them_make_the_whole() -> None:
    built = Builder("net", 0)
    x = built.add(Spec("conv", 8, 8, (6, 6), (3, 3), centred=True), "conv")
    network = built.build([built.add(Spec("conv", 8, 12, (6, 6)), "point", [x]).name])
    (name, measured, predicted), *layers = rows(network, "rv32imc")
    assert (name, [layer[0].strip() for layer in layers]) == ("net", ["conv", "point"])
    assert 0 < measured - sum(layer[1] for layer in layers) < 200
    assert 0 <= predicted - sum(layer[2] for layer in layers) < 200
    assert predicted == pytest.approx(measured, rel=0.2)
