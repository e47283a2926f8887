"""`gendistiller score`: published rows give their published score, and results stand beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED, smallest_of_their_score
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, overall_score
from tests.conftest import ROOT

DISTILHUBERT = next(model for model in PUBLISHED if model.name == "DistilHuBERT")


def results(folder: Path, tasks: dict, **more: object) -> Path:
    folder.mkdir()
    cost = {"parameters": 17_598_592, "gmacs_per_s": 4.0, "cpu_s_per_s": 0.1}
    student = {"cost": cost, "tasks": {name: {"values": values} for name, values in tasks.items()}}
    (folder / "results.json").write_text(json.dumps({"students": {"mine": student}, **more}))
    return folder


def test_results_stand_beside_published_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(tmp_path / "superb", DISTILHUBERT.values, preset="official")
    assert main(["score", str(folder), "--out", str(tmp_path / "score.png")]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    (published,) = (line for line in lines if line[:1] == ["DistilHuBERT"])
    assert lines[2][:3] == ["mine", "17.60", "717"] and published[:3] == ["DistilHuBERT", "23.49", "717"]
    assert lines[2][3:] == published[3:] and len(lines) == 2 + 1 + len(PUBLISHED) + 2
    assert (tmp_path / "score.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "small"}, "mine: small settings. These numbers are not comparable with published ones."),
        ({"preset": "mini"}, "mine: mini settings. These numbers are not comparable with published ones."),
        ({"preset": "official", "synthetic": True}, "mine: synthetic speech. These numbers are not comparable"),
        ({"preset": "official"}, None),
    ],
)
def test_numbers_that_are_not_comparable_are_named_on_the_picture(
    settings: dict,
    said: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = results(tmp_path / "superb", DISTILHUBERT.values, **settings)
    with monkeypatch.context() as patched:
        patched.setattr(pyplot, "close", lambda figure: None)
        assert main(["score", str(folder), "--out", str(tmp_path / "score.png")]) == 0
        figure = pyplot.gcf()
    pyplot.close(figure)
    note = figure.get_supxlabel().replace("\n", " ")
    labels = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert "does not begin at 0" in note
    if said is None:
        assert "comparable" not in note + labels
    else:
        assert said in note and said in capsys.readouterr().out and "not comparable" in labels
    (axis,) = figure.axes
    points = [x for line in axis.lines for x in np.asarray(line.get_xdata())]
    low, high = axis.get_xlim()
    assert all(low < point < high for point in points)
    names = {model.name for model in smallest_of_their_score(PUBLISHED) if model.score >= 600} | {"mine"}
    assert {text.get_text().rpartition(" ")[0] for text in axis.texts} == names


def test_seeds_are_one_row_with_their_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(tmp_path / "superb", DISTILHUBERT.values, preset="official")
    content = json.loads((folder / "results.json").read_text())
    student = content["students"]["mine"] | {"upstream": "x"}
    content["students"] = {name: student | {"tasks": dict(student["tasks"])} for name in ("mine", "mine+seed2")}
    content["students"]["mine+seed2"]["tasks"]["ks"] = {"values": {"acc": 90.0}}
    (folder / "results.json").write_text(json.dumps(content))
    assert main(["score", str(folder), "--out", str(tmp_path / "score.png")]) == 0
    printed = capsys.readouterr().out
    mine = [cell.strip() for cell in printed.splitlines()[2].split("|")[1:-1]]
    low = overall_score({**DISTILHUBERT.values, "ks": {"acc": 90.0}}, LEADERBOARD)
    high = overall_score(DISTILHUBERT.values, LEADERBOARD)
    assert low is not None and high is not None
    assert mine[0] == "mine" and mine[2] == f"{(low + high) / 2:.0f} ± {(high - low) / 2**0.5:.0f} (n 2)"
    assert "Error bars and ±: sample standard deviation over the n runs of a model" in printed


def test_tasks_that_are_not_there_leave_the_score_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(tmp_path / "superb", {"ks": {"acc": 96.66}})
    assert main(["score", str(folder)]) == 0
    mine = [cell.strip() for cell in capsys.readouterr().out.splitlines()[2].split("|")[1:-1]]
    assert mine[2] == "" and [cell for cell in mine[3:] if cell] == ["1000"]


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'import sys; from s3prl_gendistiller.cli import main; sys.exit(main())' score"
    answer = subprocess.run(
        ["bash", "-c", f"set -o pipefail; for i in 1 2 3; do {command}; done | head -1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert answer.stdout.startswith("| model") and answer.stderr == ""


@pytest.mark.parametrize("content", [None, "no json", "{}", '{"students": {"x": {"tasks": {"ks": {}}}}}'])
def test_other_files_are_named(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    assert main(["score", str(path)]) == 2
    assert "results.json" in capsys.readouterr().err
