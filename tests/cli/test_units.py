"""`gendistiller units` on made speech, and what its file is for: training with objective `glmd`."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.distill.audio import read_audio
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.units import KmeansUnits, UnitHead, Units
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import teacher_units as host_units
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert, task_expert
from s3prl_gendistiller.host.teacher_units import count_units, teacher_head
from s3prl_gendistiller.host.teachers import load_teacher
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import Bench

UNITS = 500  # of the head of the shipped teacher


def command(bench: Bench, out: Path, *more: str, teacher: str | None = None) -> list[str]:
    libri = bench.data / "LibriSpeech"
    manifest = libri / "len_for_bucket/train-clean-100.csv"
    start = ["units", str(manifest), "--root", str(libri), "--teacher", teacher or str(bench.teacher)]
    return [*start, "--out", str(out), "--no-progress", *more]


def test_a_teacher_with_a_head_gives_its_own_units(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "u.safetensors"
    assert main(command(bench, out, "--ratio", "0.25", teacher="teachers/hubert_guided")) == 0
    found = Units.load(out)
    assert isinstance(found.predict, UnitHead) and found.layer == 6 and len(found.counts) == UNITS
    assert len(found.kept) == 125 and int(found.counts.sum()) == found.facts["frames"] > 0
    assert f"{UNITS} units of layer 6" in capsys.readouterr().out and not list(tmp_path.glob("*.partial"))
    assert main(command(bench, out, teacher="teachers/hubert_guided")) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_teacher_without_a_head_gets_clusters_of_a_layer(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "u.safetensors"
    asked = ("--clusters", "12", "--layer", "2", "--ratio", "0.5", "--multiple-of", "4", "--force", "3")
    assert main(command(bench, out, *asked)) == 0
    found = Units.load(out)
    assert isinstance(found.predict, KmeansUnits) and found.layer == 2 and found.facts["similarity"] == "euclidean"
    assert len(found.kept) == 8 and found.kept[0] == 3
    teacher = load_teacher(TeacherConfig(folder=str(bench.teacher)))
    found.check_teacher(teacher.name, teacher.fingerprint(), teacher.width, teacher.num_layers)
    capsys.readouterr()
    assert main(command(bench, tmp_path / "x", "--source", "head")) == 2
    assert "holds no unit head; take --source kmeans" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ratio", "0"], "expected 0 < ratio <= 1"),
        (["--ratio", "1.5"], "expected 0 < ratio <= 1"),
        (["--layer", "9"], "--layer: found 9, expected 0..3"),
        (["--layer", "1", "9", "8"], "--layer: found 8 9, expected 0..3"),
        (["--layer", "2", "1", "2"], "--layer: found 2 1 2, expected each layer once"),
        (["--clusters", "100000"], "frames for 100000 clusters"),
        (["--clusters", "5", "--force", "7"], "forced units: found 7, expected some of 0..4"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    more: list[str], message: str, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(bench, tmp_path / "u", *more)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "u").exists()


@pytest.mark.parametrize("flag", ["--layer", "--clusters", "--frames"])
def test_what_k_means_would_take_is_not_ignored_beside_a_head(
    flag: str, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(bench, tmp_path / "u", flag, "3", teacher="teachers/hubert_guided")) == 2
    assert f"{flag}: found 3 for teacher" in capsys.readouterr().err and not (tmp_path / "u").exists()


def test_a_broken_head_is_named(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(bench.teacher, teacher)
    (teacher / host_units.HEAD_FILE).write_bytes(b"half")
    assert main(command(bench, tmp_path / "u", teacher=str(teacher))) == 2
    assert f"{host_units.HEAD_FILE}: not readable as a unit head" in capsys.readouterr().err
    save_file({"label_embs_concat": torch.zeros(3, 4)}, teacher / host_units.HEAD_FILE)
    assert main(command(bench, tmp_path / "u", teacher=str(teacher))) == 2
    assert "not readable as a unit head ('final_proj.weight')" in capsys.readouterr().err
    good = {
        "label_embs_concat": torch.ones(3, 4),
        "final_proj.weight": torch.ones(4, 24),
        "final_proj.bias": torch.ones(4),
    }
    for changes, metadata, message in (
        ({"final_proj.weight": torch.ones(4, 25)}, {}, "of width 25, expected the teacher's 24"),
        ({"final_proj.bias": torch.full((4,), float("nan"))}, {}, "found NaN in the weight final_proj.bias"),
        ({"label_embs_concat": torch.ones(3)}, {}, "expected a matrix of floats"),
        ({}, {"temperature": "0"}, "temperature 0.0, expected a number above 0"),
        ({}, {"temperature": "-inf"}, "temperature -inf"),
    ):
        save_file({**good, **changes}, teacher / host_units.HEAD_FILE, metadata)
        assert main(command(bench, tmp_path / "u", teacher=str(teacher))) == 2
        assert message in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_found_before_the_count(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Path, *unused: object, **unnamed: object) -> int:
        raise OSError(28, "No space left on device")

    config = TeacherConfig(folder="teachers/hubert_guided")
    teacher = load_teacher(config)
    utterances = read_manifest(
        [bench.data / "LibriSpeech/len_for_bucket/train-clean-100.csv"], bench.data / "LibriSpeech"
    )
    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(host_units, "states_of", lambda *unused: pytest.fail("the count began"))
    with pytest.raises(UserError, match="No space left on device"):
        count_units(teacher, teacher_head(teacher, config), [6], utterances, UNITS, tmp_path / "a.partial")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": 1}', '{"identity": "x", "counts": "a", "done": 1}'])
def test_a_count_whose_file_is_broken_begins_again(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_text(content)
    counts, done = host_units._read_partial(tmp_path / "a.partial", "x", 3)
    assert done == 0 and counts.tolist() == [0, 0, 0]


def test_a_teacher_without_finite_states_is_named_before_k_means(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Teacher, "forward", lambda self, wavs, *_: torch.full((1, 1, 9, self.width), float("nan")))
    assert main(command(bench, tmp_path / "u", "--clusters", "3")) == 2
    assert "gives numbers that are not finite" in capsys.readouterr().err


def test_counts_are_of_the_unit_that_the_head_puts_first(bench: Bench, tmp_path: Path) -> None:
    """By hand, and as many as the convolutions make frames of the samples."""
    libri = bench.data / "LibriSpeech"
    utterances = read_manifest([libri / "len_for_bucket/train-clean-100.csv"], libri)[:3]
    config = TeacherConfig(folder="teachers/hubert_guided")
    teacher = load_teacher(config)
    head = teacher_head(teacher, config)
    expected, frames = torch.zeros(UNITS, dtype=torch.long), 0
    for utterance in utterances:
        wav = read_audio(utterance.path)
        for unit in head(teacher(wav[None], torch.tensor([len(wav)]), [6])[0, 0]).max(-1).indices.tolist():
            expected[unit] += 1
        length = len(wav)
        for kernel, stride in ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2):
            length = (length - kernel) // stride + 1
        frames += length
    found = count_units(teacher, head, [6], utterances, UNITS, tmp_path / "a")
    assert torch.equal(found[0], expected) and int(found.sum()) == frames


def test_a_count_that_was_begun_with_another_codebook_begins_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_units, "SAVED_EVERY", 1)
    out = tmp_path / "u.safetensors"
    whole = tmp_path / "whole.safetensors"
    asked = ("--source", "kmeans", "--clusters", "5")
    assert main(command(bench, whole, *asked, "--seed", "1")) == 0
    real, calls = host_units._check_finite, []

    def killed(*given: object) -> None:
        calls.append(given)
        if len(calls) > number + 4:  # in the counting, which follows one pass for k-means
            raise KeyboardInterrupt
        real(*given)

    libri = bench.data / "LibriSpeech"
    number = len(read_manifest([libri / "len_for_bucket/train-clean-100.csv"], libri))
    monkeypatch.setattr(host_units, "_check_finite", killed)
    assert main(command(bench, out, *asked, "--seed", "0")) not in (0, 2)  # interrupted
    assert out.with_suffix(".partial").is_file()
    monkeypatch.setattr(host_units, "_check_finite", real)
    assert main(command(bench, out, *asked, "--seed", "1")) == 0
    assert torch.equal(Units.load(out).counts, Units.load(whole).counts)


def test_counts_are_the_same_in_any_order_and_after_a_kill(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libri = bench.data / "LibriSpeech"
    utterances = read_manifest([libri / "len_for_bucket/train-clean-100.csv"], libri)
    config = TeacherConfig(folder="teachers/hubert_guided")
    teacher = load_teacher(config)
    head = teacher_head(teacher, config)
    whole = count_units(teacher, head, [6], utterances, UNITS, tmp_path / "a")
    shuffled = random.Random(0).sample(utterances, len(utterances))
    monkeypatch.setattr(host_units, "SAVED_EVERY", 2)
    calls: list[torch.Tensor] = []

    def killed(states: torch.Tensor) -> torch.Tensor:
        calls.append(states)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return head(states)

    with pytest.raises(KeyboardInterrupt):
        count_units(teacher, killed, [6], shuffled, UNITS, tmp_path / "b")
    rest: list[torch.Tensor] = []
    found = count_units(teacher, lambda s: (rest.append(s), head(s))[1], [6], utterances, UNITS, tmp_path / "b")
    assert torch.equal(found, whole) and len(rest) == len(utterances) - 2
    with pytest.raises(UserError, match="gives numbers that are not finite"):
        count_units(teacher, lambda states: head(states) * float("nan"), [6], utterances, UNITS, tmp_path / "c")


def expert(bench: Bench, folder: Path, stored: dict | None = None, **sections: object) -> PretrainExpert:
    torch.manual_seed(0)
    data = read_layered_yaml(bench.runner(folder))["pretrain_expert"]["datarc"]
    return task_expert("gendistiller")(data, stored or str(bench.model(folder, **sections)), "cpu", False)


def test_glmd_trains_resumes_and_refuses_another_teachers_units(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    out = tmp_path / "u.safetensors"
    assert main(command(bench, out, "--clusters", "12")) == 0
    entry = {"name": "glmd", "units": str(out), "temperature": 2.0}
    made = expert(bench, tmp_path, objectives=[{"name": "layerwise"}, entry])
    batch = next(iter(made.get_train_dataloader()))
    loss, _ = made(batch, records={}, global_step=1, log_step=1)
    loss.backward()
    head = made.model["objectives"][1].head
    assert head.label_embs_concat.grad.any() and made.task.terms["glmd_units"] == 1.0
    with torch.no_grad():
        head.label_embs_concat.add_(1.0)
    states = made.add_state_to_save({"Optimizer": {}, "Step": 1, "Config": {}})
    again = expert(bench, tmp_path, stored=states["Upstream_Config"])
    again.load_model(states)
    assert torch.equal(again.model["objectives"][1].head.label_embs_concat, head.label_embs_concat)
    with pytest.raises(UserError, match="holds no Objectives"):
        again.load_model({key: value for key, value in states.items() if key != "Objectives"})
    other = Units.load(out)
    other.facts["fingerprint"] = "0"
    other.save(tmp_path / "other")
    with pytest.raises(UserError, match="whose weights are not those of"):
        expert(bench, tmp_path, objectives=[{**entry, "units": str(tmp_path / "other")}])


@pytest.mark.parametrize("changed", [("--force", "3"), ("--ratio", "0.25"), ("--seed", "1")])
def test_a_run_does_not_go_on_with_other_units_than_it_began_with(
    changed: tuple[str, ...], bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    out = tmp_path / "u.safetensors"
    assert main(command(bench, out, "--clusters", "12")) == 0
    kept = Units.load(out).kept
    made = expert(bench, tmp_path, objectives=[{"name": "glmd", "units": str(out)}])
    states = made.add_state_to_save({"Optimizer": {}, "Step": 1, "Config": {}})
    out.unlink()
    if changed[0] == "--force":  # the rarest of the kept ones goes
        changed = ("--force", str(next(unit for unit in range(12) if unit not in kept.tolist())))
    assert main(command(bench, out, "--clusters", "12", *changed)) == 0
    with pytest.raises(UserError, match="the units file has changed since this run began"):
        expert(bench, tmp_path, stored=states["Upstream_Config"]).load_model(states)


def test_a_file_whose_parts_do_not_fit_is_refused(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "u.safetensors"
    assert main(command(bench, out, "--clusters", "6")) == 0
    good = Units.load(out)
    for part, value in (("kept", good.kept + 6), ("kept", good.kept[:0]), ("nearest", good.nearest + 3)):
        replace(good, **{part: value}).save(out)
        with pytest.raises(UserError, match="found (kept units that are not among|units mapped beyond)"):
            Units.load(out)
