"""A stream gives the frames of the same windows as one pass over the features, with statistics that grow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_models import TorchStudent
from s3prl_gendistiller.inference.frame_stream import num_frames, samples_of
from s3prl_gendistiller.inference.statistics import whole_statistics
from s3prl_gendistiller.inference.stream import StudentStream
from s3prl_gendistiller.models.front_end import Front
from s3prl_gendistiller.models.moments import Statistics
from tests.inference.students import speech, student, toy, whole_states

WAV = speech(2 * 16_000 + 77)
PIECE, BEFORE, AFTER = 15, 20, 10  # frames
SECONDS = {"piece_s": 0.3, "context_s": 0.4, "lookahead_s": 0.2}
FORMS = ["conv", "mel_utterance", "mel_bin", "thin_normalised", "distilhubert"]


def streamed(stream: StudentStream, parts: Iterable[Tensor]) -> list[Tensor]:
    pieces = [*(stream.push(part) for part in parts), stream.finish()]
    return [torch.cat(states) for states in zip(*pieces, strict=True)]


def front_of(name: str) -> tuple[TorchStudent, Front]:
    model = TorchStudent(student(name), name)
    assert model.front is not None
    return model, model.front


@torch.inference_mode()
def windowed(model: TorchStudent, features: Tensor) -> list[Tensor]:
    """The hidden states of all pieces, from features (1, T, C) that are computed at once."""
    frames, pieces = features.shape[1], []
    for first in range(0, frames, PIECE):
        start, end = max(0, first - BEFORE), min(frames, first + PIECE)
        states = model.states_of(features[:, start : min(frames, first + PIECE + AFTER)])
        pieces.append([state[0, first - start : end - start] for state in states])
    return [torch.cat(states) for states in zip(*pieces, strict=True)]


@pytest.mark.parametrize("name", FORMS)
def test_a_stream_reads_the_windows_that_it_states(name: str) -> None:
    model, front = front_of(name)
    given = whole_statistics(front, lambda: [WAV])
    with torch.inference_mode():
        features, _ = front(WAV[None], torch.tensor([len(WAV)]))
    expected = windowed(model, features)
    found = streamed(StudentStream(student(name), statistics=given, **SECONDS), WAV.split(1_111))
    for pair in zip(found, expected, strict=True):
        torch.testing.assert_close(*pair, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["conv", "mel_utterance", "thin_normalised"])
def test_running_statistics_are_those_of_the_samples_so_far(name: str) -> None:
    model, front = front_of(name)
    margin = front.front_end.margin_frames
    stream = StudentStream(student(name), **SECONDS)
    needed = samples_of(PIECE + AFTER + margin)
    found = stream.push(WAV[: needed + 1_000])  # more samples than the first piece needs do not count for it
    samples = None
    if front.normalises:
        samples = whole_statistics(front, lambda: [WAV[:needed]]).samples
    with torch.inference_mode():
        normed = WAV[None, :needed] if samples is None else samples.normalise(WAV[None, :needed], 1e-7)
        given = Statistics(samples, front.front_end.moments(normed))
        features, _ = front(WAV[None, :needed], torch.tensor([needed]), given)
        expected = model.states_of(features[:, : PIECE + AFTER])
    for states, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(states, wanted[0, :PIECE], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", FORMS)
def test_frames_do_not_depend_on_the_portions(name: str) -> None:
    made = student(name)
    found = [streamed(StudentStream(made, **SECONDS), WAV.split(size)) for size in (160, 4_097, len(WAV))]
    assert len(found[0][0]) == num_frames(len(WAV))
    for other in found[1:]:
        for pair in zip(found[0], other, strict=True):
            torch.testing.assert_close(*pair, atol=2e-5, rtol=1e-4)


def test_a_stream_of_one_piece_is_the_whole_audio() -> None:
    made = student("mel_utterance")
    stream = StudentStream(made, piece_s=10, layers=[-1, 0])
    last, first = streamed(stream, WAV.split(3_000))
    whole = whole_states(made, WAV)
    torch.testing.assert_close(last, whole[-1], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(first, whole[0], atol=2e-5, rtol=1e-4)
    assert stream.frames == len(last)


@pytest.mark.parametrize("name", ["conv", "mel_bin"])
def test_the_latency_is_the_stated_one(name: str) -> None:
    stream = StudentStream(student(name), steps=1, **SECONDS)
    samples = round(stream.latency_s * 16_000)  # from the first sample of frame 0
    assert [len(states) for states in stream.push(WAV[: samples - 1])] == [0, 0]
    assert [states.shape for states in stream.push(WAV[samples - 1 : samples])] == [(PIECE, 24)] * 2
    assert stream.latency_s == pytest.approx(0.3 + 0.2 + 0.005 + 0.02 * (2 if name == "mel_bin" else 0))


def test_the_memory_of_a_stream_does_not_grow() -> None:
    stream = StudentStream(student("conv"), **SECONDS)
    for _ in range(50):
        stream.push(speech(8_000))
        reader = stream._stream.reader
        assert sum(len(part) for part in reader._samples._parts) <= 8_000 + samples_of(PIECE + AFTER)
        assert reader._features is None or reader._features.shape[1] <= BEFORE + PIECE + AFTER


def test_arrays_of_numpy_and_halves_are_taken_and_the_callers_memory_is_left_alone() -> None:
    made = student("conv")
    expected = streamed(StudentStream(made, **SECONDS), [WAV])
    stream, buffer = StudentStream(made, **SECONDS), np.zeros(1_000, np.float32)
    pieces = []
    for part in WAV.split(1_000):
        buffer[: len(part)] = part
        pieces.append(stream.push(buffer[: len(part)]))
    pieces.append(stream.finish())
    for found, wanted in zip(zip(*pieces, strict=True), expected, strict=True):
        torch.testing.assert_close(torch.cat(found), wanted, atol=2e-5, rtol=1e-4)
    assert StudentStream(made).push(WAV.half())[0].shape == (50, 24)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(0), r"found the shape \(0,\), expected \(S,\) with at least one sample"),
        (torch.zeros(1, 100), r"found the shape \(1, 100\), expected \(S,\)"),
        (torch.zeros(100, dtype=torch.int16), "found samples of type int16, expected floats"),
        (np.zeros(100, np.int16), "found samples of type int16, expected floats"),
        (torch.tensor([0.0, float("nan")]), "found nan at sample 1, expected finite numbers"),
        (torch.full((10,), 3_000.0), "found samples up to 3000, expected floats between -1 and 1"),
        ([0.0, 0.1], "found list, expected a tensor or a numpy array"),
    ],
)
def test_wrong_samples_are_refused_and_the_stream_goes_on(samples: object, message: str) -> None:
    stream = StudentStream(student("conv"), **SECONDS)
    first = stream.push(WAV[:9_000])
    with pytest.raises(ValueError, match=message) as refused:
        stream.push(samples)
    assert isinstance(refused.value, UserError)
    pieces = [first, stream.push(WAV[9_000:]), stream.finish()]
    expected = streamed(StudentStream(student("conv"), **SECONDS), [WAV])
    torch.testing.assert_close(torch.cat([piece[-1] for piece in pieces]), expected[-1], atol=2e-5, rtol=1e-4)


def test_an_ended_or_empty_stream_is_refused() -> None:
    stream = StudentStream(student("conv"))
    stream.push(WAV[:399])
    with pytest.raises(ValueError, match="found 399 samples at its end, expected at least 400"):
        stream.finish()
    stream.push(WAV[399:400])
    assert len(stream.finish()[0]) == 1
    for call in (stream.finish, lambda: stream.push(WAV)):
        with pytest.raises(ValueError, match="after finish.*begin another StudentStream"):
            call()


def test_impossible_settings_are_refused() -> None:
    made = student("conv")
    for wrong in ({"piece_s": 0.0}, {"context_s": -1.0}, {"lookahead_s": float("inf")}, {"layers": [5]}):
        with pytest.raises(UserError, match=f"{[*wrong][0]}: found"):
            StudentStream(made, **wrong)
    with pytest.raises(ValueError, match="found a ToyStudent, expected one that takes features"):
        StudentStream(toy())
