# SPDX-License-Identifier: Apache-2.0
"""Stage `integerize`: true integers from the trained network, and the test set as codes beside it.

After this stage nothing needs torch or the recipe any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plinio_deploy import host, storage
from plinio_deploy.artifact import write_atomically
from plinio_deploy.console import Terminal
from plinio_deploy.network import Network
from plinio_deploy.pipeline.stage import Record, StageFolder, package_digest, perform
from plinio_deploy.pipeline.train import QUANTIZED_WEIGHTS, Trainer
from plinio_deploy.printer import to_text
from plinio_deploy.testdata import Metrics, TestData, save_test_data

if TYPE_CHECKING:
    from plinio_deploy.quantization import QuantNetwork

PRINTED = "network.txt"
BATCH = 256

_CODE = ("integerize", "quantization", "network.py", "fixedpoint.py", "verify", "storage.py", "pipeline/integerize.py")


@dataclass(frozen=True)
class Source:
    """Where the fake-quantized network comes from.

    Attributes:
        record: of the stage that made it.
        load: gives it, in eval mode.
        metric: of what it is compared with after the conversion.
        seed_metric: of the float model that a search started from; ``None`` without a search.
    """

    record: Record
    load: Callable[[], QuantNetwork]
    metric: float
    seed_metric: float | None = None


def from_training(trainer: Trainer, trained: Record, weights: Path) -> Source:
    """The network of the train stage, compared with its float model.

    Args:
        trainer: recipe and data.
        trained: record of the stage.
        weights: its folder.
    """

    def load() -> QuantNetwork:
        from plinio_deploy.recipes import training
        from plinio_deploy.recipes.checkpoint import load_module

        qnet = training.make_qnet(trainer.recipe, training.build_model(trainer.recipe))
        load_module(qnet, weights / QUANTIZED_WEIGHTS)
        return qnet.eval()

    return Source(trained, load, float(trained.facts["float_metric"]))


def run(folder: StageFolder, trainer: Trainer, source: Source, terminal: Terminal) -> Record:
    """Integerize, unless that has been done.

    Args:
        folder: where the stage keeps its result.
        trainer: recipe and data.
        source: the network.
        terminal: told what goes on.

    Raises:
        UnsupportedModel: a layer has no integer form, or its accumulator could overflow.
        RecipeError: the recipe's metric raises.
    """
    inputs = {
        source.record.stage: source.record.digest,
        "recipe": trainer.inputs["recipe"],
        "data": trainer.inputs["data"],
    }
    inputs["code"] = package_digest(*_CODE)

    def make(work: Path) -> Mapping[str, Any]:
        from plinio_deploy.integerize import integerize
        from plinio_deploy.recipes import loop
        from plinio_deploy.recipes.batches import as_split

        recipe = trainer.recipe
        qnet = source.load()
        network = integerize(qnet, recipe.name)
        test = as_split(trainer.data.test)
        tensor = network.input_tensors()[0]
        data = TestData((host.quantize(tensor, host.nchw_to_nhwc(test.x, tensor.shape)),), np.asarray(test.y))
        metric = loop.measure_metric(recipe, _outputs(network, qnet, data, test.x), test.y)
        metrics = Metrics(
            in_float=source.metric,
            in_integers=metric,
            min_float=recipe.min_float_metric,
            max_drop=recipe.max_metric_drop,
            in_seed=source.seed_metric,
        )
        storage.save(network, work)
        write_atomically(work / PRINTED, to_text(network).encode())
        save_test_data(work, data, metrics)
        return {"network_digest": storage.digest(network), **vars(metrics)}

    return perform(folder, inputs, terminal, make)


def _outputs(network: Network, qnet: QuantNetwork, data: TestData, x: npt.NDArray[np.float32]) -> Any:
    """What the model would return, from the integer network: real numbers in torch's order, post-processed."""
    import torch

    from plinio_deploy.integerize import ExactNetwork
    from plinio_deploy.quantization.network import apply_postprocess

    exact = ExactNetwork(network)
    codes = [
        exact(*(torch.from_numpy(part[first : first + BATCH].astype(np.int64)) for part in data.codes))
        for first in range(0, data.samples, BATCH)
    ]
    with torch.no_grad():
        raw = qnet.trace(torch.from_numpy(x[:1]))
    shapes = [tuple(raw[name].shape[1:]) for name in qnet.outputs]
    outputs = []
    for index, tensor in enumerate(network.output_tensors()):
        joined = torch.cat([batch[index] for batch in codes]).numpy()
        outputs.append(torch.from_numpy(_torch_order(host.dequantize(tensor, joined), shapes[index])))
    for post in qnet.postprocess:
        outputs[post.output] = apply_postprocess(post, outputs[post.output])
    arrays = tuple(output.numpy() for output in outputs)
    return arrays[0] if qnet.single_output else arrays


def _torch_order(values: npt.NDArray[np.float64], shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """``(N, H, W, C)`` to ``(N, *shape)`` with channels first; flat vectors stay."""
    if values.ndim == 4:
        values = np.moveaxis(values, -1, 1)
    return np.ascontiguousarray(values).reshape(len(values), *shape)
