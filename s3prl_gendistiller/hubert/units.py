"""The units that a round predicts: clusters of MFCC, or of a layer of the model so far."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from s3prl_gendistiller.distill.audio import read_audio
from s3prl_gendistiller.distill.manifest import Utterance, replacing
from s3prl_gendistiller.hubert.batches import Speech, frames_of
from s3prl_gendistiller.hubert.codebook import Codebook, fit_codebook
from s3prl_gendistiller.hubert.mfcc import mfcc
from s3prl_gendistiller.hubert.model import MaskedUnitModel
from s3prl_gendistiller.hubert.recipe import HubertRecipe, RoundConfig

UNITS, CODEBOOK = "units.npz", "codebook.safetensors"
Features = Callable[[Tensor], Tensor]
Frames = list[np.ndarray]
_AT_A_TIME = 64


def make_units(
    recipe: HubertRecipe,
    round_: RoundConfig,
    speech: Speech,
    folder: Path,
    model: MaskedUnitModel | None,
    progress: bool,
) -> list[np.ndarray]:
    """The unit of every frame, utterance by utterance; made once, then read.

    Args:
        folder: of the round.
        model: of the round before.

    Raises:
        UserError: an audio file cannot be used; there is less speech than clusters; scikit-learn is not installed.
    """
    path = folder / UNITS
    utterances = speech.all
    lengths = [int(frames_of(utterance.num_samples)) for utterance in utterances]
    if not path.is_file():
        source = "mfcc" if round_.layer is None else f"layer {round_.layer}"
        features = unit_features(source, None if model is None else model.eval(), recipe.precision)
        codebook = make_codebook(recipe, round_, speech, folder / CODEBOOK, source, features, progress)
        bar = tqdm(total=len(utterances), desc=f"units of {source}", unit="clip", disable=not progress)
        assigned = []
        with bar:
            for frames in _frames(utterances, features):
                assigned.append(codebook.assign(frames))
                bar.update()
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, units=np.concatenate(assigned).astype(np.int16))
    with np.load(path) as content:
        return np.split(content["units"], np.cumsum(lengths)[:-1])


def make_codebook(
    recipe: HubertRecipe,
    round_: RoundConfig,
    speech: Speech,
    path: Path,
    source: str,
    features: Features,
    progress: bool,
) -> Codebook:
    """k-means over `cluster_frames` frames, from utterances in a random order; made once, then read."""
    if path.is_file():
        return Codebook.load(path)
    order = np.random.default_rng(recipe.seed).permutation(len(speech.train))
    found: list[np.ndarray] = []
    count = 0
    with tqdm(total=recipe.cluster_frames, desc="frames to cluster", unit="frame", disable=not progress) as bar:
        for frames in _frames([speech.train[i] for i in order], features):
            found.append(frames[: recipe.cluster_frames - count])
            count += len(found[-1])
            bar.update(len(found[-1]))
            if count >= recipe.cluster_frames:
                break
    codebook = fit_codebook(np.concatenate(found), round_.clusters, source, recipe.seed)
    codebook.save(path)
    return codebook


def cnn_frames(model: MaskedUnitModel, utterances: Sequence[Utterance], precision: str, progress: bool) -> Frames:
    """What a frozen CNN makes of each utterance, (T, C) in half precision."""

    def of_cnn(wav: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return model.cnn_frames(wav)

    found = []
    with tqdm(total=len(utterances), desc="frames of the CNN", unit="clip", disable=not progress) as bar:
        for frames in _frames(utterances, of_cnn):
            found.append(frames.astype(np.float16))
            bar.update()
    return found


def _frames(utterances: Sequence[Utterance], features: Features) -> Iterator[np.ndarray]:
    """The features of each utterance in order, several utterances at a time, each on one core."""

    def of_one(utterance: Utterance) -> np.ndarray:
        torch.set_num_threads(1)  # of this worker; more of them would wait for each other
        wav = read_audio(utterance.path, num_samples=utterance.num_samples, expected_samples=utterance.num_samples)
        frames: np.ndarray = features(wav).float().numpy()
        return frames

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(utterances), _AT_A_TIME):
                yield from pool.map(of_one, utterances[first : first + _AT_A_TIME])
    finally:
        torch.set_num_threads(before)  # part of what a worker sets is the whole process's


def unit_features(source: str, model: MaskedUnitModel | None, precision: str) -> Features:
    """From a waveform (S,) to the frames (T, D) that a codebook's source names."""
    if source == "mfcc":
        return mfcc
    assert model is not None
    layer = int(source.removeprefix("layer "))

    def of_layer(wav: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return model.hidden_states(wav)[layer]

    return of_layer
