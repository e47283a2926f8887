"""Forms of the student: ablations, YAML files, and several of them joined."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniature.forms import CONTENDERS, contender, form, form_name
from s3prl_gendistiller.cli.experiment import Contender
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.teacher_sizes import compare
from s3prl_gendistiller.schema import merge, read_layered_yaml
from s3prl_gendistiller.student_kinds import read_model_config
from tests.conftest import ROOT


def test_a_form_states_its_difference_from_the_matched_recipe() -> None:
    assert form("distilhubert") == CONTENDERS["distilhubert"]
    joined = form("history_all+teacher_forced").difference
    assert joined["student"] == {"history": "all"} and joined["distill"] == {"feedback": "teacher_forced"}
    assert joined["warm_start"] == CONTENDERS["gendistiller"].difference["warm_start"] == {"layer": 2}
    assert form("distilhubert_norms").difference["student"] == {
        **{"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0},
        "feature_norm": True,
    }


def test_the_last_part_of_a_form_has_the_last_word(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("base: pretrain_configs/gendistiller/config_model.yaml\nwarm_start: {layer: null}\n")
    assert form(f"echo+{own}").difference["warm_start"] == {"layer": None}
    assert form_name(f"echo+{own}") == "echo+own"


def test_parts_of_two_kinds_of_student_are_refused() -> None:
    with pytest.raises(UserError, match="parts of distilhubert and gendistiller; expected those of one"):
        form("recur+distilhubert_norms")


def test_a_form_is_an_ablation_or_a_file(tmp_path: Path) -> None:
    recur = contender("recur")
    assert (recur.task, recur.difference) == ("gendistiller", {"student": {"history_input": "recur"}})
    own = tmp_path / "own.yaml"
    own.write_text(f"base: {ROOT}/pretrain_configs/distilhubert/config_model.yaml\nstudent: {{dropout: 0.0}}\n")
    assert contender(own) == Contender("distilhubert", {"student": {"dropout": 0.0}})
    with pytest.raises(UserError, match="found nothing_such, expected a YAML file or one of add, all_layers, .*recur"):
        contender("nothing_such")
    own.write_text("student: {dropout: 0.0}\n")
    with pytest.raises(UserError, match="found no base in it"):
        contender(str(own))


def test_a_form_of_a_form_keeps_what_both_state() -> None:
    plain, bare = contender("plain"), contender("plain_no_skip")
    assert bare.task == "gendistiller" and plain.difference["student"]["skip_connection"] == "history"
    assert bare.difference == {"student": {**plain.difference["student"], "skip_connection": "none"}}


def test_a_form_keeps_what_stands_between_it_and_the_recipe(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("base: pretrain_configs/gendistiller/config_model_mini.yaml\nstudent: {dropout: 0.2}\n")
    found = contender(own)
    assert found.task == "gendistiller" and found.difference["distill"] == {"target_layers": [2, 4, 6]}
    assert found.difference["student"]["dropout"] == 0.2 and found.difference["student"]["encoder_embed_dim"] == 256


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("width_192", "layerwise: 3 projections from the student's 192 channels to the teacher's 256, 148,224 "),
        ("width_128+shared_projection", "layerwise: one projection from the student's 128 channels"),
        ("distilhubert_width_192", "layerwise: 3 projections from the student's 192 channels"),
        ("distilhubert_width_128", "layerwise: 3 projections from the student's 128 channels"),
        ("convolutions_alone", None),
    ],
)
def test_forms_of_the_width_fit_the_embedded_teacher(name: str, said: str | None) -> None:
    stated = form(name)
    recipe = read_layered_yaml(f"pretrain_configs/{stated.task}/config_model_mini.yaml")
    lines = compare(read_model_config(stated.task, merge(recipe, stated.difference)), name)
    assert [line[: len(said or "")] for line in lines[:1]] == ([said] if said else [])
