"""Fused attention of teachers against the attention that transformers computes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.fused_attention import fuse_attention
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from tests.bench import TINY_TEACHER

Audio = tuple[Tensor, Tensor]


@pytest.fixture(params=[False, True], ids=["post-norm", "pre-norm"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_random_teacher(tmp_path / "t", model_type="wavlm", stable_layer_norm=request.param, **TINY_TEACHER)


def unfused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Teacher:
    with monkeypatch.context() as patch:
        patch.setattr("s3prl_gendistiller.distill.transformers_teacher.fuse_attention", lambda model: None)
        return load_transformers_teacher(folder)


def compare(found: Tensor, expected: Tensor, frames: tuple[int, ...]) -> None:
    """(B, L, T, D) on the real frames."""
    for ours, theirs, count in zip(found, expected, frames, strict=True):
        torch.testing.assert_close(ours[:, :count], theirs[:, :count], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ignores_padding", [False, True])
def test_fused_wavlm_gives_the_states_of_transformers(
    folder: Path, wavs: Audio, ignores_padding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused, stock = load_transformers_teacher(folder), unfused(folder, monkeypatch)
    for teacher in (fused, stock):
        # biases of this size move every attention weight by more than the tolerance
        torch.nn.init.normal_(
            teacher.encoder.encoder.layers[0].attention.rel_attn_embed.weight, generator=torch.manual_seed(3)
        )
        if ignores_padding:
            teacher.ignore_padding()
    layers = [0, 1, 2, 3]
    compare(fused(*wavs, layers), stock(*wavs, layers), (24, 15, 9))
    unpadded = torch.full((3,), 8000)
    compare(fused(wavs[0], unpadded, layers), stock(wavs[0], unpadded, layers), (24, 24, 24))


def test_relative_positions_matter(folder: Path, wavs: Audio) -> None:
    teacher = load_transformers_teacher(folder)
    before = teacher(*wavs, [3])
    torch.nn.init.normal_(teacher.encoder.encoder.layers[0].attention.rel_attn_embed.weight)
    assert (teacher(*wavs, [3]) - before).abs().max() > 1e-3


def test_weights_and_the_library_stay_as_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock_forward = WavLMAttention.forward
    fused, stock = load_transformers_teacher(folder), unfused(folder, monkeypatch)
    assert WavLMAttention.forward is stock_forward and stock_forward.__module__.startswith("transformers.")
    assert list(fused.encoder.state_dict()) == list(stock.encoder.state_dict())
    assert fused.fingerprint() == stock.fingerprint()
    assert type(stock.encoder.encoder.layers[0].attention) is WavLMAttention
    assert type(fused.encoder.encoder.layers[0].attention) is not WavLMAttention


def test_a_model_without_relative_positions_is_left_alone(tmp_path: Path) -> None:
    teacher = load_transformers_teacher(write_random_teacher(tmp_path / "t", **TINY_TEACHER))
    kinds = [type(module) for module in teacher.encoder.modules()]
    fuse_attention(teacher.encoder)
    assert [type(module) for module in teacher.encoder.modules()] == kinds


@pytest.mark.parametrize("model_type", ["hubert", "wav2vec2"])
def test_transformers_fuses_the_attention_of_the_others(tmp_path: Path, wavs: Audio, model_type: str) -> None:
    folder = write_random_teacher(tmp_path / "t", model_type=model_type, **TINY_TEACHER)
    teacher = load_transformers_teacher(folder)
    attention = teacher.encoder.encoder.layers[0].attention
    fused = hasattr(attention, "config")  # transformers since 4.48 chooses by its configuration
    assert not fused or attention.config._attn_implementation == "sdpa"
    name = {"hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model"}[model_type]
    eager: Any = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager").eval()
    mask = (torch.arange(8000) < wavs[1].unsqueeze(1)).long()
    with torch.no_grad():
        output = eager(wavs[0], attention_mask=mask, output_hidden_states=True)
    expected = torch.stack([*output.hidden_states[:3], output.last_hidden_state], dim=1)
    compare(teacher(*wavs, [0, 1, 2, 3]), expected, (24, 15, 9))


@pytest.mark.parametrize("stable", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("model_type", ["hubert", "wav2vec2"])
def test_masks_without_a_wait_give_the_states_of_transformers_masks(
    tmp_path: Path, wavs: Audio, model_type: str, stable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_random_teacher(tmp_path / "t", model_type=model_type, stable_layer_norm=stable, **TINY_TEACHER)
    teacher = load_transformers_teacher(folder)
    with monkeypatch.context() as patch:
        patch.setattr("s3prl_gendistiller.distill.transformers_teacher._mask_without_wait", lambda model: None)
        stock = load_transformers_teacher(folder)
    samples, lengths = wavs
    for given in (lengths, torch.full((3,), 8000), torch.tensor([8000, 7999, 8000])):  # 7,999 give all 24 frames
        for layers in ([0], [1, 2], [3]):
            assert torch.equal(teacher(samples, given, layers), stock(samples, given, layers))
    assert all(isinstance(layer, torch.nn.Module) for layer in teacher.encoder.encoder.layers)  # as before a pass
