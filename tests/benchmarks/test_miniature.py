"""What the measurements in miniature share: forms of the student, and a distance that asks no objective."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniature import recipe as miniature
from miniature.recipe import CONTENDERS, Miniature, form, form_name
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import UserError
from tests.bench import Bench


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


@pytest.mark.parametrize("kind", ["gendistiller", "distilhubert"])
def test_a_distance_is_what_training_measured_and_needs_no_layerwise_objective(
    kind: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miniature, "TARGETS", (1, 2, 3))
    monkeypatch.setattr(miniature, "CROP_SAMPLES", 8_000)
    monkeypatch.setattr(Miniature, "teacher", bench.teacher)
    place = Miniature(bench.data / "LibriSpeech", bench.data, tmp_path)
    small = {"conv_pos": 8, "conv_pos_groups": 2}
    plain = miniature.Contender(kind, {"student": small})
    related = miniature.Contender(kind, {"student": small, "objectives": [{"name": "ckd"}]})
    forms = {"plain": plain, "related": related}
    experiment = place.experiment("runs", forms, lr=1e-3, seed=1, steps=6)
    place.distil([(experiment, name) for name in forms])
    found = place.distance(tmp_path / "runs" / "plain")
    at_the_end = read_metrics(tmp_path / "runs" / "plain", "valid")[6]
    assert found == pytest.approx({name: at_the_end[name] for name in found}, rel=1e-5) and "l1_layer3" in found
    assert place.distance(tmp_path / "runs" / "related")["l1_layer3"] > 0
    with pytest.raises(UserError, match="nowhere: holds no whole checkpoint"):
        place.distance(tmp_path / "nowhere")
