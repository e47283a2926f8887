"""Weights of an ONNX graph as whole numbers of 8 bits, with the arithmetic in whole numbers or in float.

Weights that several steps share stay one tensor. They have 7 bits, because processors without VNNI add two products of
8 bits in 16 bits, which overflow. What computes log-mel energies stays in float: the logarithm enlarges the errors of
the faintest bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from s3prl_gendistiller.inference.onnx_session import INPUTS

_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")  # stops advice of onnxruntime that does not apply
_LARGEST = 127


@dataclass(frozen=True)
class Variant:
    """One way to quantise.

    Attributes:
        about: what is computed in which numbers, for the card; products are those of matrices.
        products: the matrix products with weights are computed in whole numbers.
        position: the positional convolution is.
        front_end: the convolutions of the front end are.
    """

    about: str
    products: bool
    position: bool
    front_end: bool


VARIANTS = (
    Variant("products and convolutions in whole numbers", True, True, True),
    Variant("products and the positional convolution in whole numbers, the front end in float", True, True, False),
    Variant("products in whole numbers, convolutions in float", True, False, False),
    Variant("weights in whole numbers, arithmetic in float", False, False, False),
)
"""From the fastest to the most exact."""


def quantise(source: Path, target: Path, variant: Variant, pieces: Sequence[Tensor]) -> None:
    """Writes the graph `source` with whole numbers to `target`.

    Args:
        pieces: speech, (S,) each, from which the ranges of activations are taken.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load(str(source))
    products, position, front_end = _weighted(model.graph)
    exact = [*(() if variant.position else position), *(() if variant.front_end else front_end)]
    if variant.products:
        entry = model.metadata_props.add()
        entry.key, entry.value = _PREPARED
        onnx.save(model, str(target))
        quantize_static(
            str(target),
            str(target),
            _Reader(pieces),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[name for name in (*products, *position, *front_end) if name not in exact],
            extra_options={"MatMulConstBOnly": True},
        )
        model = onnx.load(str(target))
    _store_as_whole_numbers(model.graph, exact if variant.products else [*products, *exact])
    kept = [entry for entry in model.metadata_props if entry.key != _PREPARED[0]]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    target.write_bytes(model.SerializeToString())


class _Reader:
    """Speech as onnxruntime's calibration asks for it."""

    def __init__(self, pieces: Sequence[Tensor]) -> None:
        self._pieces = iter(pieces)

    def get_next(self) -> dict[str, np.ndarray] | None:
        piece = next(self._pieces, None)
        return None if piece is None else dict(zip(INPUTS, (piece.numpy()[None], np.array([len(piece)])), strict=True))


def _weighted(graph: Any) -> tuple[list[str], list[str], list[str]]:
    """Names of the matrix products with weights, of the positional convolution, and of those of the front end."""
    stored = {tensor.name for tensor in graph.initializer}
    exact = set(_before_logarithm(graph))
    nodes = [node for node in graph.node if len(node.input) > 1 and node.input[1] in stored and node.name not in exact]
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    return [n.name for n in nodes if n.op_type in ("MatMul", "Gemm")], convolutions[-1:], convolutions[:-1]


def _before_logarithm(graph: Any) -> Iterator[str]:
    """Names of the operators on whose results a logarithm depends."""
    makers = {name: node for node in graph.node for name in node.output}
    waiting, seen = [node for node in graph.node if node.op_type == "Log"], set()
    while waiting:
        for name in waiting.pop().input:
            if name in makers and makers[name].name not in seen:
                seen.add(makers[name].name)
                waiting.append(makers[name])
    yield from seen


def _store_as_whole_numbers(graph: Any, names: Sequence[str]) -> None:
    """Replaces the weights of operators by whole numbers and one factor for each output channel."""
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in graph.initializer}
    chosen = {node.input[1]: node.op_type for node in graph.node if node.name in set(names)}
    nodes = []
    for weight, kind in chosen.items():
        values = numpy_helper.to_array(stored[weight])
        axis = 0 if kind == "Conv" else values.ndim - 1
        others = tuple(index for index in range(values.ndim) if index != axis)
        scale = np.maximum(np.abs(values).max(others, keepdims=True) / _LARGEST, np.finfo(np.float32).tiny)
        parts: Mapping[str, np.ndarray] = {
            f"{weight}_whole": np.rint(values / scale).astype(np.int8),
            f"{weight}_scale": scale.astype(np.float32).ravel(),
        }
        graph.initializer.remove(stored[weight])
        graph.initializer.extend([numpy_helper.from_array(value, name) for name, value in parts.items()])
        nodes.append(helper.make_node("DequantizeLinear", [*parts], [weight], name=f"{weight}_float", axis=axis))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
