"""Warm start of the baseline: what s3prl's stock recipe loads, what it leaves out, and a control that gets it all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.distill.warm_start import warm_start_distiller
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import build_student
from tests.conftest import TINY, TINY_CONV
from tests.distill.test_warm_start import Audio, random_teacher
from tests.fairseq import fairseq_named


def distiller(seed: int, **changes: object) -> torch.nn.Module:
    """s3prl's own DistillerModel at the teacher's sizes, with changes."""
    torch.manual_seed(seed)
    sizes = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV], **changes}
    config = {"teacher": {"folder": "unused"}, "student": sizes, "distill": {"target_layers": [1, 3]}}
    return build_student(config, task="distilhubert").distiller


@pytest.mark.parametrize("naming", ["transformers", "fairseq"])
def test_the_baseline_takes_over_what_the_stock_recipe_loads(tmp_path: Path, naming: str) -> None:
    state = dict(random_teacher(tmp_path / "t").encoder_state())
    fairseq = fairseq_named(state, "group")
    stock, ours = distiller(0), distiller(0)
    for part in ("feature_extractor", "post_extract_proj", "encoder.pos_conv", "encoder.layers.0", "encoder.layers.1"):
        inside = {name[len(part) + 1 :]: value for name, value in fairseq.items() if name.startswith(f"{part}.")}
        stock.get_submodule(part).load_state_dict(inside)
    given = state if naming == "transformers" else fairseq
    report = warm_start_distiller(ours, given, naming, front_end=True, position=True, layers=2)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in stock.state_dict().items())
    assert len(report.left_out) == 2 and all("layer_norm" in name for name, _ in report.left_out)
    assert "encoder.layer_norm.weight" not in report.copied


def test_with_both_norms_the_baseline_starts_as_the_teacher(tmp_path: Path, wavs: Audio) -> None:
    teacher = random_teacher(tmp_path / "t")
    sizes = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV], "feature_norm": True}
    config = {"teacher": {"folder": "unused"}, "student": sizes, "distill": {"target_layers": [1, 3]}}
    model = build_student(config, task="distilhubert").eval()
    whole = {"front_end": True, "position": True, "layers": 2, "norms": True}
    report = warm_start_distiller(model.distiller, teacher.encoder_state(), "transformers", **whole)
    assert report.left_out == () and report.untouched == ()
    audio, lengths = wavs[0], torch.full((3,), 8000)
    found, expected = model.generate(audio, lengths).hidden_states, teacher(audio, lengths, [1, 2])
    assert all(torch.allclose(found[layer], expected[:, layer - 1], atol=1e-4) for layer in (1, 2))


def test_the_baseline_reports_the_position_bias_that_it_has_no_place_for(tmp_path: Path) -> None:
    state = random_teacher(tmp_path / "t", model_type="wavlm").encoder_state()
    report = warm_start_distiller(distiller(0), state, "transformers", front_end=False, position=False, layers=2)
    assert len(report.copied) == 2 * 16
    assert len(report.left_out) == 1 + 2 * 3
    assert {reason for _, reason in report.left_out} == {
        "the student has no relative position (GenDistiller keeps it with position_bias: gated)"
    }


def test_a_baseline_with_more_layers_than_its_teacher_is_refused(tmp_path: Path) -> None:
    state = random_teacher(tmp_path / "t", layers=1).encoder_state()
    model = distiller(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=r"warm_start\.layers: the student has 2 layers, the teacher only 1"):
        warm_start_distiller(model, state, "transformers", front_end=True, position=True, layers=2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("width", [12, 16])  # at 16, the width of the convolutions, s3prl leaves the projection out
def test_a_baseline_of_another_width_takes_the_convolutions_and_may_be_deeper(tmp_path: Path, width: int) -> None:
    state = random_teacher(tmp_path / "t").encoder_state()
    model = distiller(0, encoder_embed_dim=width, encoder_layers=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = warm_start_distiller(model, state, "transformers", front_end=True, position=True, layers=4)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("feature_extractor.") for name in changed)
    assert len(report.copied) == 9 and report.random == (
        *(("feature_projection",) if width == 12 else ()),
        *("position", "layers.0", "layers.1", "layers.2", "layers.3"),
    )
