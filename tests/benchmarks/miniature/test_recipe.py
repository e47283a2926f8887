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
    kind: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(miniature, "TARGETS", (1, 2, 3))
    monkeypatch.setattr(miniature, "CROP_SAMPLES", 8_000)
    monkeypatch.setattr(Miniature, "teacher", bench.teacher)
    place = Miniature(bench.data / "LibriSpeech", bench.data, tmp_path)
    small = {"conv_pos": 8, "conv_pos_groups": 2}
    plain = miniature.Contender(kind, {"student": small})
    related = miniature.Contender(kind, {"student": small, "objectives": [{"name": "ckd"}]})
    forms = {"plain": plain, "related": related}
    if kind == "gendistiller":
        forms["narrow"] = miniature.Contender(kind, {"student": {**small, "encoder_embed_dim": 12}})
        forms["apart"] = miniature.Contender(kind, {**forms["narrow"].difference, "objectives": [{"name": "ckd"}]})
    experiment = place.experiment("runs", forms, lr=1e-3, seed=1, steps=6)
    place.distil([(experiment, name) for name in forms])
    for name in sorted(forms.keys() & {"plain", "narrow"}):
        found = place.distance(tmp_path / "runs" / name)
        at_the_end = read_metrics(tmp_path / "runs" / name, "valid")[6]
        assert found == pytest.approx({key: at_the_end[key] for key in found}, rel=1e-5) and "l1_layer3" in found
    if kind == "gendistiller":
        capsys.readouterr()
        assert place.distance(tmp_path / "runs" / "apart") == {}
        assert "left out of the distances: " in capsys.readouterr().out
    assert place.distance(tmp_path / "runs" / "related")["l1_layer3"] > 0
    with pytest.raises(UserError, match="nowhere: holds no whole checkpoint"):
        place.distance(tmp_path / "nowhere")


def test_a_suite_has_the_references_the_features_and_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def main(command: list[str]) -> int:
        commands.append(command)
        folder = tmp_path / command[command.index("--out") + 1]
        folder.mkdir()
        (folder / "results.json").write_text('{"students": {"mel.1": {"tasks": {"ks": {"values": {"acc": 50.0}}}}}}')
        return 0

    (tmp_path / "random_teacher").mkdir()
    monkeypatch.setattr(miniature, "main", main)
    monkeypatch.setenv("SUPERB_DATA", "")
    place = Miniature(tmp_path, tmp_path, tmp_path, suite_options=["--tasks", "ks"])
    found = place.suite(["mel.1=run"], "real", "last")
    assert found["students"]["mel.1"]["tasks"]["ks"]["values"] == {"acc": 50.0}
    (command,) = commands
    assert command[:7] == ["superb", "--out", str(tmp_path / "real"), "--features", "last", "--tasks", "ks"]
    students = [command[index + 1] for index, part in enumerate(command) if part == "--student"]
    assert [student.partition("=")[0] for student in students] == ["fbank", "teacher", "random", "mel.1"]
