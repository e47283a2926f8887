from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from hubert import training
from hubert.codebook import Codebook
from hubert.encoder import build_hubert, encode
from hubert.folder import write_hubert_folder
from hubert.frames import frames_of
from hubert.model import MEL_BINS, GuidedModel, MelTargets
from hubert.recipe import PhaseConfig, PhasedRecipe
from hubert.steps import STATE, WEIGHTS
from hubert.stream import Stream
from hubert.training import Guide, Streams, encoder_folder, own_guide, phase_folder, train_phases
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import UserError
from tests.benchmarks.hubert.conftest import SHAPE, Speech

CPU = torch.device("cpu")
WIDTH = 6
TINY = PhasedRecipe(
    phases=(
        PhaseConfig(steps=6, imitate=(1, 2)),
        PhaseConfig(
            steps=4,
            units_from=1,
            clusters=5,
            imitate=(1,),
            predicted_from=(1, 2),
            mask_probability=0.4,
            mel_from=(1,),
            mix_share=0.5,
        ),
        PhaseConfig(steps=2, guide="self", units_from=2, clusters=4, predicted_from=(2,)),
    ),
    shape=SHAPE,
    batch_seconds=3.0,
    crop_seconds=(0.5, 1.0),
    unit_dim=8,
    cluster_frames=1000,
    log_step=2,
    save_step=3,
)


def loudness_guide() -> Guide:
    """A guide of three hidden states, each a random mixture of the loudness around a frame."""
    torch.manual_seed(1)
    mixtures = torch.randn(3, 20, WIDTH)

    def states(wavs: torch.Tensor) -> list[torch.Tensor]:
        frames = wavs.unfold(1, 400, 320)  # (B, T, 400)
        assert frames.shape[1] == frames_of(wavs.shape[1])
        loudness = frames.unflatten(2, (20, 20)).square().mean(-1).add(1e-4).log()
        return [loudness @ mixture for mixture in mixtures]

    return Guide(nn.Identity(), states, WIDTH)


@pytest.fixture(scope="module")
def streams(speech: Speech) -> Streams:
    train, valid = (Stream.read(part, CPU, 0, "speech") for part in (speech.train, speech.valid))
    return Streams(train, valid, real=valid)


@pytest.fixture(scope="module")
def finished(streams: Streams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guided") / "out"
    out.mkdir()
    train_phases(TINY, streams, loudness_guide(), out, CPU, progress=False)
    return out


def weights(out: Path, number: int) -> dict[str, torch.Tensor]:
    return torch.load(phase_folder(out, number) / WEIGHTS, weights_only=True)


def test_every_phase_leaves_weights_and_records(finished: Path) -> None:
    first, second = (read_metrics(phase_folder(finished, number), "train") for number in (1, 2))
    assert list(first) == [2, 4, 6] and first[6]["loss"] < first[2]["loss"]
    assert {"error_1", "mel_error_1", "seen_accuracy_2", "masked_accuracy_1"} <= second[4].keys()
    assert list(read_metrics(phase_folder(finished, 1), "valid")) == [3, 6]
    assert Codebook.load(phase_folder(finished, 2) / "codebook.safetensors").source == "layer 1 of whisper"
    assert Codebook.load(phase_folder(finished, 3) / "codebook.safetensors").centroids.shape == (4, 16)


def test_an_interrupted_phase_continues_as_if_unbroken(
    finished: Path, streams: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        real = training.append_metrics

        def until_five(folder: Path, split: str, step: int, report: dict[str, float]) -> None:
            real(folder, split, step, report)
            if (folder.name, split, step) == ("phase1", "train", 4):
                stop()

        patched.setattr(training, "append_metrics", until_five)
        with pytest.raises(KeyboardInterrupt):
            train_phases(TINY, streams, loudness_guide(), out, CPU, progress=False)
    assert (phase_folder(out, 1) / STATE).is_file()
    train_phases(TINY, streams, loudness_guide(), out, CPU, progress=False)
    for number in (1, 2, 3):
        expected = weights(finished, number)
        assert all(torch.equal(value, expected[name]) for name, value in weights(out, number).items())


def test_finished_phases_are_read_and_another_recipe_is_refused(
    finished: Path, streams: Streams, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    seen = []
    train_phases(
        TINY, streams, loudness_guide(), out, CPU, finished=lambda number, model: seen.append(number), progress=False
    )
    assert seen == [1, 2, 3]
    other = dataclasses.replace(TINY, unit_dim=4)
    with pytest.raises(UserError, match="was begun with another recipe"):
        train_phases(other, streams, loudness_guide(), out, CPU, progress=False)


def test_the_guide_of_a_model_is_its_state_before_the_phase() -> None:
    hubert = build_hubert(SHAPE)
    guide, wavs = own_guide(hubert), torch.randn(1, 4_000)
    before = guide(wavs, [1])[1]
    with torch.no_grad():
        for parameter in hubert.parameters():
            parameter.add_(1.0)
    assert torch.equal(guide(wavs, [1])[1], before)
    assert before.mean(-1).abs().max() < 1e-5 and not any(p.requires_grad for p in guide.parameters())


def test_weights_of_masked_and_seen_frames_enter_the_loss() -> None:
    phase = dataclasses.replace(TINY.phases[1], imitate=(), predicted_from=(2,), mel_from=(), seen_weight=0.0)
    torch.manual_seed(0)
    model = GuidedModel(build_hubert(SHAPE).eval(), TINY, phase, WIDTH)
    wavs, mask = torch.randn(2, 4_000), torch.zeros(2, 12, dtype=torch.bool)
    mask[0, 3] = True
    units = torch.zeros(2, 12, dtype=torch.int64)
    alone = model(wavs, mask, {}, units)["loss"]
    units[1] = 3  # of seen frames alone
    assert torch.equal(model(wavs, mask, {}, units)["loss"], alone)
    model.phase = dataclasses.replace(phase, seen_weight=1.0)
    assert not torch.equal(model(wavs, mask, {}, units)["loss"], alone)


def test_the_encoder_of_a_phase_is_a_plain_hubert(finished: Path, tmp_path: Path) -> None:
    from transformers import HubertModel

    model = GuidedModel(build_hubert(SHAPE), TINY, TINY.phases[2], SHAPE.hidden_size)
    model.load_state_dict(weights(finished, 3))
    folder = write_hubert_folder(model.hubert, tmp_path / "encoder", model.heads["2"])
    wavs = torch.randn(1, 4_000)
    read = HubertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = encode(model.hubert.eval(), wavs)
        found = read(wavs, output_hidden_states=True).hidden_states
    assert all(torch.allclose(state, other, atol=0.02) for state, other in zip(found, expected, strict=True))


def test_a_phase_whose_encoder_is_there_is_finished(finished: Path, streams: Streams, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    model = GuidedModel(build_hubert(SHAPE), TINY, TINY.phases[1], WIDTH)
    model.load_state_dict(weights(finished, 2))
    write_hubert_folder(model.hubert, encoder_folder(out, 2))
    write_hubert_folder(build_hubert(SHAPE), encoder_folder(out, 1))
    seen = []
    train_phases(
        TINY, streams, loudness_guide(), out, CPU, finished=lambda number, model: seen.append(number), progress=False
    )
    assert seen == [3]
    # the guide of the last phase is the encoder of the second, in half precision
    found, expected = (Codebook.load(phase_folder(place, 3) / "codebook.safetensors") for place in (out, finished))
    assert abs(found.centroids - expected.centroids).max() < 0.05


def test_mel_targets_have_one_row_for_each_frame_and_no_loudness() -> None:
    wavs = torch.randn(2, 400 + 320 * 11)
    mels = MelTargets()(wavs)
    assert mels.shape == (2, 12, MEL_BINS)
    assert torch.allclose(MelTargets()(3 * wavs), mels, atol=1e-3)
    assert torch.allclose(
        mels[:, 4],
        (MelTargets().mel(wavs[:, 1_280:1_680])[:, 0] - MelTargets().mel(wavs)[:, ::2].mean((1, 2))[:, None]) / 2,
    )


def test_the_error_of_the_energies_teaches_the_layers_below_it() -> None:
    phase = dataclasses.replace(TINY.phases[0], imitate=(), mel_from=(1,))
    torch.manual_seed(0)
    model = GuidedModel(build_hubert(SHAPE).eval(), TINY, phase, WIDTH)
    wavs = torch.randn(2, 400 + 320 * 11)
    model(wavs, None, {}, mels=MelTargets()(wavs))["loss"].backward()
    touched = [sum(p.grad is not None for p in layer.parameters()) for layer in model.hubert.encoder.layers]
    assert touched[0] and not touched[1]
