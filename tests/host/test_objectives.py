"""Every objective, and all together, through the real launchers: distilled, gone on with, evaluated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller import load_student
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.pretrain_expert import task_expert
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import Bench
from tests.cli.test_units import command
from tests.conftest import ROOT, run_python
from tests.host.test_launchers import DOWNSTREAM, PRETRAIN, SHORT_ASR, succeed

THREE = {"target_layers": [1, 2, 3]}
TERMS = {
    "layerwise": {"l1_layer1", "cosine_layer3"},
    "ckd": {"ckd_word_pair", "ckd_word_angle", "ckd_layer_pair", "ckd_layer_angle"},
    "glmd": {"glmd_units", "glmd_agreement"},
    "layer_units": {"units_layer1", "units_agreement_layer3"},
}
ALL = list(TERMS)
LISTS = [["ckd"], ["glmd"], ["ckd", "glmd"], ["layerwise", "ckd"], ["layerwise", "glmd"], ["layer_units"], ALL]


@pytest.fixture(scope="module")
def units(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with units of each of three layers, and with those of the last one as `glmd` takes them."""
    folder = tmp_path_factory.mktemp("units") / "units"
    assert main(command(bench, folder, "--clusters", "12", "--layer", "1", "2", "3", "--ratio", "0.75")) == 0
    shutil.copy(folder / "layer3.safetensors", folder / "units.safetensors")
    return folder


def entries(names: list[str], units: object) -> list[dict]:
    files = {"glmd": {"units": f"{units}/units.safetensors"}, "layer_units": {"units": str(units)}}
    return [{"name": name, **files.get(name, {})} for name in names]


@pytest.mark.parametrize("names", LISTS, ids="+".join)
@pytest.mark.parametrize("kind", ["previous", "all", "distilhubert"])
def test_any_combination_trains_every_part_of_any_student(
    kind: str, names: list[str], bench: Bench, units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    task = "distilhubert" if kind == "distilhubert" else "gendistiller"
    student = {} if kind == "distilhubert" else {"history": kind}
    model = bench.model(tmp_path, task, distill=THREE, objectives=entries(names, units), student=student)
    data = read_layered_yaml(bench.runner(tmp_path, task))["pretrain_expert"]["datarc"]
    torch.manual_seed(0)
    made = task_expert(task)(data, str(model), "cpu", False)
    loss, _ = made(next(iter(made.get_train_dataloader())), records={}, global_step=1, log_step=1)
    loss.backward()
    assert set().union(*(TERMS[name] for name in names)) <= made.task.terms.keys()
    for name, parameter in made.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert all(parameter.grad is None for parameter in made.task.teacher.parameters())


@pytest.mark.parametrize(
    ("task", "names", "width"),
    [("gendistiller", ALL, 24), ("distilhubert", ALL, 12), ("gendistiller", ["glmd"], 24)],  # the teacher has 24
    ids=str,
)
def test_a_run_is_distilled_gone_on_with_and_evaluated(
    task: str, names: list[str], width: int, bench: Bench, units: Path, tmp_path: Path
) -> None:
    own = tmp_path / "units"
    shutil.copytree(units, own)
    student = {"encoder_embed_dim": width}
    listed = entries(names, own.name)  # a relative path
    model = bench.model(tmp_path, task, distill=THREE, objectives=listed, student=student)
    files = ("-g", model, "-c", bench.runner(tmp_path, task))
    succeed(run_python(PRETRAIN, "-u", task, *files, cwd=tmp_path, env=bench.environment))
    run, elsewhere = tmp_path / "result/pretrain" / task, tmp_path / "elsewhere"
    elsewhere.mkdir()
    whole = read_checkpoint(newest_checkpoint(run) or "")
    (newest_checkpoint(run) or run).unlink()  # as after a kill in its third step
    begun = read_checkpoint(run / "states-3.ckpt")
    succeed(run_python(PRETRAIN, "-e", run, cwd=elsewhere, env=bench.environment))
    newest = newest_checkpoint(run)
    again = read_checkpoint(newest or "")
    assert (begun["Step"], again["Step"], whole["Step"]) == (3, 6, 6)
    heads = {
        name: value for name, value in again["Objectives"].items() if {"head", "heads", "maps"} & {*name.split(".")}
    }
    assert any(".maps." in name for name in heads) == (width != 24)
    assert heads and not any(torch.equal(value, begun["Objectives"][name]) for name, value in heads.items())
    for part in ("Objectives", {"gendistiller": "GenDistiller", "distilhubert": "Distiller"}[task]):
        assert all(torch.equal(value, whole[part][name]) for name, value in again[part].items())
    for split in ("train", "valid"):
        assert set().union(*(TERMS[name] for name in names)) <= read_metrics(run, split)[6].keys()
    shutil.rmtree(own)  # the student needs no units file
    assert not any("label_embs" in name for name in load_student(newest or "").state_dict())
    upstream = {"gendistiller": "gendistiller_local", "distilhubert": "distiller_local"}[task]
    asr = ("-u", upstream, "-k", newest, "-d", "asr", "-c", ROOT / "downstream_runs/asr/small.yaml", "-o", SHORT_ASR)
    answer = run_python(DOWNSTREAM, "-m", "train", "-n", "asr", *asr, cwd=elsewhere, env=bench.environment)
    assert "dev-clean wer:" in succeed(answer).stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file, expected the units of a teacher"), (b"no units", "not readable as units")],
)
def test_units_that_cannot_be_read_are_named_before_a_folder_is_made(
    content: bytes | None, said: str, bench: Bench, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "units.safetensors").write_bytes(content)
    files = ("-g", bench.model(tmp_path, objectives=entries(["glmd"], ".")), "-c", bench.runner(tmp_path))
    answer = run_python(PRETRAIN, "-u", "gendistiller", *files, cwd=tmp_path, env=bench.environment)
    assert answer.returncode == 2 and said in answer.stderr and "Traceback" not in answer.stderr
    assert "gendistiller units" in answer.stderr and not (tmp_path / "result").exists()
