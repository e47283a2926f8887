"""Warm start: what a student takes over works in it as in the teacher; nothing half-copied, nothing unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, gelu

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.distill.warm_start import warm_start
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import normalise_samples
from s3prl_gendistiller.models.gendistiller import GenDistiller
from tests.bench import TINY_TEACHER
from tests.conftest import tiny_config
from tests.fairseq import fairseq_named

Audio = tuple[Tensor, Tensor]
EVERYTHING = {"front_end": True, "position": True, "layer": 1}
# what a fairseq checkpoint holds besides the encoder
BESIDES = {"mask_emb": torch.zeros(24), "final_proj.weight": torch.zeros(8, 24)}


def random_teacher(folder: Path, **changes: object) -> Teacher:
    """A teacher in whose weights nothing is left at zero or one."""
    teacher = load_transformers_teacher(write_random_teacher(folder, **{**TINY_TEACHER, **changes}))
    generator = torch.Generator().manual_seed(3)
    for weight in teacher.encoder_state().values():
        weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return teacher


def student(seed: int = 0, steps: int = 2, **changes: object) -> GenDistiller:
    torch.manual_seed(seed)
    return GenDistiller(tiny_config(**changes), steps).eval()


def weights(model: GenDistiller) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("model_type", ["hubert", "wavlm", "wav2vec2"])
def test_what_was_copied_computes_what_the_teacher_computes(
    tmp_path: Path, wavs: Audio, model_type: str, stable: bool, layer: int
) -> None:
    teacher = random_teacher(tmp_path / "t", model_type=model_type, stable_layer_norm=stable)
    bias = "gated" if model_type == "wavlm" else "none"
    model = student(extractor_mode="default", feature_norm=True, position_bias=bias, layer_norm_first=stable)
    report = warm_start(model, teacher.encoder_state(), "transformers", front_end=True, position=True, layer=layer)
    assert report.left_out == () and report.untouched == ()
    audio, lengths = wavs[0], torch.full((3,), 8000)
    before, after = teacher(audio, lengths, [layer - 1, layer]).unbind(1)
    with torch.no_grad():
        z, _ = model.encode(audio, lengths)
        y, _ = model.layer(before, None)
    assert torch.allclose(z, teacher(audio, lengths, [0])[:, 0], atol=1e-5)
    if stable and layer == 3:  # the teacher's last state has passed its final LayerNorm
        y = model.encoder_norm(y)
    assert torch.allclose(y, after, atol=1e-4)


@pytest.mark.parametrize("extractor", ["group", "layer"])
@pytest.mark.parametrize("model_type", ["hubert", "wavlm"])
def test_a_student_without_an_output_layer_generates_the_teachers_first_layer(
    tmp_path: Path, wavs: Audio, model_type: str, extractor: str
) -> None:
    """From samples to hidden state, in a batch with padding."""
    teacher = random_teacher(tmp_path / "t", model_type=model_type, feat_extract_norm=extractor)
    teacher.ignore_padding()
    model = student(
        steps=1,
        extractor_mode={"group": "default", "layer": "layer_norm"}[extractor],
        feature_norm=True,
        position_bias="gated" if model_type == "wavlm" else "none",
        output_layer=False,
        step_embedding=False,
    )
    warm_start(model, teacher.encoder_state(), "transformers", **EVERYTHING)
    audio, lengths = wavs
    if extractor == "layer":  # such a teacher normalises each utterance, the student takes it as it is
        audio = normalise_samples(audio, torch.arange(audio.shape[1]) < lengths.unsqueeze(1))
    found = model.generate(audio, lengths)
    expected = teacher(wavs[0], lengths, [0, 1])
    states = torch.stack(found.hidden_states, dim=1)
    for index, frames in enumerate(found.frame_mask.sum(1).tolist()):
        assert torch.allclose(states[index, :, :frames], expected[index, :, :frames], atol=1e-5)


@pytest.mark.parametrize("extractor", ["group", "layer"])
@pytest.mark.parametrize("model_type", ["hubert", "wavlm"])
def test_both_namings_give_the_same_student(tmp_path: Path, model_type: str, extractor: str) -> None:
    state = random_teacher(tmp_path / "t", model_type=model_type, feat_extract_norm=extractor).encoder_state()
    mode = "default" if extractor == "group" else "layer_norm"
    bias = "gated" if model_type == "wavlm" else "none"
    one, other = (student(seed, extractor_mode=mode, feature_norm=True, position_bias=bias) for seed in (0, 1))
    first = warm_start(one, state, "transformers", **EVERYTHING)
    second = warm_start(other, {**fairseq_named(state, extractor), **BESIDES}, "fairseq", **EVERYTHING)
    assert first == second
    for name in first.copied:
        assert torch.equal(one.state_dict()[name], other.state_dict()[name]), name
    rest = {name for name in one.state_dict() if name not in first.copied}
    own = {"output", "step_embedding", "step_norms", "history_norm", "history_projection"}
    assert {name.split(".")[0] for name in rest} == own


@pytest.mark.parametrize("naming", ["fairseq", "transformers"])
def test_either_spelling_of_the_weight_norm_is_understood(tmp_path: Path, naming: str) -> None:
    state = dict(random_teacher(tmp_path / "t").encoder_state())
    if naming == "fairseq":
        state = fairseq_named(state, "group")
        swap = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    else:
        swap = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    spelt = {}
    for name, value in state.items():
        for found, wanted in swap.items():
            name = name.replace(found, wanted)
        spelt[name] = value
    assert spelt.keys() != state.keys()
    one, other = student(0), student(1)
    position = {"front_end": False, "position": True, "layer": None}
    warm_start(one, state, naming, **position)
    report = warm_start(other, spelt, naming, **position)
    assert len(report.copied) == 5
    assert torch.equal(one.position.conv.weight, other.position.conv.weight)


@pytest.mark.parametrize(
    ("wanted", "touched"),
    [
        ({"front_end": True, "position": False, "layer": None}, {"front_end", "feature_norm", "feature_projection"}),
        ({"front_end": False, "position": True, "layer": None}, {"position", "encoder_norm"}),
        ({"front_end": False, "position": False, "layer": 2}, {"layer"}),
        ({"front_end": False, "position": False, "layer": None}, set()),
    ],
)
def test_only_what_was_asked_for_is_touched(tmp_path: Path, wanted: dict, touched: set[str]) -> None:
    model = student(extractor_mode="default")
    before = weights(model)
    report = warm_start(model, random_teacher(tmp_path / "t").encoder_state(), "transformers", **wanted)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(report.copied)
    assert {name.split(".")[0] for name in changed} == touched


def test_the_student_keeps_its_own_copy_and_goes_on_learning(tmp_path: Path, wavs: Audio) -> None:
    teacher = random_teacher(tmp_path / "t")
    model = student(extractor_mode="default")
    before = {name: value.clone() for name, value in teacher.encoder_state().items()}
    warm_start(model, teacher.encoder_state(), "transformers", **EVERYTHING)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in teacher.encoder_state().items())


def test_what_the_student_has_no_place_for_is_reported_with_the_reason(tmp_path: Path) -> None:
    state = dict(random_teacher(tmp_path / "t", model_type="wavlm").encoder_state())
    state["feature_extractor.conv_layers.3.conv.bias"] = torch.zeros(16)
    model = student(extractor_mode="default", feature_norm=False)
    report = warm_start(model, state, "transformers", **{**EVERYTHING, "layer": 2})
    reasons = dict(report.left_out)
    assert reasons.keys() == {
        "feature_projection.layer_norm.weight",
        "feature_projection.layer_norm.bias",
        "feature_extractor.conv_layers.3.conv.bias",
        "encoder.layers.0.attention.rel_attn_embed.weight",
        "encoder.layers.1.attention.gru_rel_pos_const",
        "encoder.layers.1.attention.gru_rel_pos_linear.weight",
        "encoder.layers.1.attention.gru_rel_pos_linear.bias",
    }
    assert "feature_norm: true" in reasons["feature_projection.layer_norm.bias"]
    assert "position_bias: gated" in reasons["encoder.layers.1.attention.gru_rel_pos_const"]
    assert "have no bias" in reasons["feature_extractor.conv_layers.3.conv.bias"]
    summary = report.summary()
    assert summary.startswith(f"copied {len(report.copied)} weights (front_end.layers.0.conv")
    assert len(summary.splitlines()) == 4 and "encoder.layers.0.attention.rel_attn_embed" in summary


def test_a_position_bias_that_the_teacher_lacks_stays_and_is_reported(tmp_path: Path) -> None:
    model = student(extractor_mode="default", position_bias="gated")
    before = weights(model)
    report = warm_start(model, random_teacher(tmp_path / "t").encoder_state(), "transformers", **EVERYTHING)
    assert len(report.untouched) == 4
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in report.untouched)
    assert "not in the teacher, still random: layer.attention.position_bias" in report.summary()


@pytest.mark.parametrize("taps", [3, 4])
def test_a_shorter_position_takes_the_middle_of_the_teachers(tmp_path: Path, taps: int) -> None:
    teacher = random_teacher(tmp_path / "t").encoder_state()
    whole, short = (student(extractor_mode="default", conv_pos=kernel) for kernel in (8, taps))
    for model in (whole, short):
        warm_start(model, teacher, "transformers", **EVERYTHING)
    kernel = whole.position.conv.weight.detach().clone()
    first = 4 - taps // 2  # tap 4 of 8 reads the frame itself
    kernel[..., :first], kernel[..., first + taps :] = 0.0, 0.0
    x = torch.randn(2, 12, 24)
    expected = conv1d(x.transpose(1, 2), kernel, whole.position.conv.bias, padding=4, groups=2)[..., :12]
    assert kernel.abs().sum() > 0
    torch.testing.assert_close(short.position(x), gelu(expected).transpose(1, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "ours", "theirs"),
    [
        (
            {"encoder_ffn_embed_dim": 48},
            r"layer.ffn_in.weight is \(48, 24\)",
            r"encoder.layers.0.feed_forward.intermediate_dense.weight is \(32, 24\)",
        ),
        ({"conv_pos": 16}, r"original0 is \(1, 1, 16\)", r"weight.original0 is \(1, 1, 8\)"),
    ],
)
def test_sizes_that_differ_are_refused_with_both_and_nothing_is_copied(
    tmp_path: Path, changes: dict, ours: str, theirs: str
) -> None:
    model = student(extractor_mode="default", **changes)
    before = weights(model)
    with pytest.raises(UserError, match=f"the student's .*{ours}, the teacher's .*{theirs}.*; expected the same shape"):
        warm_start(model, random_teacher(tmp_path / "t").encoder_state(), "transformers", **EVERYTHING)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("extractor", "changes", "message"),
    [
        ("group", {"extractor_mode": "layer_norm"}, "the teacher lacks front_end.layers.1.norm.bias"),
        ("layer", {"extractor_mode": "default"}, r"no place for feature_extractor.conv_layers.1.layer_norm.bias"),
        (
            "group",
            {"extractor_mode": "default", "extractor_conv_feature_layers": ((16, 10, 5), *((16, 3, 2),) * 4)},
            r"no place for feature_extractor.conv_layers.5.conv.weight",
        ),
    ],
)
def test_a_front_end_with_other_parts_is_refused(tmp_path: Path, extractor: str, changes: dict, message: str) -> None:
    model = student(**changes)
    before = weights(model)
    with pytest.raises(UserError, match=message):
        warm_start(
            model,
            random_teacher(tmp_path / "t", feat_extract_norm=extractor).encoder_state(),
            "transformers",
            **EVERYTHING,
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_layer_that_the_teacher_lacks_is_refused(tmp_path: Path) -> None:
    state = random_teacher(tmp_path / "t").encoder_state()
    with pytest.raises(UserError, match=r"warm_start.layer: found 4, expected 1\.\.3"):
        warm_start(student(), state, "transformers", front_end=False, position=False, layer=4)


@pytest.mark.parametrize("wider", [False, True])
@pytest.mark.parametrize("front_end", ["conv", "thin"])
def test_a_student_of_another_width_starts_from_the_convolutions_and_names_the_rest(
    tmp_path: Path, front_end: str, wider: bool
) -> None:
    state = random_teacher(tmp_path / "t", model_type="wavlm").encoder_state()
    keys = {"encoder_embed_dim": 36 if wider else 12, "conv_pos": 9, "position_bias": "gated", "feature_norm": True}
    if front_end == "thin":
        keys |= {"front_end": "thin", "thin_channels": (16, 16, 16, 16, 16, 8, 4)}
    models = [student(seed, extractor_mode="default", **keys) for seed in (0, 1)]
    before = weights(models[0])
    reports = [warm_start(model, state, "transformers", front_end=True, position=True, layer=7) for model in models]
    assert reports[0] == reports[1] and reports[0].left_out == reports[0].untouched == ()
    changed = {name for name, value in models[0].state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(reports[0].copied)
    assert {name.split(".")[0] for name in changed} == {"front_end", "feature_norm"}
    for name in changed:
        assert torch.equal(models[0].state_dict()[name], models[1].state_dict()[name])
    named = "feature_projection, position, encoder_norm, layer"
    line = f"still random, because the student is {keys['encoder_embed_dim']} wide and the teacher 24: {named}"
    assert line in reports[0].summary().splitlines()[-1]
    assert ("kept 16 of 16" in reports[0].summary()) == (front_end == "thin")


def test_only_requested_parts_are_named_for_another_width(tmp_path: Path) -> None:
    model = student(encoder_embed_dim=12)
    state = random_teacher(tmp_path / "t").encoder_state()
    report = warm_start(model, state, "transformers", front_end=False, position=True, layer=None)
    assert report.copied == () and report.random == ("position", "encoder_norm")
    whole = warm_start(student(extractor_mode="default"), state, "transformers", **EVERYTHING)
    assert whole.widths is None and whole.random == () and "random" not in whole.summary()
