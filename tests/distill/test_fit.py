"""Student and teacher: everything that does not fit is said at once, and following the advice helps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_objectives import OBJECTIVES
from s3prl_gendistiller.distill.fit import check_fit, other_width
from s3prl_gendistiller.distill.teacher import EncoderLayout
from s3prl_gendistiller.distill.transformers_teacher import read_teacher_shape
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.host.teachers import load_teacher, warm_start_student
from s3prl_gendistiller.schema import merge, read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config
from tests.bench import TINY_TEACHER
from tests.conftest import TINY, TINY_CONV
from tests.toy_objective import ToyConfig

STUDENT = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV]}
SIZES = {
    "hidden_size": TINY_TEACHER["width"],
    "num_hidden_layers": TINY_TEACHER["layers"],
    "num_attention_heads": TINY_TEACHER["heads"],
    "intermediate_size": TINY_TEACHER["ffn"],
    "conv_dim": [TINY_TEACHER["conv_dim"]] * 7,
    "num_conv_pos_embeddings": TINY_TEACHER["conv_pos"],
    "num_conv_pos_embedding_groups": TINY_TEACHER["conv_pos_groups"],
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def save(folder: Path, **changes: Any) -> Path:
    transformers.HubertModel(transformers.HubertConfig(**{**SIZES, **changes})).save_pretrained(folder)
    return folder


def read(task: str, folder: Path, content: dict[str, Any]) -> ModelConfig:
    base = {"teacher": {"folder": str(folder)}, "student": STUDENT, "distill": {"target_layers": [1, 3]}}
    return read_model_config(task, merge(base, content))


def problems(task: str, folder: Path, content: dict[str, Any]) -> list[str]:
    """What the launcher finds before any weight is read; the same as what the loaded teacher shows."""
    config, shape = read(task, folder, content), read_teacher_shape(folder)
    found: list[list[str]] = []
    for check in (
        lambda: check_fit(config, str(folder), shape.num_layers, shape.width, shape.layout),
        lambda: warm_start_student(build_student(config), load_teacher(config.teacher), config),
    ):
        try:
            check()
            found.append([])
        except ConfigError as error:
            found.append(list(error.problems))
    assert found[0] == found[1]
    return found[0]


def followed(problem: str) -> dict[str, Any]:
    """The change that a problem advises."""
    key, _, rest = problem.partition(": found ")
    value = yaml.safe_load(rest.partition(", expected ")[2].partition(" (")[0].partition(";")[0])
    section, _, name = key.partition(".")
    return {section: {name: value}}


@pytest.mark.parametrize("task", STUDENT_KINDS)
@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        (
            {**LARGE, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 4},
            {"extractor_mode", "encoder_ffn_embed_dim", "encoder_attention_heads", "layer_norm_first"},
        ),
        ({"feat_proj_layer_norm": False}, {"feature_norm"}),
        ({"conv_pos_batch_norm": True}, {"position"}),
        ({"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 4}, {"conv_pos", "conv_pos_groups"}),
        ({"hidden_act": "relu"}, {"activation_fn"}),
        ({"conv_dim": [8] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 4]}, {"extractor_conv_feature_layers"}),
    ],
    ids=lambda value: ",".join(sorted(value)),  # a set has no order of its own
)
def test_all_that_differs_is_listed_and_the_advice_works(
    task: str, changes: dict[str, Any], keys: set[str], tmp_path: Path
) -> None:
    folder = save(tmp_path / "t", **changes)
    content: dict[str, Any] = {}
    found = problems(task, folder, content)
    if task == "distilhubert" and "feature_norm" in keys:
        assert not found  # the baseline has none either
        return
    named = {problem.partition(":")[0].partition(".")[2] for problem in found}
    assert named == (keys | {"normalize"} if task == "gendistiller" and "layer_norm_first" in keys else keys)
    for problem in found:
        content = merge(content, followed(problem))
    assert problems(task, folder, content) == []


def test_layers_that_the_teacher_lacks_are_listed_with_the_rest(tmp_path: Path) -> None:
    folder = save(tmp_path / "t", num_attention_heads=4)
    asked = {"distill": {"target_layers": [2, 5, 6]}, "warm_start": {"layer": 4}}
    listed = problems("gendistiller", folder, asked)
    assert [line.partition(":")[0] for line in listed] == [
        "distill.target_layers",
        "warm_start.layer",
        "student.encoder_attention_heads",
    ]
    assert "found 5, 6, expected 1..3" in listed[0] and "found 4, expected 1..3" in listed[1]
    assert "student.encoder_layers: found 4, expected at most 3 (or warm_start.layers: false)" in problems(
        "distilhubert", folder, {"student": {"encoder_layers": 4}}
    )


def test_what_is_not_copied_may_differ_but_not_the_frame_rate(tmp_path: Path) -> None:
    folder = save(tmp_path / "t", **LARGE, conv_stride=[5, 2, 2, 2, 2, 2, 1])
    nothing = {"front_end": False, "position": False, "layer": None}
    config, shape = read("gendistiller", folder, {"warm_start": nothing}), read_teacher_shape(folder)
    with pytest.raises(ConfigError, match="1 problem\n.*found a frame every 320 samples, expected 160"):
        check_fit(config, str(folder), shape.num_layers, shape.width, shape.layout)


@pytest.mark.parametrize("task", STUDENT_KINDS)
def test_a_thin_front_end_takes_no_more_channels_than_the_teacher_has(task: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "t", conv_dim=[16, 16, 8, 16, 16, 16, 16], num_attention_heads=4)
    thin = {"front_end": "thin", "thin_channels": [8, 16, 9, 16, 16, 17, 4]}
    assert [line for line in problems(task, folder, {"student": thin}) if "attention" not in line] == [
        "student.thin_channels: found [8, 16, 9, 16, 16, 17, 4], expected at most [16, 16, 8, 16, 16, 16, 16], the "
        "teacher's channels (or warm_start.front_end: false)"
    ]
    followed = {**thin, "thin_channels": [8, 16, 8, 16, 16, 16, 4], "encoder_attention_heads": 4}
    assert problems(task, folder, {"student": followed}) == []
    assert len(problems(task, folder, {"student": thin, "warm_start": {"front_end": False}})) == 1  # the heads


@pytest.mark.parametrize("task", STUDENT_KINDS)
def test_a_thin_front_end_needs_the_teachers_kernels_norms_and_frame_rate(task: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "t", conv_stride=[5, 2, 2, 2, 2, 2, 1], feat_extract_norm="layer")
    content: dict[str, Any] = {"student": {"front_end": "thin", "thin_channels": [8] * 7}}
    found = problems(task, folder, content)
    assert [line.partition(": found ")[0] for line in found if "normalize" not in line] == [
        "student.front_end",
        "warm_start.front_end",
        "student.extractor_mode",
    ]
    assert "found a frame every 320 samples, expected 160" in found[0]
    assert "found true with student.front_end thin, expected false; the teacher's kernels and strides" in found[1]


@pytest.mark.parametrize("name", ["thin", "distilhubert_thin"])
def test_the_ablation_with_a_quarter_of_the_channels_fits_the_embedded_teacher(name: str) -> None:
    task, folder = "distilhubert" if "distil" in name else "gendistiller", shipped_folder("teachers") / "hubert_guided"
    sizes = {"encoder_embed_dim": 256, "encoder_ffn_embed_dim": 1024, "encoder_attention_heads": 4}
    rest = {"teacher": {"upstream": None, "folder": str(folder)}, "student": sizes, "distill": {"target_layers": [2]}}
    shape, found = read_teacher_shape(folder), []
    for ablation in (name, f"{name}_quarter"):
        content = merge(read_layered_yaml(f"pretrain_configs/ablations/{ablation}.yaml"), rest)
        with contextlib.suppress(ConfigError):
            check_fit(read_model_config(task, content), "mini", shape.num_layers, shape.width, shape.layout)
            found.append(ablation)
    assert found == [f"{name}_quarter"]


@pytest.mark.parametrize("task", STUDENT_KINDS)
def test_a_student_of_another_width_is_compared_in_what_it_can_copy(task: str, tmp_path: Path) -> None:
    deeper = {"encoder_layers": 5} if task == "distilhubert" else {}
    narrow = {"encoder_embed_dim": 12, "encoder_ffn_embed_dim": 20, "encoder_attention_heads": 3, **deeper}
    folder = save(tmp_path / "t", feat_extract_norm="layer", conv_pos_batch_norm=True)
    found = problems(task, folder, {"student": narrow, "distill": {"target_layers": [1, 4]}})
    assert [line.partition(": found ")[0] for line in found if "normalize" not in line] == [
        "distill.target_layers",
        "student.extractor_mode",
    ]
    content = {"student": {**narrow, "extractor_mode": "layer_norm"}}
    content["student"] |= {"normalize": True} if task == "gendistiller" else {}
    assert problems(task, folder, content) == []


def test_teacher_layers_of_another_width_are_no_history_and_a_unit_head_of_another_width_no_start() -> None:
    content = {
        "student": {"encoder_embed_dim": 12},
        "distill": {"feedback": "teacher_forced"},
    }
    with pytest.raises(ConfigError, match="1 problem\n.*feedback: found the teacher's layers fed back, expected free_"):
        check_fit(read("gendistiller", Path("x"), content), "x", 3, 24, None)
    entries = [{"name": "layerwise"}, {"name": "glmd", "units": "u", "head_init": "teacher"}]
    of_units = read("gendistiller", Path("x"), {"student": {"encoder_embed_dim": 12}, "objectives": entries})
    with pytest.raises(ConfigError, match="1 problem\n.*found teacher, expected random; .* reads 24 channels, the"):
        check_fit(of_units, "x", 3, 24, None)
    check_fit(of_units, "x", 3, 12, None)


def test_an_objective_without_a_projection_needs_the_teachers_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "toy", ToyConfig)
    config = read("gendistiller", Path("x"), {"objectives": [{"name": "layerwise"}, {"name": "toy"}]})
    with pytest.raises(ConfigError, match=r"1 problem\n.*found 24, expected 32 \(toy compares channel by channel\)"):
        check_fit(config, "x", 3, 32, None)


def test_what_another_width_brings_is_said_with_its_parameters() -> None:
    wider = {"student": {"encoder_embed_dim": 32}}
    assert other_width(read("gendistiller", Path("x"), {}), 24) == []
    projected, warm = other_width(read("gendistiller", Path("x"), wider), 24)
    assert projected.startswith(
        "layerwise: 2 projections from the student's 32 channels to the teacher's 24, 1,584 param"
    )
    assert warm.startswith("warm_start: copies the teacher's convolutions alone; the other parts")
    nothing = {"front_end": False, "position": False, "layers": False}
    shared = [{"name": "layerwise", "projection": "shared"}, {"name": "ckd"}]
    content = {**wider, "warm_start": nothing, "objectives": shared, "distill": {"front_end_steps": 2}}
    content["distill"] |= {"target_layers": [1, 2, 3]}
    lines = other_width(read("distilhubert", Path("x"), content), 24)
    assert [line.partition(" from ")[0] for line in lines] == [
        "layerwise: one projection",
        "distill.front_end_steps: one projection",
    ]
    assert all(" 792 parameters" in line for line in lines)
    mel = {"front_end": "mel", "encoder_embed_dim": 32}
    content = {"teacher": {"folder": "x"}, "student": mel, "warm_start": {"front_end": False}}
    sizes = {"conv_pos_groups": 2, "encoder_attention_heads": 2}
    (_, warm) = other_width(read_model_config("gendistiller", merge(content, {"student": sizes})), 24)
    assert warm.startswith("warm_start: copies nothing")


def test_what_is_not_known_of_a_teacher_is_not_compared() -> None:
    config = read("gendistiller", Path("x"), {})
    check_fit(config, "x", 3, 24, None)
    check_fit(config, "x", 3, 24, EncoderLayout(2, False, False))
    with pytest.raises(ConfigError, match="encoder_attention_heads: found 2, expected 4"):
        check_fit(config, "x", 3, 24, EncoderLayout(4, False, False))
    check_fit(config, "x", 3, 24, EncoderLayout(4, True, True), warm_start=False)
