"""The steps that train the front end alone, to give the frames that enter the teacher's first layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from s3prl_gendistiller.cli import pretrain
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.distill.objectives.layerwise import Layerwise
from s3prl_gendistiller.distill.task import DistillTask, score
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.host.teachers import load_teacher, warm_start_student
from s3prl_gendistiller.models.student import StudentOutput
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config
from tests.bench import LAUNCH, Bench
from tests.conftest import run_python
from tests.distill.test_task import Item
from tests.host.test_launchers import succeed

ALIKE = {
    "gendistiller": {},
    "distilhubert": {"student": {"feature_norm": True}, "warm_start": {"norms": True}},
}
"""The sections with which the front end of a kind computes what the teacher's does."""


def task_of(kind: str, bench: Bench, folder: Path, *, copied: bool = True) -> DistillTask:
    torch.manual_seed(0)
    config = read_model_config(kind, bench.model(folder, kind, **ALIKE[kind]))
    student, teacher = build_student(config), load_teacher(config.teacher)
    if student.ignores_padding:
        teacher.ignore_padding()
    if copied:
        warm_start_student(student, teacher, config)
    layers = config.distill.target_layers
    return DistillTask(student, teacher, nn.ModuleList([Layerwise(layers)]), layers, front_end=Layerwise([0]))


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_a_copied_front_end_gives_the_teachers_frames(
    kind: str, bench: Bench, tmp_path: Path, wavs: tuple[Tensor, Tensor]
) -> None:
    for copied, distance in ((True, pytest.approx(0.0, abs=1e-4)), (False, pytest.approx(1.0, abs=0.7))):
        task = task_of(kind, bench, tmp_path, copied=copied).eval()
        report = task.report(task(*wavs, front_end_only=True))
        assert report.keys() == {"l1_layer0", "cosine_loss_layer0", "cosine_layer0"}
        assert report["l1_layer0"] == distance


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_the_first_layer_receives_what_encode_gives(
    kind: str, bench: Bench, tmp_path: Path, wavs: tuple[Tensor, Tensor]
) -> None:
    student = task_of(kind, bench, tmp_path).student.eval()
    received: list[Tensor] = []
    layer = student.layer if kind == "gendistiller" else student.distiller.encoder.layers[0]
    layer.register_forward_pre_hook(lambda module, given: received.append(given[0].detach()))
    if kind == "gendistiller":
        nn.init.zeros_(student.step_embedding.weight)
    output: StudentOutput = student(*wavs)
    z, mask = student.encode(*wavs)
    first = received[0] if kind == "gendistiller" else received[0].transpose(0, 1)
    assert torch.equal(mask, output.frame_mask)
    torch.testing.assert_close(first[mask], z[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_gradients_reach_the_front_end_alone(
    kind: str, bench: Bench, tmp_path: Path, wavs: tuple[Tensor, Tensor]
) -> None:
    task = task_of(kind, bench, tmp_path, copied=False).train()
    task.loss(task(*wavs, front_end_only=True)).backward()
    trained = {
        name.removeprefix("distiller.").split(".")[0]
        for name, p in task.student.named_parameters()
        if p.grad is not None
    }
    assert trained == {
        "gendistiller": {"front_end", "feature_norm", "feature_projection", "position", "encoder_norm"},
        "distilhubert": {"feature_extractor", "post_extract_proj", "encoder"},
    }[kind]  # fmt: skip
    layers = [p for name, p in task.student.named_parameters() if "layer." in name or "encoder.layers." in name]
    assert layers and all(p.grad is None for p in (*layers, *task.teacher.parameters()))


def test_scoring_and_whole_steps_have_no_term_of_the_front_end(
    bench: Bench, tmp_path: Path, wavs: tuple[Tensor, Tensor]
) -> None:
    task = task_of("gendistiller", bench, tmp_path)
    plain = DistillTask(task.student, task.teacher, task.objectives, task.target_layers)
    assert score(task, [Item(*wavs)], "cpu") == score(plain, [Item(*wavs)], "cpu")
    mixed = torch.cat((task(*wavs, front_end_only=True), task(*wavs)))
    assert task.report(mixed).keys() == {"l1_layer0", "cosine_loss_layer0", "cosine_layer0", *plain.terms}


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_a_run_trains_the_front_end_first_and_then_the_whole_student(kind: str, bench: Bench, tmp_path: Path) -> None:
    mel = {"front_end": "mel", "mel_bins": 20, "mel_channels": 12}
    base = bench.model(tmp_path, kind)
    model = tmp_path / "model.yaml"
    sections = {"student": mel, "warm_start": {"front_end": False}, "distill": {"front_end_steps": 3}}
    model.write_text(yaml.safe_dump({"base": str(base), **sections}))
    files = ("-g", model, "-c", bench.runner(tmp_path, kind))
    succeed(run_python("-c", LAUNCH, "-u", kind, "-n", "x", *files, cwd=tmp_path, env=bench.environment))
    run = tmp_path / "result/pretrain/x"
    seen = {step: set(entry) for step, entry in read_metrics(run, "train").items()}
    assert {step: ("l1_layer0" in names, "l1_layer3" in names) for step, names in seen.items()} == {
        2: (True, False),
        4: (True, True),
        6: (False, True),
    }
    assert all("l1_layer0" not in entry and "loss" in entry for entry in read_metrics(run, "valid").values())
    newest = newest_checkpoint(run)
    assert newest is not None
    early, late = (read_checkpoint(path)[STUDENT_KINDS[kind].weights] for path in (run / "states-3.ckpt", newest))
    teacher = load_teacher(read_model_config(kind, model).teacher).encoder_state()
    copied = next(value for name, value in teacher.items() if "layers.0" in name and name.endswith("q_proj.weight"))
    name = next(name for name in early if name.endswith("q_proj.weight"))
    assert torch.equal(early[name], copied) and not torch.equal(late[name], copied)


def test_faults_are_named_before_a_run(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = bench.model(tmp_path, distill={"target_layers": [1, 3], "front_end_steps": 6})
    assert pretrain.main(["-u", "gendistiller", "-n", "x", "-g", str(model), "-c", str(bench.runner(tmp_path))]) == 2
    assert "distill.front_end_steps: found 6, expected less than runner.total_steps 6" in capsys.readouterr().err
    shorter = ["-o", "config.runner.total_steps=5"]
    files = ["-g", str(model), "-c", str(bench.runner(tmp_path))]
    assert pretrain.main(["-u", "gendistiller", "-n", "x", *files, *shorter]) == 2
    assert f"error: -o config.runner.total_steps with {model}: distill.front_end_steps" in capsys.readouterr().err
