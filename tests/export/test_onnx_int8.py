"""The ONNX folder with whole numbers: close to float, small, and what calibration refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export import onnx_folder, onnx_int8
from s3prl_gendistiller.export.calibration import read_calibration
from s3prl_gendistiller.export.onnx_int8 import cosines, write_onnx_int8
from s3prl_gendistiller.export.onnx_quantisation import VARIANTS, quantise
from s3prl_gendistiller.inference.onnx_session import OnnxSession
from s3prl_gendistiller.inference.onnx_student import OnnxStudent
from tests.onnx_folders import CARD, write_speech


def weight_types(file: Path) -> list[int]:
    """Types of the matrices and kernels in a file."""
    return [tensor.data_type for tensor in onnx.load(str(file)).graph.initializer if np.prod(tensor.dims) > 400]


def test_whole_numbers_are_close_to_torch_and_say_so(int8_folder: Path, mel_checkpoint: Path) -> None:
    wav = torch.from_numpy(soundfile.read(int8_folder.parent / "speech/2.wav", dtype="float32")[0])
    wanted = load_student(mel_checkpoint).generate(wav, steps=2).hidden_states
    states, mask = OnnxStudent(int8_folder, threads=1)([wav])
    assert len(states) == 3 and bool(mask.all())
    found = [torch.cosine_similarity(a, b, dim=-1).mean() for a, b in zip(states, wanted, strict=True)]
    assert min(found) > 0.99 and any(float((a - b).abs().max()) > 1e-3 for a, b in zip(states, wanted, strict=True))
    card = (int8_folder / "README.md").read_text()
    assert "Variant: products and convolutions in whole numbers." in card
    assert "The ranges come from 6 pieces of speech. On 2 other pieces" in card
    assert "times as long for 10 s of audio" in card and "## Agreement" in card


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.about)
def test_weights_of_several_steps_become_whole_numbers_once(conv_folder: Path, tmp_path: Path, variant: object) -> None:
    speech = read_calibration(write_speech(tmp_path / "speech"))
    quantise(conv_folder / "model.onnx", tmp_path / "q.onnx", variant, speech.ranges)  # type: ignore[arg-type]
    before, after = weight_types(conv_folder / "model.onnx"), weight_types(tmp_path / "q.onnx")
    assert after.count(onnx.TensorProto.INT8) == len(before) == len(after)
    session, wanted = OnnxSession(tmp_path / "q.onnx", threads=1), OnnxSession(conv_folder / "model.onnx", threads=1)
    assert float(cosines(wanted, session, speech.held_out).min()) > 0.9


def test_the_first_variant_that_is_close_enough_is_taken_and_none_else(
    conv_folder: Path, conv_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = onnx.load(str(conv_folder / "model.onnx"))
    monkeypatch.setattr(onnx_folder, "export_graph", lambda student, steps: made)
    speech = write_speech(tmp_path / "speech")
    answers = [torch.tensor([[1.0, 0.98]]), torch.tensor([[1.0, torch.nan]]), torch.tensor([[0.99, 1.0]])]
    monkeypatch.setattr(onnx_int8, "cosines", lambda *arguments: answers.pop(0))
    write_onnx_int8(conv_checkpoint, tmp_path / "q", CARD, calibration=speech)
    assert f"Variant: {VARIANTS[2].about}." in (tmp_path / "q/README.md").read_text()
    monkeypatch.setattr(onnx_int8, "cosines", lambda *arguments: torch.tensor([[1.0, 0.5]]))
    with pytest.raises(UserError, match=r"no variant with whole numbers.*arithmetic in float: 0\.500"):
        write_onnx_int8(conv_checkpoint, tmp_path / "r", CARD, calibration=speech)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q", "speech"]


def test_recordings_are_held_out_as_a_whole(tmp_path: Path) -> None:
    four = read_calibration(write_speech(tmp_path / "four"))
    assert [len(piece) for piece in four.ranges] == [80_000, 16_000] * 3 and len(four.held_out) == 2
    one = read_calibration(write_speech(tmp_path / "one", count=1, seconds=22.0))
    assert len(one.ranges) == 4 and len(one.held_out) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such folder, expected one with recordings"),
        (lambda folder: folder.mkdir(), "found no recording to take ranges from"),
        (
            lambda folder: write_speech(folder, count=1, seconds=3),
            r"found 3\.0 s in 1 recordings, expected at least 20",
        ),
        (lambda folder: write_speech(folder, seconds=0.02), r"0\.wav: 320 samples at 16 kHz; expected at least 400"),
        (
            lambda folder: soundfile.write(write_speech(folder) / "silent.wav", np.zeros(16_000), 16_000),
            r"silent\.wav: is silent",
        ),
        (lambda folder: (write_speech(folder) / "empty.wav").touch(), r"empty\.wav: file is empty"),
        (
            lambda folder: soundfile.write(write_speech(folder) / "n.wav", np.full(16_000, np.nan), 16_000, "FLOAT"),
            r"n\.wav: holds NaN",
        ),
    ],
)
def test_calibration_audio_that_says_nothing_is_named(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "speech")  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        read_calibration(tmp_path / "speech")
