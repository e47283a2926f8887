from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import pyplot

from s3prl_gendistiller.cli import curves, main
from s3prl_gendistiller.distill.metrics import append_metrics


def write_run(folder: Path) -> Path:
    folder.mkdir()
    for step in (10, 20, 30):
        report = {"loss": 3 / step, "l1_layer2": 2 / step, "cosine_layer2": 1 - 1 / step}
        append_metrics(folder, "train", step, report)
        append_metrics(folder, "valid", step, report)
    return folder


def test_runs_become_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(write_run(tmp_path / name)) for name in ("ours", "theirs")]
    out = tmp_path / "pictures" / "curves.png"
    assert main(["curves", *runs, "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000


def test_a_run_without_metrics_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", str(tmp_path)]) == 2
    assert "metrics.jsonl: not there" in capsys.readouterr().err


def test_what_stands_in_the_metrics_is_read_with_care(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs of one name stay two; NaN of a run that diverged, and half a line of one that was killed, are no mistake."""
    folders = [tmp_path / "a" / "$x", tmp_path / "b" / "$x"]
    for folder in folders:
        folder.parent.mkdir()
        write_run(folder)
        append_metrics(folder, "train", 40, {"loss": float("nan")})
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"split": "tra')
    assert set(curves._labelled(folders)) == set(map(str, folders))
    out = tmp_path / "curves.png"
    assert main(["curves", *map(str, folders), "--out", str(out)]) == 0
    before = out.read_bytes()
    for line in (
        '{"step": 1}',
        "[1]",
        '{"split": "train", "step": "1"}',
        '{"split": "train", "step": 1, "loss": "\\u001b"}',
    ):
        (folders[0] / "metrics.jsonl").write_text(line + "\n")
        assert main(["curves", *map(str, folders), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert "metrics.jsonl line 1: found" in error and "\x1b" not in error and out.read_bytes() == before


def test_a_picture_that_cannot_be_written_is_named_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "x.png", Path("/proc/x.png")):
        for command in (["curves", "no such run"], ["score"]):
            assert main([*command, "--out", str(out)]) == 2
            assert f"--out {out}: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_legend_names_each_run_once_and_the_picture_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {name: write_run(tmp_path / name) for name in ("ours", "theirs", "third")}
    runs["fourth"] = tmp_path / "fourth"
    runs["fourth"].mkdir()
    append_metrics(runs["fourth"], "train", 10, {"loss": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(pyplot, "close", lambda figure: None)
        curves.draw(runs, tmp_path / "curves.png")
        figure = pyplot.gcf()
    pyplot.close(figure)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts() if text.get_text()]
    assert sorted(labels) == sorted(
        [*runs, "loss on training files", "loss on held-out files", "layer 2 of the teacher"]
    )
    assert all(axis.get_legend() is None for axis in figure.axes)
    assert "fourth: no values on held-out files." in figure.get_supxlabel()


def test_a_run_without_points_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("ours"))
    for name in ("begun", "diverged"):
        Path(name).mkdir()
    append_metrics("diverged", "train", 10, {"loss": float("nan"), "seconds_per_batch": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(pyplot, "close", lambda figure: None)
        assert main(["curves", "begun", "ours", "diverged"]) == 0
        figure = pyplot.gcf()
    pyplot.close(figure)
    out, err = capsys.readouterr()
    assert out == "result/curves.png\n" and Path("result/curves.png").is_file()
    assert "left out: begun/metrics.jsonl: not there" in err and "left out: diverged/metrics.jsonl: found no" in err
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert "ours" in labels and not labels & {"begun", "diverged"}
    assert "begun: left out" in figure.get_supxlabel() and "diverged: left out" in figure.get_supxlabel()
    assert main(["curves", "begun", "diverged", "--out", "none.png"]) == 2
    err = capsys.readouterr().err
    assert "no run has a point to draw" in err and "begun/metrics" in err and "diverged/metrics" in err
    assert not Path("none.png").exists()
    assert main(["curves", "ours", "typo"]) == 2
    assert "typo: no such folder" in capsys.readouterr().err
