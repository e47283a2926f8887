from __future__ import annotations

import itertools

import numpy as np
import pytest

from hubert.batches import CropPlanner, Speech, frames_of, read_batch, samples_of, slice_batch
from s3prl_gendistiller.distill.audio import read_audio


def planner(speech: Speech, seed: int = 0) -> CropPlanner:
    return CropPlanner(speech.train, crop_seconds=0.8, batch_seconds=3.0, seed=seed)


def test_an_epoch_holds_every_utterance_once_within_the_budget(speech: Speech) -> None:
    plans = list(planner(speech).epoch(0))
    assert sorted(np.concatenate([plan.indices for plan in plans])) == list(range(len(speech.train)))
    frames = np.array([frames_of(utterance.num_samples) for utterance in speech.train])
    for plan in plans:
        assert len(plan.indices) * plan.frames <= 150 and plan.frames <= 40
        assert (plan.starts >= 0).all() and (plan.starts + plan.frames <= frames[plan.indices]).all()
    assert max(len(plan.indices) for plan in plans) > 1


def test_a_run_that_goes_on_sees_what_an_unbroken_one_sees(speech: Speech) -> None:
    whole = list(itertools.islice(planner(speech).forever(), 14))
    rest = list(itertools.islice(planner(speech).forever(skip=9), 5))
    for one, other in zip(whole[9:], rest, strict=True):
        assert (one.indices == other.indices).all() and (one.starts == other.starts).all()
    others = itertools.islice(planner(speech, seed=1).forever(), 14)
    assert [plan.starts.tolist() for plan in whole] != [plan.starts.tolist() for plan in others]


def test_units_stand_beside_their_frames(speech: Speech) -> None:
    units = [np.arange(frames_of(utterance.num_samples)) for utterance in speech.train]
    plan = next(planner(speech).forever())
    batch = read_batch(speech.train, units, plan)
    assert batch.inputs.shape == (len(plan.indices), samples_of(plan.frames))
    for row, index in enumerate(plan.indices):
        assert batch.units[row].tolist() == list(range(plan.starts[row], plan.starts[row] + plan.frames))
        whole = read_audio(speech.train[index].path)
        first = int(batch.units[row][0]) * 320
        assert (batch.inputs[row] == whole[first : first + batch.inputs.shape[1]]).all()


def test_frames_and_samples_belong_together() -> None:
    for frames in (1, 2, 50):
        assert frames_of(samples_of(frames)) == frames and frames_of(samples_of(frames) - 1) == frames - 1


def test_speech_without_frames_is_refused(speech: Speech) -> None:
    short = [utterance._replace(num_samples=500) for utterance in speech.train]
    with pytest.raises(ValueError, match="two frames"):
        CropPlanner(short, 1.0, 2.0, 0)


def test_crops_of_frames_in_memory_are_those_of_the_plan(speech: Speech) -> None:
    lengths = [frames_of(utterance.num_samples) for utterance in speech.train]
    units = [np.arange(length) for length in lengths]
    frames = [np.stack([unit, -unit], axis=1).astype(np.float16) for unit in units]
    plan = next(planner(speech).forever())
    batch = slice_batch(frames, units, plan)
    assert batch.inputs.shape == (len(plan.indices), plan.frames, 2)
    assert (batch.inputs[..., 0] == batch.units).all() and (batch.inputs[..., 1] == -batch.units).all()
