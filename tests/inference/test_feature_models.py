from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from s3prl_gendistiller.inference.feature_models import TorchStudent, choose_layers, load_feature_model, place_hash
from tests.host.test_checkpoint import save_student
from tests.inference.students import STUDENTS, speech, student, whole_states

CARD = Card("mine", 123_456, 0.5, 8)


def test_every_place_of_a_student_gives_the_same_features(tmp_path: Path) -> None:
    checkpoint = save_student(tmp_path / "run/states-3.ckpt")
    write_hub_folder(checkpoint, tmp_path / "exported", CARD)
    wavs, lengths = torch.stack((speech(4_000), speech(4_000, 1))), torch.tensor([4_000, 3_000])
    wavs[1, 3_000:] = 0
    expected = load_student(checkpoint).generate(wavs, lengths)
    for place in (checkpoint, tmp_path / "run", str(tmp_path / "exported")):
        model = load_feature_model(place)
        states, mask = model(wavs, lengths)
        assert (model.name, model.num_layers, model.width) == (Path(place).name, 3, states[0].shape[-1])
        assert all(torch.equal(*pair) for pair in zip(states, expected.hidden_states, strict=True))
        assert torch.equal(mask, expected.frame_mask)
    assert place_hash(checkpoint) == place_hash(tmp_path / "run") != place_hash(tmp_path / "exported")


def test_fewer_steps_give_fewer_layers_and_too_many_are_refused(tmp_path: Path) -> None:
    checkpoint = save_student(tmp_path / "states-3.ckpt")
    write_hub_folder(checkpoint, tmp_path / "exported", CARD, steps=1)
    assert load_feature_model(checkpoint, steps=1).num_layers == 2
    assert load_feature_model(tmp_path / "exported").num_layers == 2
    assert load_feature_model(tmp_path / "exported", steps=2).num_layers == 3
    with pytest.raises(UserError, match=r"steps: found 3, expected 1\.\.2"):
        load_feature_model(checkpoint, steps=3)


def test_a_folder_with_an_onnx_file_goes_to_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ModuleType("onnx_student")
    reader.OnnxStudent = lambda folder, steps, threads: SimpleNamespace(given=(folder, steps, threads))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s3prl_gendistiller.inference.onnx_student", reader)
    (tmp_path / "model.onnx").write_bytes(b"x")
    made = load_feature_model(tmp_path, steps=2, threads=3)
    assert made.given == (tmp_path, 2, 3)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="an ONNX folder, which runs on cpu"):
        load_feature_model(tmp_path, device="cuda")
    assert len(place_hash(tmp_path)) == 16


@pytest.mark.parametrize("name", STUDENTS)
def test_features_given_to_a_student_are_its_own(name: str) -> None:
    made, wav = student(name), speech(9_000)
    model = TorchStudent(made, name)
    assert model.front is not None and model.batches == made.ignores_padding
    with torch.inference_mode():
        features, mask = model.front(wav[None], torch.tensor([len(wav)]))
    assert bool(mask.all())
    for found, expected in zip(model.states_of(features), whole_states(made, wav), strict=True):
        torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)


def test_layers_are_chosen_from_either_end() -> None:
    model = TorchStudent(student("conv"), "mine")
    assert choose_layers(None, model) == [0, 1, 2] and choose_layers([-1, 0], model) == [2, 0]
    for wrong in ([3], [-4], [1, -2], []):
        with pytest.raises(UserError, match="expected different numbers from -3 to 2: 0 is what enters the first"):
            choose_layers(wrong, model)


def test_a_student_with_other_frames_is_refused() -> None:
    shapes = ((16, 10, 5), *((16, 3, 2),) * 4, (16, 2, 2))
    with pytest.raises(UserError, match="mine: found other frames than 400 samples, 320 apart"):
        TorchStudent(student("conv", extractor_conv_feature_layers=shapes), "mine")
