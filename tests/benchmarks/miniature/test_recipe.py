"""What the measurements in miniature share: forms of the student, and a distance that asks no objective."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniature import recipe as miniature
from miniature.recipe import Miniature
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import UserError
from tests.bench import Bench


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
