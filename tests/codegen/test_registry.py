# SPDX-License-Identifier: Apache-2.0
"""The choice of kernels, and that a new one takes part as soon as it exists."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.ops.conv import ConvPlain
from plinio_deploy.codegen.render import environment
from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.network import OP_TYPES, Network
from tests.networks import Builder, random_network


def sites(network: Network, isa: frozenset[str] = frozenset()) -> list[Site]:
    return [Site.of(network, op, isa, may_alias=True) for op in network.ops]


def test_names_are_unique_and_templates_exist() -> None:
    names = [kernel.name for kernel in registry.kernels()]
    assert len(set(names)) == len(names)
    for kernel in registry.kernels():
        if kernel.template is not None:
            environment().get_template(kernel.template)


def test_every_template_of_an_op_says_what_it_needs_and_guarantees() -> None:
    folder = Path(registry.__file__).parent / "templates" / "ops"
    used = {kernel.template for kernel in registry.kernels() if kernel.template}
    assert {f"ops/{path.name}" for path in folder.iterdir()} == used
    for path in folder.iterdir():
        header = path.read_text().split("-#}")[0]
        assert "Inputs:" in header
        assert "Guarantees:" in header


def test_every_op_in_every_width_has_a_kernel_and_the_cheapest_is_taken() -> None:
    seen = set()
    for seed in range(150):
        for site in sites(random_network(seed)):
            able = registry.candidates(site)
            assert registry.choose(site) is able[0]
            costs = [kernel.cost(site) for kernel in able]
            assert costs == sorted(costs)
            seen.add((type(site.op), site.inputs[0].bits))
    assert seen == {(kind, bits) for kind in OP_TYPES for bits in (2, 4, 8)}


def test_depthwise_convolutions_have_their_own_kernel() -> None:
    b = Builder(0)
    x = b.conv(b.input((4, 4, 4)), 4, groups=4)
    b.conv(x, 4, (1, 1), groups=2)
    assert [registry.choose(site).name for site in sites(b.build())] == ["depthwise_plain", "conv_plain"]


class FastConv(ConvPlain):
    """A kernel for a core that the plain ones know nothing of."""

    name: ClassVar[str] = "conv_fast"

    def handles(self, site: Site) -> bool:
        return super().handles(site) and "toy" in site.isa and site.inputs[0].bits == 8

    def cost(self, site: Site) -> float:
        return super().cost(site) / 4


def test_a_kernel_for_an_instruction_set_is_chosen_where_it_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    everything: tuple[Kernel, ...] = (*registry.kernels(), FastConv())
    monkeypatch.setattr(registry, "kernels", lambda: everything)
    b = Builder(0)
    b.conv(b.conv(b.input((4, 4, 4)), 4, out=(4, False, 0.1, 0)), 4, (1, 1))
    network = b.build()
    chosen = [registry.choose(site).name for site in sites(network, frozenset({"toy"}))]
    assert chosen == ["conv_fast", "conv_plain"]
    assert {registry.choose(site).name for site in sites(network)} == {"conv_plain"}


def test_an_op_without_a_kernel_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "kernels", lambda: ())
    b = Builder(0)
    b.conv(b.input((4, 4, 4)), 4)
    with pytest.raises(UnsupportedModel) as caught:
        registry.choose(sites(b.build())[0])
    assert caught.value.where == "conv0"
