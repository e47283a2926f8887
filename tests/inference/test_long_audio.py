"""Long audio: pieces have the frames of the whole, and differ from it in the attention alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_models import FeatureModel, TorchStudent
from s3prl_gendistiller.inference.frame_stream import FeatureReader, WindowReader, num_frames, samples_of
from s3prl_gendistiller.inference.long_audio import states_in_chunks, states_of_file
from s3prl_gendistiller.inference.statistics import PART_SAMPLES, whole_statistics
from tests.inference.students import STUDENTS, speech, student, toy, whole_states

WAV = speech(3 * 16_000 + 211)


def chunked(model: FeatureModel, wav: Tensor = WAV, part: int = 7_001, **seconds: float) -> list[Tensor]:
    pieces = [*states_in_chunks(model, lambda: wav.split(part), **seconds)]
    return [torch.cat(states) for states in zip(*pieces, strict=True)]


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("samples", [400, 719, 720, 880, len(WAV)])
def test_one_chunk_is_the_whole_file(name: str, samples: int) -> None:
    made = student(name)
    found = chunked(TorchStudent(made, name), WAV[:samples], chunk_s=10)
    for states, expected in zip(found, whole_states(made, WAV[:samples]), strict=True):
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in STUDENTS if not name.startswith("distilhubert")])
@pytest.mark.parametrize("samples", [len(WAV), len(WAV) // 2, 16_000])
def test_the_front_end_of_pieces_is_that_of_the_whole_file(name: str, samples: int) -> None:
    made, wav = student(name), WAV[:samples]
    expected = whole_states(made, wav)
    found = chunked(TorchStudent(made, name), wav, chunk_s=0.3, overlap_s=0.2)  # the position reaches four frames
    assert [len(states) for states in found] == [num_frames(samples)] * 3
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    assert (found[-1] - expected[-1]).abs().max() > 1e-3  # the attention reads a window alone


@pytest.mark.parametrize("name", ["conv", "mel_utterance", "thin_normalised"])
def test_the_statistics_of_a_piece_alone_would_be_others(name: str) -> None:
    made = student(name)
    model = TorchStudent(made, name)
    reader = WindowReader(model)
    reader.add(WAV)
    alone = reader.read(0, 30, last=False)[0]
    assert (alone - whole_states(made, WAV)[0][:30]).abs().max() > 1e-2


def test_frames_do_not_depend_on_how_the_samples_come() -> None:
    model = TorchStudent(student("mel_bin"), "mine")
    first = chunked(model, part=100, chunk_s=0.4, overlap_s=0.1)
    second = chunked(model, part=len(WAV), chunk_s=0.4, overlap_s=0.1)
    for pair in zip(first, second, strict=True):
        torch.testing.assert_close(*pair, atol=1e-5, rtol=1e-5)


def test_a_student_that_takes_no_features_reads_windows_of_samples() -> None:
    made = toy()
    model = TorchStudent(made, "toy")
    whole = whole_states(made, WAV)
    assert all(torch.equal(*pair) for pair in zip(chunked(model, chunk_s=10), whole, strict=True))
    found = chunked(model, chunk_s=1, overlap_s=0.5)
    assert [states.shape for states in found] == [states.shape for states in whole]
    assert 0 < (found[0] - whole[0]).norm() / whole[0].norm() < 0.5


def test_the_memory_of_both_passes_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TorchStudent(student("mel_utterance"), "mine")
    assert model.front is not None
    largest, held = [], []
    moments = model.front.front_end.moments
    monkeypatch.setattr(model.front.front_end, "moments", lambda wavs: (largest.append(wavs.numel()), moments(wavs))[1])
    forget = FeatureReader.read

    def read(self: FeatureReader, *window: int) -> list[Tensor]:
        states = forget(self, *window)
        assert self._features is not None
        kept = sum(part.untyped_storage().nbytes() for part in self._samples._parts)
        held.append((kept, self._features.shape[1]))
        return states

    monkeypatch.setattr(FeatureReader, "read", read)
    parts = [speech(40_000, seed) for seed in range(12)]  # 30 s
    pieces = [*states_in_chunks(model, lambda: iter(parts), chunk_s=1, overlap_s=0.5)]
    assert sum(len(piece[0]) for piece in pieces) == num_frames(480_000)
    assert len(largest) == 12 and max(largest) <= PART_SAMPLES + 400
    assert max(samples for samples, _ in held) <= 4 * (16_000 + 80_000) and max(frames for _, frames in held) <= 100


def test_a_large_part_is_counted_in_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TorchStudent(student("conv"), "mine")
    front = model.front
    assert front is not None
    wav = speech(3 * PART_SAMPLES + 5)
    sizes: list[int] = []
    moments = front.front_end.moments
    monkeypatch.setattr(front.front_end, "moments", lambda wavs: (sizes.append(wavs.numel()), moments(wavs))[1])
    for size in (len(wav), 1_999):
        found = whole_statistics(front, lambda size=size: wav.split(size)).frames
        assert found is not None and max(sizes) <= PART_SAMPLES + 10
        torch.testing.assert_close(found.mean, moments(wav[None]).mean, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(found.variance, moments(wav[None]).variance, atol=1e-9, rtol=1e-4)


def test_parts_shorter_than_one_frame_are_joined() -> None:
    front = TorchStudent(student("mel_bin"), "mine").front
    assert front is not None
    found = whole_statistics(front, lambda: WAV[:4_000].split(37)).frames
    assert found is not None and found.count == (4_000 - 400) // 160 + 1
    torch.testing.assert_close(found.mean, front.front_end.moments(WAV[None, :4_000]).mean, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_a_file_is_read_in_blocks_twice(tmp_path: Path, rate_hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3prl_gendistiller.distill.audio._BLOCK_FRAMES", 5_000)
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(2 * rate_hz).numpy(), rate_hz, subtype="FLOAT")
    made = student("conv")
    found = [*states_of_file(TorchStudent(made, "mine"), path, chunk_s=0.5, overlap_s=0.2)]
    assert sum(len(piece[0]) for piece in found) == num_frames(32_000) == 99
    assert samples_of(99) <= 32_000 < samples_of(100)


@pytest.mark.parametrize(("chunk", "overlap"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -0.1), (float("nan"), 1.0), (1.0, 1e9)])
def test_impossible_durations_are_refused(chunk: float, overlap: float) -> None:
    def none() -> Iterator[Tensor]:
        raise AssertionError("nothing is read")
        yield

    with pytest.raises(UserError, match=r"(chunk|overlap): found .* s, expected 0(\.02)? to 86,400 s"):
        next(states_in_chunks(TorchStudent(student("conv"), "mine"), none, chunk_s=chunk, overlap_s=overlap))
