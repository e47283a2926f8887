"""The scripts under benchmarks/: what they compute besides running the package."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from tests.benchmarks.miniature.markdown import read

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_how_it_is_called(name: str) -> None:
    module = load(name)
    assert f"python benchmarks/{name}.py" in (module.__doc__ or "")
    with pytest.raises(SystemExit) as stopped:
        module.run(["--help"])
    assert stopped.value.code == 0


def student(kind: str, accuracy: float, error: float) -> dict:
    return {
        "kind": kind,
        "cost": None,
        "tasks": {"ks": {"values": {"acc": accuracy}}, "pr": {"values": {"per": error}}},
    }


def test_two_kinds_are_compared_by_their_distances_and_their_tasks(tmp_path: Path) -> None:
    results = {
        "students": {
            "fbank": student("fbank", 1, 99),
            **{f"gendistiller.{i}": student("gendistiller", 90 + i, 30 + i) for i in (1, 2, 9)},
            **{f"distilhubert.{i}": student("distilhubert", 80 + i, 31 + i) for i in (1, 2)},
        }
    }
    distance = {
        "gendistiller": {"loss": [0.4, 0.5], "l1_layer2": [0.4, 0.5], "cosine_layer2": [0.8, 0.9]},
        "distilhubert": {"loss": [0.6, 0.7], "l1_layer2": [0.6, 0.7], "cosine_layer2": [0.85, 0.96]},
    }
    text = load("matched").comparison(results, tmp_path, [1, 2], distance)
    near, scores, predicted, against = read(text)
    l1, cosine = near[1:]
    assert list(l1.values()) == ["l1_layer2 ↓", "2 / 2", "0.450", "0.650", "-0.200", "apart over seeds"]
    assert (cosine["measure"], cosine["gendistiller is"]) == ("cosine_layer2 ↑", "not apart over seeds")
    assert [row["KS acc % ↑"] for row in scores] == ["91.50 ± 0.71", "81.50 ± 0.71", "1.00"]
    assert predicted[0]["KS acc % ↑"] == "+0.33"  # of six pairs of students four agree
    words = {row["metric"]: (row["the form is"], row["difference"]) for row in against}
    assert words["KS acc % ↑"] == ("apart over seeds", "+10.00")
    assert words["PR PER % ↓"] == ("not apart over seeds", "-1.00")


def test_a_student_that_stops_early_is_one_line_of_points() -> None:
    def stopped(steps: int | None, seconds: float, error: float) -> dict:
        return {"steps": steps, "cost": {"cpu_s_per_s": seconds}, "tasks": {"pr": {"values": {"per": error}}}}

    students = {"fbank": stopped(None, 0.1, 60), "a-b-2": stopped(2, 0.3, 41), "a-b-1": stopped(1, 0.2, 45)}
    found = load("depth").curves({"students": students}, "pr", "per", "cpu_s_per_s")
    assert found == {"a-b": [(1, 0.2, 45), (2, 0.3, 41)]}


def test_the_attentions_that_are_timed_compute_the_same() -> None:
    attention = load("attention")
    module, x = attention.setting(steps=3, frames=20)
    with torch.no_grad():
        ours, fused, dense, previous = (
            attention.VARIANTS[n](module, x) for n in ("ours", "fused", "dense", "previous")
        )
    torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fused, dense, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(previous[:, 0], dense[:, 0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(previous[:, 1], dense[:, 1], atol=1e-3)


def test_what_the_attention_benchmark_has_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, measured = load("attention"), []

    def measure(steps: int, frames: int, rounds: int) -> dict:
        if frames == 30:
            raise KeyboardInterrupt
        measured.append((steps, frames))
        return {"steps": steps, "frames": frames, "rounds": rounds, "seconds": {}, "peak_gib": {}}

    monkeypatch.setattr(script, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        script.measurements(argparse.Namespace(steps=[1, 2], frames=[10, 30], rounds=3, out=tmp_path))
    found = script.measurements(argparse.Namespace(steps=[1, 2], frames=[10, 20], rounds=3, out=tmp_path))
    assert measured == [(1, 10), (1, 20), (2, 10), (2, 20)]
    assert [(row["steps"], row["frames"]) for row in found] == measured


def test_the_second_stage_takes_heads_students_and_rates_from_a_suite(tmp_path: Path) -> None:
    script = load("second_stage")
    head = tmp_path / "teacher" / "dev-best.ckpt"
    head.parent.mkdir()
    head.touch()

    def row(kind: str, upstream: str, lr: float) -> dict:
        outcome = {"values": {"acc": 50.0}, "lr": lr, "folders": [str(head.parent)]}
        return {"kind": kind, "upstream": upstream, "checkpoint": "a.ckpt", "steps": None, "tasks": {"ks": outcome}}

    students = {"teacher": row("teacher", "hf_hubert_custom", 1e-3), "fbank": row("fbank", "fbank", 1e-3)}
    students |= {f"mine.{seed}": row("mine", "gendistiller_local", 3e-3) for seed in (1, 2)}
    students |= {"other.1": row("other", "gendistiller_local", 1e-2)}
    results = {"students": students, "preset": "small", "features": "weighted", "seed": 7}
    args = argparse.Namespace(teacher="teacher", results=tmp_path, out=tmp_path / "out", cache_features=None)
    args.students = ["mine", "fbank"]
    suite = script.second_stage(results, "ks", args)
    assert [student.name for student in suite.models] == ["mine.1", "mine.2"]
    assert suite.tasks[0].downstream == "glmd_ks" and suite.rates == {"ks": (3e-3,)} and suite.seed == 7
    assert suite.content(suite.tasks[0])["downstream_expert"]["glmd"] == {"teacher": str(head)}
    found = {name: student["tasks"] for name, student in students.items()}
    assert script.by_kind(suite, found, "acc") == {"mine": [50.0, 50.0]}
    for name in ("asv", "er", "nothing"):
        with pytest.raises(UserError, match=f"--tasks {name}: expected one of ks, ic, sid, pr, asr"):
            script.second_stage(results, name, args)
    with pytest.raises(UserError, match="holds no run of it on sid"):
        script.second_stage(results, "sid", args)
    students["mine.2"]["tasks"]["ks"]["lr"] = 1e-3
    with pytest.raises(UserError, match="with one rate on ks for all"):
        script.second_stage(results, "ks", args)


def test_forms_refuses_an_unknown_control_and_a_suite_that_is_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["--speech", str(tmp_path), "--data", str(tmp_path), "--out", str(out), "--forms", "mel", "recur"]
    with pytest.raises(UserError, match="--control: found echo, expected one of mel, recur\n--suite: found '../x'"):
        load("forms").run([*command, "--control", "echo", "--suite", "../x"])
    with pytest.raises(UserError, match="--control: found mel, expected one of mel-lr0.002, mel-lr0.004, recur"):
        load("forms").run([*command, "--control", "mel", "--rates", "2e-3", "4e-3"])
    with pytest.raises(UserError, match="--forms: found mel more than once"):
        load("forms").run([*command, str(tmp_path / "mel.yaml")])
    assert not out.exists()


def test_forms_writes_the_scores_of_a_suite_beside_the_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms, asked = load("forms"), []
    place = forms.Miniature(tmp_path, tmp_path, tmp_path)

    def suite(self: object, students: list[str], folder: str, features: str) -> dict:
        asked.append((students, folder, features))
        return {"students": {"mel.1": student("mel", 90, 30), "recur.1": student("recur", 80, 31)}}

    monkeypatch.setattr(forms.Miniature, "suite", suite)
    args = argparse.Namespace(suite="superb_last", features="last")
    near = {f"{part}_layer{layer}": 0.1 * layer for part in ("l1", "cosine_loss") for layer in forms.TARGETS}
    distances = {"mel": [near], "recur": [{name: near[name] for name in near if "6" not in name}]}
    runs = {"mel": {1: tmp_path / "a" / "mel"}, "recur": {1: tmp_path / "a" / "recur"}}
    text = forms.tasks(place, runs, distances, args, "mel")
    students = [f"mel.1={tmp_path}/a/mel", f"recur.1={tmp_path}/a/recur"]
    assert asked == [(students, "superb_last", "last")]
    rows = {row["form"]: row["layerwise loss"] for row in read(text)[0]}
    assert rows["mel"] == "0.8000" and rows["recur"] == ""
