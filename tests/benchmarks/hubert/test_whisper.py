from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from hubert.frames import frames_of
from hubert.whisper import (
    COMPACT,
    MAX_FRAMES,
    MEL_BINS,
    WhisperEncoder,
    WhisperShape,
    read_whisper_encoder,
    write_compact,
)
from s3prl_gendistiller.errors import UserError

TINY = WhisperShape(width=64, layers=2, heads=2, ffn=128)
Variables = dict[str, np.ndarray]


def positions(width: int) -> np.ndarray:
    rates = 10000.0 ** (-np.arange(width // 2) / (width // 2 - 1))
    angles = np.arange(MAX_FRAMES)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float16)


def variables(shape: WhisperShape = TINY) -> Variables:
    """Random weights under CTranslate2's names, and one variable of the decoder."""
    rng = np.random.default_rng(0)

    def norm(name: str) -> Variables:
        return {f"{name}/gamma": rng.uniform(0.5, 1.5, shape.width), f"{name}/beta": rng.normal(0, 0.1, shape.width)}

    def matrix(name: str, *sizes: int) -> Variables:
        spread = np.prod(sizes[1:]) ** -0.5
        return {f"{name}/weight": rng.normal(0, spread, sizes), f"{name}/bias": rng.normal(0, 0.1, sizes[0])}

    width = shape.width
    found = {**matrix("conv1", width, MEL_BINS, 3), **matrix("conv2", width, width, 3), **norm("layer_norm")}
    for layer in range(shape.layers):
        attention, ffn = f"layer_{layer}/self_attention", f"layer_{layer}/ffn"
        found |= {**norm(f"{attention}/layer_norm"), **norm(f"{ffn}/layer_norm")}
        found |= {**matrix(f"{attention}/linear_0", 3 * width, width), **matrix(f"{attention}/linear_1", width, width)}
        found |= {**matrix(f"{ffn}/linear_0", shape.ffn, width), **matrix(f"{ffn}/linear_1", width, shape.ffn)}
    whole = {f"encoder/{name}": value.astype(np.float16) for name, value in found.items()}
    whole["encoder/position_encodings/encodings"] = positions(width)
    whole["encoder/num_heads"] = np.array(shape.heads, np.int16)
    return {"decoder/scale": np.ones(3, np.float32), **whole}


def content(values: Mapping[str, np.ndarray], version: int = 6, kind: str = "WhisperSpec") -> bytes:
    """The bytes of model.bin."""
    codes = {"f4": 0, "i1": 1, "i2": 2, "i4": 3, "f2": 4}

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), string(kind), struct.pack("<II", 3, len(values))]
    for name, value in values.items():
        parts += [string(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        parts += [struct.pack("<BI", codes[value.dtype.str[1:]], value.nbytes), value.tobytes()]
    return b"".join([*parts, struct.pack("<I", 1), string("decoder/a"), string("decoder/b")])


def folder_of(folder: Path, values: Mapping[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(content(values))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> WhisperEncoder:
    return read_whisper_encoder(folder_of(tmp_path_factory.mktemp("whisper"), variables()), TINY)


def test_its_states_are_those_of_transformers(encoder: WhisperEncoder) -> None:
    from transformers import WhisperConfig, WhisperModel

    sizes = {"decoder_layers": 1, "decoder_attention_heads": 1, "decoder_ffn_dim": 8, "vocab_size": 8}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    config = WhisperConfig(
        d_model=TINY.width,
        encoder_layers=TINY.layers,
        encoder_attention_heads=TINY.heads,
        encoder_ffn_dim=TINY.ffn,
        max_source_positions=50,
        **sizes,
        **tokens,
    )
    model = WhisperModel(config).eval().encoder
    values = {
        name.removeprefix("encoder/"): torch.from_numpy(value.astype(np.float32)) for name, value in variables().items()
    }
    weights = {"embed_positions.weight": values["position_encodings/encodings"][:50]}
    kinds = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
    names = {
        "self_attention/layer_norm": "self_attn_layer_norm",
        "self_attention/linear_1": "self_attn.out_proj",
        "ffn/layer_norm": "final_layer_norm",
        "ffn/linear_0": "fc1",
        "ffn/linear_1": "fc2",
    }
    for name, value in values.items():
        part, _, kind = name.rpartition("/")
        layer, _, rest = part.partition("/")
        if rest == "self_attention/linear_0":
            for projection, rows in zip("qkv", value.chunk(3), strict=True):
                weights[f"layers.{layer[-1]}.self_attn.{projection}_proj.{kind}"] = rows
        elif rest:
            weights[f"layers.{layer[-1]}.{names[rest]}.{kinds[kind]}"] = value
        elif part.startswith(("conv", "layer_norm")):
            weights[f"{part}.{kinds[kind]}"] = value
    weights = {name: value for name, value in weights.items() if name in model.state_dict()}  # keys have no bias there
    model.load_state_dict(weights)
    wavs = torch.randn(2, 16_080)  # 50 frames
    mel = encoder.log_mel(wavs)
    with torch.no_grad():
        expected = model(mel, output_hidden_states=True).hidden_states
    found = encoder.hidden_states(wavs)
    assert len(found) == len(expected) == TINY.layers + 1
    for state, other in zip(found, expected, strict=True):
        torch.testing.assert_close(state, functional.layer_norm(other, (TINY.width,)), atol=1e-4, rtol=0)


def test_its_spectrum_is_whispers_200_samples_later(encoder: WhisperEncoder) -> None:
    from transformers import WhisperFeatureExtractor

    wav = 0.1 * torch.randn(1, 16_000)
    found = encoder.log_mel(wav)[0]
    extractor = WhisperFeatureExtractor()
    expected = extractor(wav[0, 200:].numpy(), sampling_rate=16_000, padding="do_not_pad")["input_features"][0]
    inside = slice(2, found.shape[1] - 2)
    np.testing.assert_allclose(found[:, inside], np.asarray(expected)[:, inside], atol=1e-4)


def test_a_click_is_in_the_frame_where_hubert_has_it(encoder: WhisperEncoder) -> None:
    quiet = 1e-5 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    for frame in (20, 51):
        click = quiet.clone()
        click[0, 320 * frame + 200] = 1.0
        loud = encoder.log_mel(click)[0].mean(dim=0)
        assert loud.topk(3).indices.float().mean() / 2 == frame


@pytest.mark.parametrize("samples", [400, 719, 720, 16_000, 16_239])
def test_it_has_as_many_frames_as_hubert(encoder: WhisperEncoder, samples: int) -> None:
    states = encoder.hidden_states(torch.randn(1, samples))
    assert {state.shape for state in states} == {(1, frames_of(samples), TINY.width)}
    assert all(state.isfinite().all() and not state.requires_grad for state in states)


def test_rows_of_a_batch_do_not_see_each_other(encoder: WhisperEncoder) -> None:
    wavs = torch.stack([torch.randn(8000), 0.001 * torch.randn(8000)])
    alone = encoder.hidden_states(wavs[1:])
    torch.testing.assert_close(encoder.hidden_states(wavs)[-1][1:], alone[-1], atol=1e-4, rtol=0)


def test_lower_precision_keeps_the_states_and_their_type(encoder: WhisperEncoder) -> None:
    wavs = torch.randn(1, 8000)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder.hidden_states(wavs)
        assert encoder.log_mel(wavs).dtype == torch.float32
    for state, exact in zip(rough, encoder.hidden_states(wavs), strict=True):
        assert state.dtype == torch.float32
        assert functional.cosine_similarity(state, exact, dim=-1).mean() > 0.999


def test_too_long_and_too_short_waveforms_are_refused(encoder: WhisperEncoder) -> None:
    for samples in (399, 16_000 * 31):
        with pytest.raises(ValueError, match=f"waveforms of {samples} samples"):
            encoder.hidden_states(torch.zeros(1, samples))


def test_the_compact_form_is_near_and_is_preferred(encoder: WhisperEncoder, tmp_path: Path) -> None:
    path = write_compact(encoder, tmp_path / COMPACT)
    numbers = sum(parameter.numel() for parameter in encoder.parameters())
    assert path.stat().st_size < 1.5 * numbers
    (tmp_path / "model.bin").write_bytes(b"nothing")
    compact = read_whisper_encoder(tmp_path, TINY)
    wavs = torch.randn(1, 8000)
    pairs = list(zip(compact.hidden_states(wavs), encoder.hidden_states(wavs), strict=True))
    assert all(functional.cosine_similarity(near, full, dim=-1).mean() > 0.999 for near, full in pairs)
    assert not torch.equal(pairs[-1][0], pairs[-1][1])


def test_a_compact_form_of_something_else_is_refused(encoder: WhisperEncoder, tmp_path: Path) -> None:
    import safetensors.torch

    (tmp_path / COMPACT).write_bytes(b"nothing")
    with pytest.raises(UserError, match="not readable as a compact encoder"):
        read_whisper_encoder(tmp_path, TINY)
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / COMPACT, metadata={"format": "pt"})
    with pytest.raises(UserError, match="found the format 'pt', expected 'whisper encoder 1'"):
        read_whisper_encoder(tmp_path, TINY)
    write_compact(encoder, tmp_path / COMPACT)
    with pytest.raises(UserError, match=r"conv1.weight has the shape \(64, 80, 3\), expected \(512, 80, 3\)"):
        read_whisper_encoder(tmp_path)


def test_the_parts_may_lie_in_the_folders_of_their_packages(encoder: WhisperEncoder, tmp_path: Path) -> None:
    whole = content(variables())
    for number, part in ((1, whole[:100_000]), (2, whole[100_000:])):
        (tmp_path / f"package_{number}/data").mkdir(parents=True)
        (tmp_path / f"package_{number}/data/model.bin.part{number}").write_bytes(part)
    found = read_whisper_encoder(tmp_path, TINY).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in encoder.state_dict().items())


def test_missing_and_doubled_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_whisper_encoder(tmp_path / "absent", TINY)
    with pytest.raises(UserError, match="found no model.bin and no model.bin.part1"):
        read_whisper_encoder(tmp_path, TINY)
    (tmp_path / "model.bin.part2").write_bytes(content(variables())[100_000:])
    with pytest.raises(UserError, match=r"model.bin.part1 is missing, part 2 is there"):
        read_whisper_encoder(tmp_path, TINY)
    (tmp_path / "model.bin.part2").rename(tmp_path / "model.bin.part1")
    (tmp_path / "again").mkdir()
    (tmp_path / "again/model.bin.part1").write_bytes(b"")
    with pytest.raises(UserError, match="found both"):
        read_whisper_encoder(tmp_path, TINY)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (content(variables())[:-3], "within the list of aliases; a part is missing or cut short"),
        (content(variables())[:150_000], "ends after 150000 bytes, within encoder/"),
        (content(variables(), version=5), "found format version 5, expected version 6"),
        (content(variables(), kind="TransformerSpec"), "the kind 'TransformerSpec', expected 'WhisperSpec'"),
        (b"", "ends after 0 bytes, within the header"),
    ],
)
def test_a_file_that_is_cut_or_foreign_is_named(tmp_path: Path, bad: bytes, message: str) -> None:
    (tmp_path / "model.bin").write_bytes(bad)
    with pytest.raises(UserError, match=message):
        read_whisper_encoder(tmp_path, TINY)


def test_all_wrong_tensors_are_named_at_once(tmp_path: Path) -> None:
    values = variables()
    del values["encoder/layer_1/ffn/linear_0/bias"]
    values["encoder/conv2/weight"] = np.zeros((64, 64, 5), np.float16)
    values["encoder/layer_norm/beta"] = np.full(64, np.nan, np.float16)
    values["encoder/layer_2/ffn/linear_0/bias"] = np.zeros(128, np.float16)
    with pytest.raises(UserError) as caught:
        read_whisper_encoder(folder_of(tmp_path, values), TINY)
    message = str(caught.value)
    assert str(tmp_path) in message and "conv2.weight has the shape (64, 64, 5), expected (64, 64, 3)" in message
    assert "layers.1.ffn_in.bias is missing" in message and "norm.bias has values that are not finite" in message
    assert "and 1 more" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder/num_heads": np.array(4, np.int16)}, "found 4 of heads, expected 2"),
        ({"encoder/position_encodings/encodings": np.zeros((MAX_FRAMES, 64), np.float16)}, "are not the sinusoids"),
        ({"encoder/position_encodings/encodings": np.zeros((10, 64), np.float16)}, r"positions \(shape \(10, 64\)\)"),
    ],
)
def test_other_heads_and_positions_are_refused(tmp_path: Path, change: Variables, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_whisper_encoder(folder_of(tmp_path, {**variables(), **change}), TINY)


def test_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no encoder of whisper-base"):
        read_whisper_encoder(folder_of(tmp_path, variables()))
