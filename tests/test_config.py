"""Every YAML that is shipped says what its keys may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.config_gendistiller import GenDistillerConfig, GenerationTargetsConfig
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.schema import from_dict, read_layered_yaml, to_dict
from s3prl_gendistiller.student_kinds import read_model_config
from tests.conftest import ROOT

CONFIGS = ROOT / "pretrain_configs"
MODELS = [
    ("distilhubert" if path.stem.startswith("distilhubert") else "gendistiller", path)
    for path in sorted(CONFIGS.glob("ablations/*.yaml"))
]
MODELS += [(path.parent.name, path) for path in sorted(CONFIGS.glob("*/config_model*.yaml"))]
RUNNERS = sorted(CONFIGS.glob("*/config_runner*.yaml"))


def test_the_lists_of_shipped_files_are_not_empty() -> None:
    assert len(MODELS) >= 12 and len(RUNNERS) >= 2
    listed = {path for _, path in MODELS} | set(RUNNERS)
    assert listed == set(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize(("task", "path"), MODELS, ids=lambda value: getattr(value, "stem", value))
def test_shipped_model_configurations_are_valid(task: str, path: Path) -> None:
    read_model_config(task, path)


@pytest.mark.parametrize("path", RUNNERS, ids=lambda path: path.parent.name)
def test_shipped_runner_configurations_are_valid(path: Path) -> None:
    from_dict(RunnerConfig, read_layered_yaml(path), str(path))


def test_a_number_of_layers_is_sent_to_the_key_that_decides_it() -> None:
    content = {"teacher": {"folder": "x"}, "student": {"encoder_layers": 2, "conv_poss": 3}}
    with pytest.raises(ConfigError) as caught:
        read_model_config("gendistiller", content)
    assert "student.encoder_layers: unknown key; distill.target_layers decides the number" in str(caught.value)
    assert "student.conv_poss: unknown key; did you mean conv_pos?" in str(caught.value)
    assert read_model_config("distilhubert", {**content, "student": {"encoder_layers": 2}}).student.encoder_layers == 2


def test_the_paper_scale_recipe() -> None:
    runner = from_dict(RunnerConfig, read_layered_yaml(CONFIGS / "gendistiller/config_runner.yaml"), "r")
    assert (runner.runner.total_steps, runner.optimizer.lr) == (200_000, 2e-4)
    data = runner.pretrain_expert.datarc
    assert (data.train_batch_size, data.crop_samples) == (24, 250_000)
    model = read_model_config("gendistiller", CONFIGS / "gendistiller/config_model.yaml")
    assert model.teacher.upstream == "wavlm_base_plus" and model.distill.target_layers == (4, 8, 12)


def test_the_shipped_default_is_the_code_s_default() -> None:
    shipped = read_model_config("gendistiller", CONFIGS / "gendistiller/config_model.yaml")
    assert to_dict(shipped.student) == to_dict(GenDistillerConfig())


def test_the_plain_form_has_exactly_the_papers_parameters() -> None:
    config = read_model_config("gendistiller", CONFIGS / "ablations/plain.yaml")
    counts = GenDistiller(config.student, 3).count_parameters()
    assert counts == {
        "paper": 16_993_920,
        "step_embedding": 2_304,
        "step_norms": 0,
        "history": 0,
        "feature_norm": 0,
        "position_bias": 0,
        "total": 16_996_224,
    }


def test_the_default_stays_under_17_6_million() -> None:
    config = read_model_config("gendistiller", CONFIGS / "gendistiller/config_model.yaml")
    assert GenDistiller(config.student, 3).count_parameters()["total"] <= 17_600_000


def test_norms_by_step_add_9216() -> None:
    config = read_model_config("gendistiller", CONFIGS / "gendistiller/config_model.yaml")
    assert GenDistiller(config.student, 3).count_parameters()["step_norms"] == 3 * 4 * 768


def test_wavlm_position_bias_adds_4372() -> None:
    config = read_model_config("gendistiller", CONFIGS / "ablations/gated_position.yaml")
    assert GenDistiller(config.student, 3).count_parameters()["position_bias"] == 4_372


def test_scheduled_feedback_falls_linearly() -> None:
    targets = GenerationTargetsConfig(feedback="scheduled", feedback_start=0.8, feedback_end=0.2, feedback_steps=100)
    assert [round(targets.teacher_probability(step), 3) for step in (0, 50, 100, 500)] == [0.8, 0.5, 0.2, 0.2]
    assert GenerationTargetsConfig(feedback="free_running").teacher_probability(7) == 0.0
    assert GenerationTargetsConfig(feedback="teacher_forced").teacher_probability(7) == 1.0
