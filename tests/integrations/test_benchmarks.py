"""The contracts of HEAR and X-ARES, checked by code of our own; docs/integrations.md says what their checkers said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.integrations import hear, xares
from s3prl_gendistiller.integrations.frames import StudentFrames
from s3prl_gendistiller.models.waveforms import WaveformError
from tests.conftest import TINY
from tests.host.test_checkpoint import CONFIG, save_student


@pytest.fixture(scope="module", params=["conv", "mel"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("students") / "states-3.ckpt"
    if request.param == "conv":
        return save_student(path)
    sizes = {name: value for name, value in TINY.items() if name != "extractor_conv_feature_layers"}
    mel = {**CONFIG, "student": {**sizes, "front_end": "mel"}, "warm_start": {"front_end": False}}
    return save_student(path, GenDistiller=build_student(mel).state_dict(), Upstream_Config=mel)


@pytest.fixture
def audio() -> torch.Tensor:
    return 2 * torch.rand(4, 16_000, generator=torch.Generator().manual_seed(0)) - 1  # (B, S)


def test_hear_finds_its_three_functions_and_attributes(student: Path, audio: torch.Tensor) -> None:
    model = hear.load_model(str(student)).to("cpu")
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (16_000, 24, 24)
    embeddings, times = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == torch.float32 and embeddings.shape == (4, 49, 24) and times.shape == (4, 49)
    assert times[3, :3].tolist() == [12.5, 32.5, 52.5]  # the middles of frames of 25 ms, in ms
    assert torch.equal(hear.get_scene_embeddings(audio, model), embeddings.mean(1))
    assert not embeddings.requires_grad


def test_xares_finds_its_attributes_and_a_class_without_arguments(student: Path, audio: torch.Tensor) -> None:
    class MyStudentEncoder(xares.StudentEncoder):
        def __init__(self) -> None:
            super().__init__(student)

    encoder = MyStudentEncoder()
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (16_000, 24, 20.0)
    assert encoder(torch.randn(2, 50_000)).shape == (2, 156, 24)
    assert [name for name in vars(xares) if name.endswith("Encoder")] == ["StudentEncoder"]
    states = load_student(student).generate(audio).hidden_states
    torch.testing.assert_close(encoder(audio), torch.stack(states).mean(0))


def test_a_layer_and_a_number_of_steps_are_chosen(student: Path, audio: torch.Tensor) -> None:
    states = load_student(student).generate(audio).hidden_states
    assert torch.equal(StudentFrames(student, layer=-1)(audio), states[-1])
    assert torch.equal(hear.load_model(student, steps=1, layer=1)(audio), states[1])


@pytest.mark.parametrize("samples", [400, 719, 3200, 3279, 16_000, 25_431])
def test_pieces_of_long_audio_have_the_frames_of_the_whole(student: Path, samples: int) -> None:
    pieces = StudentFrames(student, chunk_seconds=0.2)
    audio = torch.randn(2, samples)
    whole = (samples - 400) // 320 + 1
    assert pieces(audio).shape == StudentFrames(student)(audio).shape == (2, whole, 24)
    cut = [*pieces._pieces(audio)]
    assert len(cut) == -(-whole // 10) and max(piece.shape[1] for piece in cut) <= 10 * 320 + 400
    if len(cut) == 1:
        assert torch.equal(pieces(audio), StudentFrames(student)(audio))


def test_what_the_interfaces_do_not_take_is_refused(student: Path, audio: torch.Tensor) -> None:
    with pytest.raises(UserError, match="model_file_path: found nothing, expected a checkpoint"):
        hear.load_model()
    with pytest.raises(UserError, match=r"none\.ckpt: no such checkpoint"):
        xares.StudentEncoder("none.ckpt")
    with pytest.raises(UserError, match=r"steps: found 3, expected 1\.\.2"):
        hear.load_model(student, steps=3)
    with pytest.raises(UserError, match=r"layer: found 3, expected -3\.\.2"):
        hear.load_model(student, layer=3)
    with pytest.raises(UserError, match="chunk_seconds: found 0, expected at least 0.02"):
        xares.StudentEncoder(student, chunk_seconds=0)
    model = hear.load_model(student)
    for wrong, message in (
        (audio[0], r"found the shape \(16000,\), expected a tensor \(B, S\)"),
        (audio[:, None], r"found the shape \(4, 1, 16000\)"),
        (audio.numpy(), "found ndarray"),
        (audio[:, :300], "found 300 samples, expected at least 400"),
        (audio / 0, "expected finite numbers"),
    ):
        with pytest.raises(WaveformError, match=message):
            hear.get_scene_embeddings(wrong, model)
