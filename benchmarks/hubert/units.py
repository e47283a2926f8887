"""The units that a round predicts: clusters of MFCC, or of a layer of the model so far."""

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
from hubert.codebook import Codebook
from hubert.mfcc import mfcc
from hubert.model import MaskedUnitModel
from hubert.recipe import HubertRecipe, RoundConfig
from s3prl_gendistiller.distill.audio import read_audio
from s3prl_gendistiller.distill.kmeans import fit_centroids, frames_to_cluster
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.outputs import replacing

UNITS, CODEBOOK = "units.npz", "codebook.safetensors"
Input = Utterance | np.ndarray
"""An utterance to read, or its frames (T, C) of a CNN."""
Features = Callable[[Tensor], Tensor]
"""From a waveform (S,), or from frames of a CNN (T, C), to what is clustered (T, D)."""
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
    """The unit of every frame, utterance by utterance; made once, then read.

    Args:
        folder: of the round.
        model: of the round before.
        frames: what its CNN makes of each utterance, if that is known already.

    Raises:
        UserError: an audio file cannot be used; there is less speech than clusters; scikit-learn is not installed.
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
    """k-means over `cluster_frames` frames, from utterances in a random order; made once, then read."""
    if path.is_file():
        return Codebook.load(path)
    order = np.random.default_rng(recipe.seed).permutation(len(inputs))
    states = _in_parallel([inputs[i] for i in order], features)
    frames = frames_to_cluster(states, recipe.cluster_frames, progress)
    codebook = Codebook(fit_centroids(frames, round_.clusters, recipe.seed), source)
    codebook.save(path)
    return codebook


def cnn_frames(model: MaskedUnitModel, utterances: Sequence[Utterance], progress: bool) -> list[np.ndarray]:
    """What a CNN makes of each utterance, (T, C) in half precision."""
    found = _of_each(utterances, model.cnn_frames, "frames of the CNN", progress)
    return [frames.astype(np.float16) for frames in found]


def _of_each(inputs: Sequence[Input], features: Features, name: str, progress: bool) -> Iterable[np.ndarray]:
    return tqdm(_in_parallel(inputs, features), total=len(inputs), desc=name, unit="clip", disable=not progress)


def _in_parallel(inputs: Sequence[Input], features: Features) -> Iterator[np.ndarray]:
    """The features of each input in order, several inputs at a time, each on one core."""

    def of_one(item: Input) -> np.ndarray:
        torch.set_num_threads(1)  # of this worker; more of them would wait for each other
        found: np.ndarray = features(_tensor(item)).float().numpy()
        return found

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(inputs), _AT_A_TIME):
                yield from pool.map(of_one, inputs[first : first + _AT_A_TIME])
    finally:
        torch.set_num_threads(before)  # part of what a worker sets is the whole process's


def _tensor(item: Input) -> Tensor:
    if isinstance(item, Utterance):
        return read_audio(item.path, num_samples=item.num_samples, expected_samples=item.num_samples)
    return torch.from_numpy(item).float()


def unit_features(source: str, model: MaskedUnitModel | None) -> Features:
    """What a codebook's source names."""
    if source == "mfcc":
        return mfcc
    assert model is not None
    encode, layer = model.hidden_states, int(source.removeprefix("layer "))
    return lambda inputs: encode(inputs)[layer]
