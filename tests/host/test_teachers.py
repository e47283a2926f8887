"""From a configuration to a teacher, and from the teacher to a warm-started student of either task."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.host.teachers import load_teacher, warm_start_student
from s3prl_gendistiller.student_kinds import read_model_config
from tests.bench import TINY_TEACHER
from tests.conftest import TINY, TINY_CONV
from tests.fairseq import host_checkpoint

STUDENT = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV]}
NOTHING = {"gendistiller": {"layer": None}, "distilhubert": {"layers": False}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_teacher(tmp_path_factory.mktemp("teachers") / "teacher", **TINY_TEACHER)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    return host_checkpoint(folder, folder.with_suffix(".pt"))


def model_config(task: str, folder: Path, **sections: dict):
    content = {"teacher": {"folder": str(folder)}, "student": STUDENT, "distill": {"target_layers": [1, 3]}}
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section}
    return read_model_config(task, content)


def test_a_folder_is_loaded_as_what_its_configuration_says(folder: Path) -> None:
    teacher = load_teacher(TeacherConfig(folder=str(folder)))
    assert (teacher.model_type, teacher.naming, teacher.num_layers) == ("hubert", "transformers", 3)


def test_a_folder_may_stand_under_superb_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(folder.parent))
    assert load_teacher(TeacherConfig(folder="${SUPERB_DATA}/teacher")).num_layers == 3
    with pytest.raises(UserError, match=r"teacher\.folder: looked for .*/absent"):
        load_teacher(TeacherConfig(folder="${SUPERB_DATA}/absent"))


def test_an_upstream_is_loaded_with_its_checkpoint(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(checkpoint.parent))
    for path in (str(checkpoint), f"${{SUPERB_DATA}}/{checkpoint.name}"):
        teacher = load_teacher(TeacherConfig(upstream="hubert_local", checkpoint=path))
        assert (teacher.model_type, teacher.naming, teacher.num_layers) == ("hubert", "fairseq", 3)


def test_a_transformers_folder_may_be_an_upstreams_checkpoint(folder: Path) -> None:
    assert load_teacher(TeacherConfig(upstream="hf_hubert_custom", checkpoint=str(folder))).num_layers == 3


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"teacher\.checkpoint: {tmp_path}/no\.pt is not there.*hubert_local"):
        load_teacher(TeacherConfig(upstream="hubert_local", checkpoint=str(tmp_path / "no.pt")))


@pytest.mark.parametrize("source", ["folder", "upstream"])
@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_either_student_starts_from_either_kind_of_teacher(
    task: str, source: str, folder: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = model_config(task, folder)
    student = build_student(config)
    teachers = {"folder": TeacherConfig(folder=str(folder))}
    teachers["upstream"] = TeacherConfig(upstream="hubert_local", checkpoint=str(checkpoint))
    teacher = load_teacher(teachers[source])
    with caplog.at_level(logging.INFO):
        warm_start_student(student, teacher, config)
    assert f"warm start from {teacher.name}: copied" in caplog.text
    assert ("no norm before its projection" in caplog.text) == (task == "distilhubert")
    state = teacher.encoder_state()
    theirs = state["encoder.layers.0.final_layer_norm.weight"], state["encoder.layers.0.final_layer_norm.bias"]
    layer = student.layer.ffn_norm if task == "gendistiller" else student.distiller.encoder.layers[0].final_layer_norm
    assert torch.equal(layer.weight, theirs[0]) and torch.equal(layer.bias, theirs[1])
    ours = student.state_dict() if task == "gendistiller" else student.distiller.state_dict()
    name = "front_end.layers.3.conv.weight" if task == "gendistiller" else "feature_extractor.conv_layers.3.0.weight"
    theirs = "conv_layers.3.conv.weight" if source == "folder" else "conv_layers.3.0.weight"
    assert torch.equal(ours[name], state[f"feature_extractor.{theirs}"])


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_nothing_is_copied_where_nothing_is_asked_for(
    task: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = model_config(task, folder, warm_start={"front_end": False, "position": False, **NOTHING[task]})
    student = build_student(config)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    teacher = load_teacher(config.teacher)
    teacher.naming = None  # unknown names do not matter without a warm start
    with caplog.at_level(logging.INFO):
        warm_start_student(student, teacher, config)
    assert "random weights" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_a_teacher_whose_names_are_not_known_is_no_source(task: str, folder: Path) -> None:
    config = model_config(task, folder)
    teacher = load_teacher(config.teacher)
    teacher.naming = None
    with pytest.raises(UserError, match=r"warm_start: .*names that are not known.*front_end, position to false"):
        warm_start_student(build_student(config), teacher, config)


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_a_student_wider_than_its_teacher_starts_from_the_convolutions_and_the_log_names_the_rest(
    task: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = model_config(task, folder, student={"encoder_embed_dim": 32})
    student, teacher = build_student(config), load_teacher(config.teacher)
    with caplog.at_level(logging.INFO):
        warm_start_student(student, teacher, config)
    rest = "encoder_norm, layer" if task == "gendistiller" else "layers.0, layers.1"
    line = f"still random, because the student is 32 wide and the teacher 24: feature_projection, position, {rest}"
    assert line in caplog.text
    ours = student.state_dict() if task == "gendistiller" else student.distiller.state_dict()
    name = "front_end.layers.3.conv.weight" if task == "gendistiller" else "feature_extractor.conv_layers.3.0.weight"
    assert torch.equal(ours[name], teacher.encoder_state()["feature_extractor.conv_layers.3.conv.weight"])


def test_the_layer_to_start_from_is_the_configurations(folder: Path) -> None:
    config = model_config("gendistiller", folder, warm_start={"layer": 3})
    student = build_student(config)
    teacher = load_teacher(config.teacher)
    warm_start_student(student, teacher, config)
    third = teacher.encoder_state()["encoder.layers.2.feed_forward.output_dense.weight"]
    assert torch.equal(student.layer.ffn_out.weight, third)
    beyond = model_config("gendistiller", folder, warm_start={"layer": 4})
    with pytest.raises(UserError, match=r"warm_start\.layer: found 4, expected 1\.\.3"):
        warm_start_student(student, teacher, beyond)


@pytest.mark.parametrize("source", ["folder", "checkpoint"])
def test_what_neither_names_nor_shapes_show_is_compared(source: str, folder: Path, checkpoint: Path) -> None:
    named = (
        {"folder": str(folder)} if source == "folder" else {"upstream": "hubert_local", "checkpoint": str(checkpoint)}
    )
    teacher = load_teacher(TeacherConfig(**named))
    assert teacher.layout is not None and (teacher.layout.heads, teacher.layout.norm_first) == (2, False)
    changes = {"encoder_attention_heads": 4, "layer_norm_first": True, "normalize": True}
    config = model_config("gendistiller", folder, student=changes)
    with pytest.raises(UserError) as caught:
        warm_start_student(build_student(config), teacher, config)
    message = str(caught.value)
    assert "student.encoder_attention_heads: found 4, expected 2" in message
    assert "student.layer_norm_first: found true, expected false" in message
    assert "student.normalize: found true, expected false" in message
    config = model_config("gendistiller", folder, student={"encoder_attention_heads": 4}, warm_start={"layer": None})
    warm_start_student(build_student(config), teacher, config)


def test_a_student_that_normalises_as_its_teacher_has_its_frames(tmp_path: Path) -> None:
    path = write_random_teacher(tmp_path / "large", **TINY_TEACHER, feat_extract_norm="layer")
    teacher = load_teacher(TeacherConfig(folder=str(path)))
    student = {"extractor_mode": "layer_norm", "normalize": True, "feature_norm": True}
    config = model_config("gendistiller", path, student=student)
    built = build_student(config)
    warm_start_student(built, teacher, config)
    wavs, lengths = 0.1 * torch.randn(2, 8000) + 0.3, torch.tensor([8000, 6000])
    wavs[1, 6000:] = 0.0
    z = built.generate(wavs, lengths).hidden_states[0]
    frames = teacher(wavs, lengths, [0])[:, 0]
    torch.testing.assert_close(z[0], frames[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(z[1, :18], frames[1, :18], atol=1e-5, rtol=1e-4)
