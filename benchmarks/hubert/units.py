"""The units that a round predicts: clusters of MFCC, or of a layer of the previous round's model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hubert.batches import Speech, frames_of
from hubert.codebook import CODEBOOK, Codebook
from hubert.mfcc import mfcc
from hubert.model import MaskedUnitModel
from hubert.recipe import HubertRecipe, RoundConfig
from s3prl_gendistiller.distill.audio import read_audio
from s3prl_gendistiller.distill.kmeans import fit_centroids, frames_to_cluster
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.outputs import replacing

UNITS = "units.npz"
Input = Utterance | np.ndarray
"""An utterance to read, or the frames (T, C) of a CNN for it."""
Features = Callable[[Tensor], Tensor]
"""Features (T, D) to cluster, from a waveform (S,) or from frames of a CNN (T, C)."""
_AT_A_TIME = 64


def make_units(
    recipe: HubertRecipe,
    round_: RoundConfig,
    speech: Speech,
    folder: Path,
    model: MaskedUnitModel | None,
    frames: Sequence[np.ndarray] | None,
    progress: bool,
) -> list[np.ndarray]:
    """Units of each utterance, (T,), computed once and then read from a file.

    Args:
        folder: of the round.
        model: of the round before.
        frames: of its CNN for each utterance; None if they are not computed yet.

    Raises:
        UserError: an audio file cannot be used, there are fewer frames than clusters, or scikit-learn is missing.
    """
    path = folder / UNITS
    utterances = speech.all
    lengths = [int(frames_of(utterance.num_samples)) for utterance in utterances]
    if not path.is_file():
        source = "mfcc" if round_.layer is None else f"layer {round_.layer}"
        features = unit_features(source, None if model is None else model.eval())
        inputs = utterances if frames is None else frames
        learned = inputs[: len(speech.train)]
        codebook = make_codebook(recipe, round_, learned, folder / CODEBOOK, source, features, progress)
        found = _of_each(inputs, features, f"units of {source}", progress)
        assigned = [codebook.assign(states) for states in found]
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, units=np.concatenate(assigned).astype(np.int16))
    with np.load(path) as content:
        return np.split(content["units"], np.cumsum(lengths)[:-1])


def make_codebook(
    recipe: HubertRecipe,
    round_: RoundConfig,
    inputs: Sequence[Input],
    path: Path,
    source: str,
    features: Features,
    progress: bool,
) -> Codebook:
    """k-means over `cluster_frames` frames of utterances in random order, computed once and then read from a file."""
    if path.is_file():
        return Codebook.load(path)
    order = np.random.default_rng(recipe.seed).permutation(len(inputs))
    states = _in_parallel([inputs[i] for i in order], features)
    frames = frames_to_cluster(states, recipe.cluster_frames, progress)
    codebook = Codebook(fit_centroids(frames, round_.clusters, recipe.seed), source)
    codebook.save(path)
    return codebook


def cnn_frames(model: MaskedUnitModel, utterances: Sequence[Utterance], progress: bool) -> list[np.ndarray]:
    """Frames of a CNN for each utterance, (T, C) in half precision."""
    found = _of_each(utterances, model.cnn_frames, "frames of the CNN", progress)
    return [frames.astype(np.float16) for frames in found]


def _of_each(inputs: Sequence[Input], features: Features, name: str, progress: bool) -> Iterable[np.ndarray]:
    return tqdm(_in_parallel(inputs, features), total=len(inputs), desc=name, unit="clip", disable=not progress)


def _in_parallel(inputs: Sequence[Input], features: Features) -> Iterator[np.ndarray]:
    """Features of each input in order, several inputs at a time, each on one core."""

    def of_one(item: Input) -> np.ndarray:
        torch.set_num_threads(1)  # in this thread; threads of several workers would wait for each other
        found: np.ndarray = features(_tensor(item)).float().numpy()
        return found

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(inputs), _AT_A_TIME):
                yield from pool.map(of_one, inputs[first : first + _AT_A_TIME])
    finally:
        torch.set_num_threads(before)  # a part of the setting in a thread applies to the whole process


def _tensor(item: Input) -> Tensor:
    if isinstance(item, Utterance):
        return read_audio(item.path, num_samples=item.num_samples, expected_samples=item.num_samples)
    return torch.from_numpy(item).float()


def unit_features(source: str, model: MaskedUnitModel | None) -> Features:
    """The features that a codebook's source names."""
    if source == "mfcc":
        return mfcc
    assert model is not None
    encode, layer = model.hidden_states, int(source.removeprefix("layer "))
    return lambda inputs: encode(inputs)[layer]
