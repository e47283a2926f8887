from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.config_gendistiller import GenDistillerConfig, GenDistillerModelConfig, GenerationTargetsConfig
from s3prl_gendistiller.config_objectives import CkdConfig, LayerwiseConfig
from s3prl_gendistiller.config_runner import RunnerConfig, StockRunnerSectionConfig
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.schema import check_present, from_dict, read_layered_yaml, to_dict
from s3prl_gendistiller.student_kinds import read_model_config

TEACHER = {"upstream": "hubert_base"}


def problems(content: dict, task: str = "gendistiller") -> str:
    with pytest.raises(ConfigError) as caught:
        read_model_config(task, {"teacher": TEACHER, **content})
    return str(caught.value)


def test_defaults_round_trip_through_plain_values() -> None:
    config = GenDistillerModelConfig(teacher=TeacherConfig(upstream="hubert_base"))
    assert from_dict(GenDistillerModelConfig, to_dict(config), "test") == config


def test_rules_are_checked_beside_wrong_keys_that_they_do_not_read() -> None:
    message = problems(
        {
            "student": {
                "front_end": "mel",
                "mel_bins": 300,
                "extractor_mode": "layer_norm",
                "encoder_embed_dim": "wide",
            },
            "distill": {"target_layers": [4, "x"]},
        }
    )
    assert "5 problems" in message
    assert "student.mel_bins: found 300, expected at most 256" in message
    assert "student.encoder_embed_dim: found 'wide'" in message and "does not divide" not in message
    assert "student.extractor_mode: found with front_end mel" in message
    assert "distill.target_layers[1]: found 'x'" in message
    assert "warm_start.front_end: found true with student.front_end mel, expected false" in message


def test_rules_beside_a_missing_key_count_unless_keys_may_be_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(GenDistillerModelConfig, {"objectives": []}, "x")
    assert "teacher: missing" in str(caught.value) and "objectives: found an empty list" in str(caught.value)
    check_present(GenDistillerModelConfig, {"objectives": []}, "x")


def test_all_problems_are_reported_at_once() -> None:
    message = problems(
        {
            "student": {"encoder_embed_dims": 768, "dropout": "a lot", "conv_pos": 0, "history_input": "cary"},
            "distill": {"target_layers": [4, 2]},
            "data": {},
        }
    )
    assert "6 problems" in message
    assert "student.encoder_embed_dims: unknown key; did you mean encoder_embed_dim?" in message
    assert "student.dropout: found 'a lot' (text), expected a number" in message
    assert "student.conv_pos: found 0, expected at least 1" in message
    assert "student.history_input: found 'cary', expected one of" in message and "did you mean carry?" in message
    assert "distill.target_layers: found [4, 2], expected increasing layer numbers" in message
    assert "data: unknown key" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"student": {"encoder_attention_heads": 7}},
            "student.encoder_embed_dim: found 768, which encoder_attention_heads 7 does not divide; expected 784, or "
            "encoder_attention_heads 6 for 768",
        ),
        (
            {"student": {"encoder_embed_dim": 191}},
            "1 problem\n  student.encoder_embed_dim: found 191, which encoder_attention_heads 12 and conv_pos_groups "
            "16 do not divide; expected 192",
        ),
        (
            {"student": {"history": "al"}},
            "student.history: found 'al', expected one of previous, all; did you mean all?",
        ),
        ({"student": {"history": "all", "position_bias": "gated"}}, "position_bias: found gated with history all"),
        ({"student": {"step_rank": 5}}, "student.step_rank: found 5, a key of an earlier version; leave it out"),
        (
            {"distill": {"feedback_gradient": "cut"}},
            "distill.feedback_gradient: found 'cut', a key of an earlier version; leave it out",
        ),
        (
            {"student": {"history_input": "echo"}, "distill": {"feedback": "teacher_forced"}},
            "distill.feedback: found teacher_forced with student.history_input echo, expected free_running",
        ),
        ({"student": {"layer_norm_first": 1}}, "student.layer_norm_first: found 1 (a whole number), expected true"),
        ({"student": {"conv_pos": True}}, "student.conv_pos: found True (true or false), expected a whole number"),
        ({"student": {"extractor_conv_feature_layers": [[512, 10]]}}, "found 2 entries, expected 3"),
        (
            {"objectives": [{"name": "glmd", "units": "u"}], "distill": {"random_depth": True}},
            "objectives: found glmd alone with distill.random_depth",
        ),
        ({"objectives": [{"name": "glmd"}]}, "units: missing; make the file with `gendistiller units`"),
        (
            {"objectives": [{"name": "glmd", "units": "u"}], "distill": {"feedback": "scheduled"}},
            "objectives: found glmd with the teacher's layers fed back",
        ),
        (
            {"objectives": [{"name": "ckd"}], "distill": {"feedback": "scheduled"}},
            "objectives: found ckd alone with the teacher's layers fed back",
        ),
        ({"distill": {"target_layers": []}}, "expected at least one layer"),
        ({"distill": {"target_layers": [0, 4]}}, "distill.target_layers[0]: 0 is below 1"),
        ({"objectives": []}, "expected at least one objective"),
        ({"objectives": [{}, {}]}, "layerwise is listed 2 times"),
        ({"objectives": [{"name": "layerwize"}]}, "did you mean layerwise?"),
        ({"objectives": [{"name": "layerwise"}, {"name": "ckd", "word_pairs": 1}]}, "did you mean word_pair?"),
        ({"objectives": [{"name": "ckd", "window": 0}]}, "objectives[0].window: found 0, expected at least 1"),
        (
            {
                "objectives": [
                    {"name": "ckd", **dict.fromkeys(("word_pair", "word_angle", "layer_pair", "layer_angle"), 0)}
                ]
            },
            "found 0 for all four terms of ckd",
        ),
        (
            {"objectives": [{}, {"name": "ckd"}], "distill": {"target_layers": [4, 8]}},
            "found ckd with layer_pair or layer_angle on 2 target layers, expected at least 3",
        ),
        (
            {"objectives": [{"name": "ckd"}], "distill": {"feedback": "teacher_forced"}},
            "found ckd alone with the teacher's layers fed back",
        ),
        (
            {"objectives": [{"name": "ckd", "layer_pair": 0, "layer_angle": 0}]},
            "found ckd alone with its word or its layer terms off",
        ),
        ({"student": None}, "student: found null, expected a section of keys"),
    ],
)
def test_a_wrong_value_names_key_found_and_expected(content: dict, expected: str) -> None:
    assert expected in problems(content)


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_objectives_are_known_by_their_name(task: str) -> None:
    content = {"teacher": {"folder": "x"}, "objectives": [{"weight": 2.0}, {"name": "ckd", "window": 3}]}
    found = read_model_config(task, content).objectives
    assert found == (LayerwiseConfig(weight=2.0), CkdConfig(window=3))


def test_exactly_one_way_to_name_a_teacher() -> None:
    for teacher in ({}, {"upstream": "hubert_base", "folder": "x"}):
        with pytest.raises(ConfigError, match="expected one: an s3prl upstream or a local folder"):
            read_model_config("gendistiller", {"teacher": teacher})


def test_feedback_is_no_key_of_the_baseline() -> None:
    assert "distill.feedback: unknown key" in problems({"distill": {"feedback": "scheduled"}}, task="distilhubert")


def test_numbers_may_be_written_without_a_dot() -> None:
    runner = {
        "runner": {"total_steps": 10, "log_step": 1, "save_step": 5, "max_keep": 2, "gradient_clipping": "1e-1"},
        "optimizer": {"name": "AdamW_with_schedule"},
        "pretrain_expert": {"datarc": {"libri_root": "a", "file_path": "b", "sets": ["c"]}},
    }
    assert from_dict(RunnerConfig, runner, "test").runner.gradient_clipping == 0.1


def test_steps_must_fit_the_runner(tmp_path: Path) -> None:
    runner = {"total_steps": 10, "log_step": 10, "save_step": 20, "max_keep": 0, "gradient_clipping": 1.0}
    with pytest.raises(ConfigError) as caught:
        from_dict(RunnerConfig, {"runner": runner}, "r.yaml")
    message = str(caught.value)
    assert "max_keep: found 0, expected at least 1" in message
    assert "optimizer: missing" in message and "pretrain_expert: missing" in message


@pytest.mark.parametrize(("n_epochs", "total_steps", "right"), [(3, -1, True), (-1, 0, False), (0, -1, False)])
def test_steps_or_epochs_say_where_a_run_ends(n_epochs: int, total_steps: int, right: bool) -> None:
    keys = {"log_step": 1, "save_step": 1, "max_keep": 1, "gradient_clipping": 1.0, "gradient_accumulate_steps": 1}
    section = StockRunnerSectionConfig(**keys, total_steps=total_steps, n_epochs=n_epochs)
    assert (not list(section.problems())) == right


def test_a_base_may_be_a_shipped_file_from_any_folder(tmp_path: Path) -> None:
    shipped = "pretrain_configs/distilhubert/config_model.yaml"
    (tmp_path / "mine.yaml").write_text(f"base: {shipped}\nstudent: {{dropout: 0.3}}\n")
    content = read_layered_yaml(tmp_path / "mine.yaml")
    assert content["student"]["dropout"] == 0.3 and content["student"]["encoder_layers"] == 2
    own = tmp_path / shipped
    own.parent.mkdir(parents=True)
    own.write_text("student: {encoder_layers: 5}\n")
    assert read_layered_yaml(tmp_path / "mine.yaml")["student"] == {"encoder_layers": 5, "dropout": 0.3}


def test_a_difference_file_overrides_its_base_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("student: {dropout: 0.1, conv_pos: 8}\nteacher: {upstream: x}\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\nstudent: {dropout: 0.2}\n")
    (tmp_path / "c.yaml").write_text("base: b.yaml\nteacher: {upstream: y}\n")
    content = read_layered_yaml(tmp_path / "c.yaml")
    assert content == {"student": {"dropout": 0.2, "conv_pos": 8}, "teacher": {"upstream": "y"}}


def test_a_circle_of_bases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(UserError, match="circle"):
        read_layered_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(("text", "expected"), [("a: [1", "not readable as YAML"), ("- 1", "found a list")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_layered_yaml(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="no such file"):
        read_layered_yaml(tmp_path / "missing.yaml")


def test_a_checkpoint_of_an_earlier_version_may_hold_keys_without_effect() -> None:
    stored = to_dict(read_model_config("gendistiller", {"teacher": TEACHER}))
    for section, reader in (("student", GenDistillerConfig), ("distill", GenerationTargetsConfig)):
        assert not reader.retired.keys() & stored[section].keys()
        stored[section] |= reader.retired
    assert "step_rank" not in to_dict(read_model_config("gendistiller", stored))["student"]
