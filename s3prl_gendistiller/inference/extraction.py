"""Features of many recordings: short ones in batches of similar length, long ones in pieces; faults are collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from s3prl_gendistiller.distill.audio import SAMPLE_RATE, Measured, audio_blocks, measured, read_audio
from s3prl_gendistiller.distill.files import of_each_file
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_files import ARRAY, Shape
from s3prl_gendistiller.inference.feature_folder import FeatureFolder
from s3prl_gendistiller.inference.feature_models import FeatureModel
from s3prl_gendistiller.inference.frame_stream import num_frames
from s3prl_gendistiller.inference.long_audio import states_in_chunks
from s3prl_gendistiller.inference.recordings import Recording
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES
from s3prl_gendistiller.models.waveforms import check_numbers


@dataclass(frozen=True)
class Plan:
    """How recordings are read.

    Attributes:
        layers: indices of the hidden states that are kept.
        chunk_s, overlap_s: of `states_in_chunks`; a recording that fits into a window of both is read whole.
        batch_s: seconds of a batch of short recordings, with their padding; one longer recording is a batch as well.
    """

    layers: tuple[int, ...]
    dtype: str
    chunk_s: float
    overlap_s: float
    batch_s: float

    @property
    def longest_samples(self) -> int:
        """Samples of the longest recording that is read whole."""
        return round((self.chunk_s + 2 * self.overlap_s) * SAMPLE_RATE)


def extract(
    recordings: Sequence[Recording], model: FeatureModel, plan: Plan, folder: FeatureFolder, *, progress: bool
) -> list[str]:
    """Writes the features of all recordings that can be read.

    Returns:
        a message for each of the others, in the order of `recordings`.
    """
    known, problems = _measure(recordings, progress)
    if not known and not folder.begun:
        return [*problems.values()]
    folder.begin()
    with tqdm(
        total=sum(_seconds(samples) for _, samples in known), desc="features", unit="s", disable=not progress
    ) as bar:
        for batch in batches(known, plan, together=getattr(model, "batches", True)):
            if batch[0][1] > plan.longest_samples:
                problems |= _extract_long(*batch[0], model, plan, folder, bar)
            else:
                problems |= _extract_batch(batch, model, plan, folder)
                bar.update(sum(_seconds(samples) for _, samples in batch))
    found = {each.name: problems[each.name] for each in recordings if each.name in problems}
    folder.finish(found)
    return [*found.values()]


def batches(
    known: Sequence[tuple[Recording, int]], plan: Plan, *, together: bool
) -> Iterator[list[tuple[Recording, int]]]:
    """Recordings with their samples, sorted by length, in batches that hold at most `batch_s` with their padding.

    `together`: False puts each recording alone. A long recording is always alone.
    """
    batch: list[tuple[Recording, int]] = []
    most = plan.batch_s * SAMPLE_RATE if together else 0
    for each in sorted(known, key=lambda each: each[1]):
        padded = (len(batch) + 1) * each[1]
        if batch and (padded > most or each[1] > plan.longest_samples):
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _measure(recordings: Sequence[Recording], progress: bool) -> tuple[list[tuple[Recording, int]], dict[str, str]]:
    """The recordings with their samples, and by name the messages of those that cannot be used."""

    def look(recording: Recording) -> Measured | UserError:
        try:
            return measured(recording.path)
        except UserError as error:
            return error

    results = of_each_file(recordings, look, workers=None, description="audio files", progress=progress)
    pairs = [*zip(recordings, results, strict=True)]
    known = [(each, found.samples) for each, found in pairs if isinstance(found, Measured)]
    return known, {each.name: str(found) for each, found in pairs if isinstance(found, UserError)}


def _extract_batch(
    batch: Sequence[tuple[Recording, int]], model: FeatureModel, plan: Plan, folder: FeatureFolder
) -> dict[str, str]:
    problems: dict[str, str] = {}
    wavs: dict[str, Tensor] = {}
    for recording, _ in batch:
        try:
            wav = read_audio(recording.path)
            check_numbers(wav, str(recording.path))
            wavs[recording.name] = wav
        except UserError as error:
            problems[recording.name] = str(error)
    if not wavs:
        return problems
    lengths = torch.tensor([len(wav) for wav in wavs.values()])
    states, _ = model(pad_sequence([*wavs.values()], batch_first=True), lengths)
    for index, (name, wav) in enumerate(wavs.items()):
        shape = _shape(model, plan, len(wav))
        with folder.file(name, shape) as write:
            write([states[layer][index, : shape.frames].numpy() for layer in plan.layers])
    return problems


def _extract_long(
    recording: Recording, stated: int, model: FeatureModel, plan: Plan, folder: FeatureFolder, bar: tqdm
) -> dict[str, str]:
    path, end = recording.path, bar.n + _seconds(stated)
    try:
        samples = 0
        for block in audio_blocks(path):  # finds every fault of the file before the first features
            check_numbers(block, str(path))
            samples += len(block)
    except UserError as error:
        bar.update(end - bar.n)
        return {recording.name: str(error)}
    with folder.file(recording.name, _shape(model, plan, samples)) as write:
        for states in states_in_chunks(
            model, lambda: audio_blocks(path), chunk_s=plan.chunk_s, overlap_s=plan.overlap_s
        ):
            write([states[layer].numpy() for layer in plan.layers])
            bar.update(min(_seconds(len(states[0]) * FRAME_SAMPLES), end - bar.n))
    bar.update(end - bar.n)
    return {}


def _shape(model: FeatureModel, plan: Plan, samples: int) -> Shape:
    names = tuple(ARRAY.format(layer) for layer in plan.layers)
    return Shape(names, num_frames(samples), model.width, plan.dtype, samples)


def _seconds(samples: int) -> int:
    return round(samples / SAMPLE_RATE)
