"""Units of a teacher: their prediction for each frame, the units that are kept, and the file of both.

GLMD (arXiv 2306.06625) distils the prediction of words from a smaller vocabulary. Here a word is one of the V units
that a HuBERT was pretrained to predict, or a k-means cluster of a teacher's layer. Frequent units are kept; each other
unit is mapped to the most similar kept unit.
"""

from __future__ import annotations

import abc
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_gendistiller.documents import parse_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import replacing

HEAD_TEMPERATURE = 0.1  # divisor of the cosines, as in HuBERT
UNIT_DIM = 256  # width of a student's head where the teacher has no head, as in HuBERT Base
SHARPNESS = 0.1  # temperature of k-means, relative to the mean squared distance to the nearest centroid
FORMAT = "1"
LAYER_FILE = "layer{}.safetensors"
"""Names of the files of several layers' units in a folder."""


def float32_or_better(values: Tensor) -> Tensor:
    """float64 values as they are, others in float32: in bfloat16 an angle between frames is wrong by 0.005."""
    return values if values.dtype == torch.float64 else values.float()


def cosine_logits(frames: Tensor, embeddings: Tensor, temperature: float) -> Tensor:
    """Cosines of frames (..., E) and embeddings (V, E) over a temperature (HuBERT, equation 3): (..., V)."""
    frames, embeddings = (functional.normalize(float32_or_better(each), dim=-1) for each in (frames, embeddings))
    return frames @ embeddings.T / temperature


class UnitSource(nn.Module, abc.ABC):
    """Predicts units: from states (..., D) to logits (..., V)."""

    label: str  # name of the class in a file
    similarity: str  # measure of the similarity of two units, "cosine" or "euclidean"
    width: int  # D
    number: float  # divisor of the logits, which a file holds, too: temperature of a head, scale of k-means

    @property
    @abc.abstractmethod
    def embeddings(self) -> Tensor:
        """(V, E), one row for each unit."""


class UnitHead(UnitSource):
    """Cosine between projected frames and embeddings of units, over a temperature (HuBERT, equation 3).

    Parameter names are fairseq's: `final_proj` and `label_embs_concat` (V, E).
    """

    label, similarity = "head", "cosine"

    def __init__(self, width: int, clusters: int, unit_dim: int, temperature: float = HEAD_TEMPERATURE) -> None:
        super().__init__()
        self.final_proj = nn.Linear(width, unit_dim)
        # fairseq draws from 0 to 1, and then all embeddings are similar at first: their cosine is 3/4
        self.label_embs_concat = nn.Parameter(torch.randn(clusters, unit_dim))
        self.width, self.number = width, temperature

    @property
    def embeddings(self) -> Tensor:
        return self.label_embs_concat

    def forward(self, states: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        return cosine_logits(self.final_proj(states), self.label_embs_concat, self.number)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], temperature: float = HEAD_TEMPERATURE) -> UnitHead:
        """A head with the weights of `state`, under fairseq's names; else a ValueError, KeyError or RuntimeError."""
        weight, embeddings = state["final_proj.weight"], state["label_embs_concat"]
        _check_matrices(weight, embeddings)
        head = cls(weight.shape[1], len(embeddings), len(weight), temperature)
        head.load_state_dict({name: state[name].float() for name in head.state_dict()})
        return head


class KmeansUnits(UnitSource):
    """Soft assignment to centroids: logits -|x - mu|^2 / (SHARPNESS * scale).

    Args:
        centroids: (V, D).
        scale: mean squared distance of a frame to its nearest centroid.
    """

    label, similarity = "kmeans", "euclidean"

    def __init__(self, centroids: Tensor, scale: float) -> None:
        super().__init__()
        self.centroids = nn.Parameter(centroids.float())
        self.width, self.number = centroids.shape[1], scale

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], scale: float) -> KmeansUnits:
        """Units from a state; raises a ValueError or KeyError if it has no centroids."""
        _check_matrices(state["centroids"])
        return cls(state["centroids"], scale)

    @property
    def embeddings(self) -> Tensor:
        return self.centroids

    def forward(self, states: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        # |x|^2 is the same for all units of a frame and does not change the softmax
        products = float32_or_better(states) @ self.centroids.T
        return (2 * products - self.centroids.square().sum(-1)) / (SHARPNESS * self.number)


def _check_matrices(*values: Tensor) -> None:
    for value in values:
        if value.dim() != 2 or not value.numel() or not value.is_floating_point():
            raise ValueError(f"found {value.dtype} of shape {tuple(value.shape)}, expected a matrix of floats")


@dataclass(frozen=True)
class Units:
    """A teacher's units and the vocabulary of kept units."""

    predict: UnitSource  # function from states of the teacher's layer (..., D) to logits (..., V); frozen
    layer: int  # number of that layer in s3prl's counting
    counts: Tensor  # (V,) int64, frames of the training manifest in which the unit has the highest logit
    kept: Tensor  # (V',) int64, ids of the kept units, most frequent first
    nearest: Tensor  # (V,) int64, for each unit its index in `kept`, or the index of the most similar kept unit
    facts: dict[str, Any]  # provenance: teacher, its fingerprint, manifest, frames, ratio, similarity

    def save(self, path: Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        import safetensors.torch

        source = self.predict
        tensors = {f"predict.{name}": value.contiguous() for name, value in source.state_dict().items()}
        tensors |= {"counts": self.counts, "kept": self.kept, "nearest": self.nearest}
        metadata = {"format": FORMAT, "kind": source.label, "number": repr(source.number), "layer": str(self.layer)}
        content = safetensors.torch.save(tensors, {**metadata, "facts": json.dumps(self.facts, sort_keys=True)})
        with replacing(path) as part:
            part.write_bytes(content)

    @classmethod
    def load(cls, path: str | Path) -> Units:
        """Reads the file of `save`; raises a UserError for no such file, no units file, or numbers out of range."""
        import safetensors

        remedy = "make it with `gendistiller units`"
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file, expected the units of a teacher; {remedy}")
        try:
            with safetensors.safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            if metadata.get("format") != FORMAT:
                raise ValueError(f"found format {metadata.get('format')}, expected {FORMAT}")
            state = {name.removeprefix("predict."): value for name, value in tensors.items() if "predict." in name}
            number = float(metadata["number"])
            source = {source.label: source for source in (UnitHead, KmeansUnits)}[metadata["kind"]]
            predict = source.from_state(state, number)
            layer, facts = int(metadata["layer"]), parse_json(metadata["facts"], "facts")
            found = cls(predict, layer, tensors["counts"], tensors["kept"], tensors["nearest"], facts)
        except (safetensors.SafetensorError, UserError, LookupError, ValueError, RuntimeError, OSError) as error:
            raise UserError(f"{path}: not readable as units ({str(error)[:200]}); {remedy}") from error
        problem = next(found._problems(tensors), None)
        if problem is not None:
            raise UserError(f"{path}: found {problem}; {remedy}")
        predict.requires_grad_(False)
        return found

    def _problems(self, tensors: Mapping[str, Tensor]) -> Iterator[str]:
        """Faults that this program never writes. Only the first fault is certain, because it may cause the others."""
        wrong = [name for name, value in tensors.items() if not value.isfinite().all()]
        if wrong or not math.isfinite(self.predict.number):
            yield f"numbers that are not finite in {', '.join(wrong) or 'number'}"
        if self.predict.number <= 0:
            yield f"the number {self.predict.number}, expected a temperature or a distance above 0"
        if self.layer < 0 or not isinstance(self.facts, dict):
            yield f"layer {self.layer} and facts of {type(self.facts).__name__}, expected a layer from 0 and a mapping"
        for name in ("counts", "kept", "nearest"):
            value = tensors[name]
            if value.dtype != torch.int64 or value.dim() != 1:
                yield f"{name} of {value.dtype} and shape {tuple(value.shape)}, expected a row of int64"
        own = {f"predict.{name}" for name in self.predict.state_dict()} | {"counts", "kept", "nearest"}
        if tensors.keys() - own:
            yield f"{', '.join(sorted(tensors.keys() - own)[:3])}, expected {', '.join(sorted(own))} alone"
        counts, kept, nearest = self.counts, self.kept, self.nearest
        units = len(self.predict.embeddings)
        whole = len(counts) == len(nearest) == units and 1 <= len(kept) <= units
        if not whole or not 0 <= kept.min() <= kept.max() < units or not nearest.min() >= 0:
            yield f"kept units that are not among the {units} of the codebook"
        if nearest.max() >= len(kept):
            yield f"units mapped beyond the {len(kept)} that are kept"
        if len(kept.unique()) < len(kept) or not torch.equal(nearest[kept], torch.arange(len(kept))):
            yield "a unit that is kept twice, or that is not its own nearest"
        if counts.min() < 0 or not counts.any():
            yield "counts below 0, or of no frame at all"

    def check_teacher(self, name: str, fingerprint: str, width: int, num_layers: int) -> None:
        """Refuses, by a UserError, a teacher other than the one for which the units were made."""
        if self.facts.get("fingerprint") != fingerprint:
            raise UserError(
                f"units: found those of teacher {self.facts.get('teacher')}, whose weights are not those of {name}; "
                "make units of this teacher with `gendistiller units`"
            )
        if self.predict.width != width or self.layer > num_layers:
            raise UserError(
                f"units: found units of layer {self.layer}, {self.predict.width} wide; teacher {name} has {num_layers} "
                f"layers of {width}; make units of this teacher with `gendistiller units`"
            )


def choose_kept(counts: Tensor, keep: int, forced: Sequence[int] = ()) -> Tensor:
    """Ids of the `keep` units of the vocabulary: forced units, then frequent ones; at equal counts, smaller ids first.

    Raises:
        UserError: `keep` is more than all units or fewer than the forced ones, or a forced id is unknown.
    """
    total = len(counts)
    unknown = [unit for unit in forced if not 0 <= unit < total]
    if unknown:
        raise UserError(f"forced units: found {', '.join(map(str, unknown))}, expected some of 0..{total - 1}")
    least = max(len(set(forced)), 1)
    if not least <= keep <= total:
        raise UserError(
            f"kept units: found {keep}, expected {least}..{total} of the teacher's {total}; change the ratio"
        )
    frequency = counts.tolist()
    order = sorted(range(total), key=lambda unit: (unit not in forced, -frequency[unit], unit))
    return torch.tensor(order[:keep])


def nearest_kept(embeddings: Tensor, kept: Tensor, similarity: str) -> Tensor:
    """For each of V units its index among the kept units, or the index of the most similar kept unit: (V,).

    The embeddings are (V, E), the ids of the kept units (V',); the similarity is "cosine" or "euclidean".
    """
    chosen = embeddings.double()[kept]
    if similarity == "cosine":
        likeness = functional.normalize(embeddings.double(), dim=-1) @ functional.normalize(chosen, dim=-1).T
    else:
        likeness = -torch.cdist(embeddings.double(), chosen)
    nearest = likeness.argmax(-1)
    nearest[kept] = torch.arange(len(kept))
    return nearest
