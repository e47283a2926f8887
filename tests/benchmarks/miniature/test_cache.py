"""Forms of one seed that share the teacher's layers on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniature import recipe as miniature
from miniature.recipe import Contender, Miniature
from s3prl_gendistiller.distill.metrics import read_metrics
from tests.bench import Bench


def test_forms_share_the_teachers_layers_and_have_the_same_numbers(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miniature, "TARGETS", (1, 2, 3))
    monkeypatch.setattr(miniature, "CROP_SAMPLES", 8_000)
    monkeypatch.setattr(Miniature, "teacher", bench.teacher)
    kept, form = tmp_path / "kept", {"x": Contender("gendistiller", {"student": {"conv_pos": 8, "conv_pos_groups": 2}})}
    found = []
    for folder, cache in (("without", None), ("with", kept)):
        place = Miniature(bench.data / "LibriSpeech", bench.data, tmp_path / folder, 1, (), cache)
        experiment = place.experiment("runs", form, lr=1e-3, seed=1, steps=4)
        place.distil([(experiment, "x")])
        run = tmp_path / folder / "runs" / "x"
        found.append((place.distance(run), list(read_metrics(run, "valid").values())))
    (distance, scores), (cached_distance, cached_scores) = found
    assert scores == cached_scores
    assert distance == pytest.approx(cached_distance, rel=1e-5)  # this process has another number of threads
    files = sorted(kept.rglob("*.npz"))
    assert len(files) == 4 + 1  # the batches of two epochs, and the held-out batch that all scores and distances share
    monkeypatch.setattr("s3prl_gendistiller.distill.teacher.Teacher.forward", lambda *_: pytest.fail("computed anew"))
    assert place.distance(run) == cached_distance
