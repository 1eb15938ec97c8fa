# SPDX-License-Identifier: Apache-2.0
"""An integer network on disk: ``network.json`` (structure) and ``weights.safetensors`` (arrays). No code, no pickle.

Both are made by one walk over the dataclasses of `plinio_deploy.network`: an array becomes ``{"array":
"<op>.<field>"}`` in the JSON and an entry of that name in the safetensors file. The same network always gives the
same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from plinio_deploy.artifact import Artifact
from plinio_deploy.errors import InvalidNetwork
from plinio_deploy.network import OP_TYPES, AddRescale, Hi32, Network, Op, Tensor, Tflite, TfliteAdd, Weights
from plinio_deploy.verify import verify

SCHEMA = 1
STRUCTURE_FILE = "network.json"
WEIGHTS_FILE = "weights.safetensors"

T = TypeVar("T")
Arrays = dict[str, npt.NDArray[Any]]
_OPS_BY_KIND: dict[str, type[Op]] = {op.kind: op for op in OP_TYPES}
VARIANTS: dict[str, type[Any]] = {
    "hi32": Hi32,
    "tflite": Tflite,
    "add_rescale": AddRescale,
    "tflite_add": TfliteAdd,
    "weights": Weights,
}
VARIANT_NAMES = {variant: name for name, variant in VARIANTS.items()}


def to_artifact(network: Network) -> Artifact:
    """The two files of a network."""
    arrays: Arrays = {}
    document = {
        "schema": SCHEMA,
        "name": network.name,
        "flavour": network.flavour,
        "inputs": list(network.inputs),
        "outputs": list(network.outputs),
        "tensors": [dataclasses.asdict(tensor) for tensor in network.tensors.values()],
        "ops": [{"kind": op.kind, **_encode_fields(op, op.name, arrays)} for op in network.ops],
    }
    text = json.dumps(document, indent=1) + "\n"
    weights = save_safetensors({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})
    return Artifact({STRUCTURE_FILE: text.encode(), WEIGHTS_FILE: weights})


def from_artifact(artifact: Artifact, where: str = "network") -> Network:
    """The network of `to_artifact`'s two files, verified.

    Args:
        artifact: holds at least the two files.
        where: what messages call the place.

    Raises:
        InvalidNetwork: a file is missing, damaged, or breaks a rule of the grammar.
    """
    hints = ("integerize the model again: plinio-deploy integerize RECIPE",)
    for name in (STRUCTURE_FILE, WEIGHTS_FILE):
        if name not in artifact.files:
            raise InvalidNetwork(f"{name} is missing", where=where, hints=hints)
    try:
        arrays = load_safetensors(artifact.files[WEIGHTS_FILE])
        document = json.loads(artifact.files[STRUCTURE_FILE])
        if document["schema"] != SCHEMA:
            raise InvalidNetwork("unknown schema", where=where, got=document["schema"], expected=SCHEMA, hints=hints)
        tensors = [_decode_fields(Tensor, entry, arrays) for entry in document["tensors"]]
        network = Network(
            name=document["name"],
            flavour=document["flavour"],
            inputs=tuple(document["inputs"]),
            outputs=tuple(document["outputs"]),
            tensors={tensor.name: tensor for tensor in tensors},
            ops=tuple(_decode_op(entry, arrays) for entry in document["ops"]),
        )
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InvalidNetwork(
            "a network's files are damaged", where=where, got=f"{type(error).__name__}: {error}", hints=hints
        ) from error
    return verify(network)


def save(network: Network, folder: Path) -> None:
    """Write both files, each atomically.

    Raises:
        OutputError: the folder cannot be written.
    """
    to_artifact(network).write(folder)


def load(folder: Path) -> Network:
    """Read and verify what `save` wrote.

    Raises:
        InvalidNetwork: a file is missing, damaged, or breaks a rule of the grammar.
    """
    paths = (folder / STRUCTURE_FILE, folder / WEIGHTS_FILE)
    return from_artifact(Artifact({path.name: path.read_bytes() for path in paths if path.is_file()}), str(folder))


def digest(network: Network) -> str:
    """SHA-256 (hex) of the network's two files: its identity in every record."""
    return to_artifact(network).digest()


def _encode_fields(node: Any, path: str, arrays: Arrays) -> dict[str, Any]:
    return {name: _encode(getattr(node, name), f"{path}.{name}", arrays) for name in stated_fields(node)}


def stated_fields(node: Any) -> list[str]:
    """Names of a dataclass's fields that are written down: all but those that are empty unless said otherwise."""
    return [field.name for field in dataclasses.fields(node) if field.default != () or getattr(node, field.name) != ()]


def _encode(value: Any, path: str, arrays: Arrays) -> Any:
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if type(value) in VARIANT_NAMES:
        return {"type": VARIANT_NAMES[type(value)], **_encode_fields(value, path, arrays)}
    if isinstance(value, tuple):
        return [_encode(item, path, arrays) for item in value]
    return value


def _decode_op(entry: dict[str, Any], arrays: Arrays) -> Op:
    kind = _OPS_BY_KIND[entry["kind"]]
    return _decode_fields(kind, {name: value for name, value in entry.items() if name != "kind"}, arrays)


def _decode_fields(kind: type[T], entry: dict[str, Any], arrays: Arrays) -> T:
    hints = typing.get_type_hints(kind)
    unknown = set(entry) - set(hints)
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    return kind(**{name: _decode(hints[name], value, arrays) for name, value in entry.items()})


def _decode(hint: Any, value: Any, arrays: Arrays) -> Any:
    """Bring a JSON value to its field's type; a wrong type is an error, not a surprise later on."""
    if isinstance(value, dict) and "array" in value:
        return arrays[value["array"]]
    if isinstance(value, dict) and "type" in value:
        variant = VARIANTS[value["type"]]
        return _decode_fields(variant, {name: item for name, item in value.items() if name != "type"}, arrays)
    if isinstance(value, list):
        return tuple(_decode(None, item, arrays) for item in value)
    if isinstance(hint, type):
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
            raise TypeError(f"expected {hint.__name__}, got {value!r}")
    return value
