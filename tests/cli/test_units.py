"""`gendistiller units` on made speech, and what its file is for: training with objective `glmd`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.distill.units import KmeansUnits, UnitHead, Units
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import units as host_units
from s3prl_gendistiller.host.tasks.gendistiller.pretrain_expert import UpstreamPretrainExpert as Expert
from s3prl_gendistiller.host.teachers import load_teacher
from s3prl_gendistiller.host.units import count_units, teacher_head
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import Bench


def command(bench: Bench, out: Path, *more: str, teacher: str | None = None) -> list[str]:
    libri = bench.data / "LibriSpeech"
    manifest = libri / "len_for_bucket/train-clean-100.csv"
    start = ["units", str(manifest), "--root", str(libri), "--teacher", teacher or str(bench.teacher)]
    return [*start, "--out", str(out), "--no-progress", *more]


def test_a_teacher_with_a_head_gives_its_own_units(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "u.safetensors"
    assert main(command(bench, out, "--ratio", "0.25", teacher="teachers/hubert_mini")) == 0
    found = Units.load(out)
    assert isinstance(found.predict, UnitHead) and found.layer == 6 and len(found.counts) == 200
    assert len(found.kept) == 50 and int(found.counts.sum()) == found.facts["frames"] > 0
    assert "200 units of layer 6" in capsys.readouterr().out and not list(tmp_path.glob("*.partial"))
    assert main(command(bench, out, teacher="teachers/hubert_mini")) == 2
    assert "is there already" in capsys.readouterr().err


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
        (["--clusters", "100000"], "frames for 100000 clusters"),
        (["--clusters", "5", "--force", "7"], "forced units: found 7, expected some of 0..4"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    more: list[str], message: str, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(bench, tmp_path / "u", *more)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "u").exists()


def test_counts_are_the_same_in_any_order_and_after_a_kill(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libri = bench.data / "LibriSpeech"
    utterances = read_manifest([libri / "len_for_bucket/train-clean-100.csv"], libri)
    config = TeacherConfig(folder="teachers/hubert_mini")
    teacher = load_teacher(config)
    head = teacher_head(teacher, config)
    whole = count_units(teacher, head, 6, utterances, 200, tmp_path / "a")
    shuffled = random.Random(0).sample(utterances, len(utterances))
    monkeypatch.setattr(host_units, "SAVED_EVERY", 2)
    calls: list[torch.Tensor] = []

    def killed(states: torch.Tensor) -> torch.Tensor:
        calls.append(states)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return head(states)

    with pytest.raises(KeyboardInterrupt):
        count_units(teacher, killed, 6, shuffled, 200, tmp_path / "b")
    rest: list[torch.Tensor] = []
    found = count_units(teacher, lambda s: (rest.append(s), head(s))[1], 6, utterances, 200, tmp_path / "b")
    assert torch.equal(found, whole) and len(rest) == len(utterances) - 2
    with pytest.raises(UserError, match="gives numbers that are not finite"):
        count_units(teacher, lambda states: head(states) * float("nan"), 6, utterances, 200, tmp_path / "c")


def expert(bench: Bench, folder: Path, stored: dict | None = None, **sections: object) -> Expert:
    torch.manual_seed(0)
    data = read_layered_yaml(bench.runner(folder))["pretrain_expert"]["datarc"]
    return Expert(data, stored or str(bench.model(folder, **sections)), "cpu", False)


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
