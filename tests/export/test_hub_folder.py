"""The hub folder, loaded by s3prl's own code in a process that cannot import this package."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import SUBPACKAGE, write_hub_folder
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.schema import merge
from tests.conftest import TINY, run_python
from tests.host.test_checkpoint import save_student

CARD = Card("mine", 123_456, 0.5, 8, [("KS", "acc %", "50.00")], "preset small")
THIN = {"front_end": "thin", "thin_channels": [6, 8, 8, 8, 8, 10, 12]}
CONFIG = {"teacher": {"folder": "/home/someone/teacher"}, "student": TINY, "distill": {"target_layers": [1, 2, 3]}}
MEL = {"front_end": "mel", "mel_bins": 20, "mel_channels": 12}
NO_PACKAGE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "s3prl_gendistiller":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
for name in [name for name in sys.modules if name.split(".")[0] == "s3prl_gendistiller"]:
    del sys.modules[name]
"""
WAVS = "torch.manual_seed(0); wavs = [torch.randn(samples) / 10 for samples in (8000, 5000, 3210)]"
# What the host does with the folder that the hub gave it; the reference comes first, from the checkpoint.
HOST = f"""
import sys, torch
from argparse import Namespace
from s3prl_gendistiller.host import compat
compat.apply()
import huggingface_hub
from s3prl.downstream.runner import Runner
from s3prl_gendistiller.host.upstream_expert import UpstreamExpert
checkpoint, folder, model_name, model_config = sys.argv[1:]
model_config = model_config or None
{WAVS}
with torch.no_grad():
    wanted = UpstreamExpert(checkpoint, model_config).eval()(wavs)
{NO_PACKAGE}
huggingface_hub.snapshot_download = lambda *arguments, **options: folder
runner = Runner.__new__(Runner)
runner.init_ckpt = {{}}
runner.args = Namespace(
    from_hf_hub=True, upstream="me/mine", upstream_revision=None, upstream_model_name=model_name, device="cpu",
    upstream_model_config=model_config, upstream_refresh=False, upstream_trainable=False, upstream_feature_selection=
    "hidden_states", upstream_layer_selection=None, upstream_feature_normalize=False)
runner.upstream = runner._get_upstream()
featurizer = runner._get_featurizer().model
expert = runner.upstream.model
assert type(expert).__module__ == "expert" and not any(name.startswith("s3prl_gendistiller") for name in sys.modules)
with torch.no_grad():
    found = expert(wavs)
    assert [len(feature) for feature in featurizer(wavs, found)] == [24, 16, 10]
assert featurizer.downsample_rate == expert.get_downsample_rates("hidden_states") == 320
assert found.keys() == wanted.keys() and len(found["hidden_states"]) == len(wanted["hidden_states"])
assert all(torch.equal(*pair) for pair in zip(found["hidden_states"], wanted["hidden_states"], strict=True))
assert all(torch.equal(found[key], wanted[key]) for key in found if key != "hidden_states")
print("states", len(found["hidden_states"]))
"""


def save(path: Path, task: str = "gendistiller", **student: object) -> Path:
    torch.manual_seed(1)
    config = merge(CONFIG, {"student": student, "warm_start": {"front_end": "front_end" not in student}})
    built = build_student(config, task=task)
    if task == "gendistiller":
        return save_student(path, GenDistiller=built.state_dict(), Upstream_Config=config)
    return save_student(path, GenDistiller=None, Distiller=built.distiller.state_dict(), Upstream_Config=config)


def load_as_the_host(
    checkpoint: Path, folder: Path, name: str = "model.pt", config: str = ""
) -> subprocess.CompletedProcess[str]:
    return run_python("-c", HOST, checkpoint, folder, name, config)


def succeed(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 0, answer.stdout[-1000:] + answer.stderr[-3000:]
    return answer.stdout


@pytest.mark.parametrize("student", [{"position_bias": "gated"}, {"history": "all"}, MEL, THIN])
def test_s3prl_loads_the_folder_without_this_package_and_hears_the_same(tmp_path: Path, student: dict) -> None:
    checkpoint = save(tmp_path / "x.ckpt", **student)
    write_hub_folder(checkpoint, tmp_path / "hub", CARD)
    said = succeed(load_as_the_host(checkpoint, tmp_path / "hub"))
    assert "states 4" in said and "0. torch>=2.1" in said and "1. safetensors" in said


@pytest.mark.parametrize("student", [{}, {"out_layer_type": "linear", "feature_norm": True}, MEL, THIN])
def test_a_baseline_is_built_of_the_hosts_own_model(tmp_path: Path, student: dict) -> None:
    checkpoint = save(tmp_path / "x.ckpt", "distilhubert", **student)
    write_hub_folder(checkpoint, tmp_path / "hub", CARD)
    said = succeed(load_as_the_host(checkpoint, tmp_path / "hub"))
    assert "states 6" in said and "3. s3prl" in said  # frames, two layers, three heads


def test_fewer_steps_are_asked_for_and_other_weights_can_be_named(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "x.ckpt")
    hub = tmp_path / "hub"
    write_hub_folder(checkpoint, hub, CARD)
    (hub / "model.safetensors").rename(hub / "other.safetensors")
    assert "states 3" in succeed(load_as_the_host(checkpoint, hub, "other.safetensors", "steps: 2"))


def test_a_cache_of_links_is_loaded_without_s3prl(tmp_path: Path) -> None:
    """The hub keeps files by their hash and a folder of links to them."""
    hub, blobs, snapshot = tmp_path / "hub", tmp_path / "blobs", tmp_path / "snapshot"
    files = write_hub_folder(save(tmp_path / "x.ckpt"), hub, CARD, steps=2)
    blobs.mkdir()
    for number, name in enumerate(files):
        (hub / name).rename(blobs / str(number))
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blobs / str(number))
    code = f"""{NO_PACKAGE}
import torch
sys.modules["s3prl"] = None
sys.path.append({str(snapshot)!r})
from expert import UpstreamExpert
{WAVS}
print(len(UpstreamExpert()(wavs)["hidden_states"]), len(UpstreamExpert(model_config="steps: 3")(wavs)["hidden_states"]))
"""
    assert succeed(run_python("-c", code)).split() == ["3", "4"]
    (snapshot / "model.safetensors").unlink()
    answer = run_python("-c", code)
    assert answer.returncode == 1  # safetensors 0.4 writes the path in quotes
    assert f"No such file or directory: {snapshot}/model.safetensors" in answer.stderr.replace('"', "")


def test_the_folder_holds_the_weights_the_costs_and_no_path_of_this_machine(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "x.ckpt")
    hub = tmp_path / "hub"
    files = write_hub_folder(checkpoint, hub, CARD)
    assert files == sorted(path.relative_to(hub) for path in hub.rglob("*") if path.is_file())
    weights = read_checkpoint(checkpoint)["GenDistiller"]
    stored = load_file(hub / "model.safetensors")
    assert stored.keys() == weights.keys() and all(torch.equal(stored[name], weights[name]) for name in weights)
    card = (hub / "README.md").read_text()
    assert "123,456 parameters" in card and "0.500 G multiply-adds" in card and "| KS | acc % | 50.00 |" in card
    assert "layers 1, 2, 3 of teacher" in card and "benchmark:superb" in card
    texts = [path.read_text() for path in hub.rglob("*") if path.suffix in (".py", ".json", ".md", ".txt")]
    assert not any("/home/someone" in text for text in texts)
    assert not any(f"{word} s3prl_gendistiller" in text for text in texts for word in ("from", "import"))
    assert sum(SUBPACKAGE in text for text in texts) > 5


@pytest.mark.parametrize("official", [True, False])
def test_the_header_is_what_the_hub_reads_and_lists_scores_at_superbs_settings_only(
    tmp_path: Path, official: bool
) -> None:
    scores = [("KS", "acc %", "50.00"), ("SF", "slot F1 %", "80.25"), ("SF", "CER %", "30.00")]
    card = dataclasses.replace(CARD, scores=scores, official=official)
    write_hub_folder(save(tmp_path / "x.ckpt"), tmp_path / "hub", card)
    header = yaml.safe_load((tmp_path / "hub/README.md").read_text().split("---\n")[1])
    assert header["license"] == "apache-2.0" and header["datasets"] == ["superb"]
    assert header["tags"] == ["library:s3prl", "benchmark:superb", "type:model"]
    assert header.keys() - {"model-index"} == {"license", "datasets", "tags"} and ("model-index" in header) == official
    read = ModelCard.load(tmp_path / "hub/README.md").data
    found = [
        (r.task_type, r.dataset_name, r.metric_type, r.metric_name, r.metric_value) for r in read.eval_results or ()
    ]
    listed = [
        ("KS", "SUPERB", "acc", "acc %", 50.0),
        ("SF", "SUPERB", "slot f1", "slot F1 %", 80.25),
        ("SF", "SUPERB", "cer", "CER %", 30.0),
    ]
    assert found == (listed if official else [])
    assert not official or read.model_name == "mine"


def test_the_modules_are_our_own_but_for_the_name_they_import(tmp_path: Path) -> None:
    import s3prl_gendistiller

    hub = tmp_path / "hub"
    write_hub_folder(save(tmp_path / "x.ckpt"), hub, CARD)
    package = Path(s3prl_gendistiller.__file__).parent
    copies = [path for path in (hub / SUBPACKAGE).rglob("*.py") if path != hub / SUBPACKAGE / "__init__.py"]
    assert {"models", "host"} < {path.parent.name for path in copies}
    for path in [*copies, hub / "expert.py"]:
        origin = (
            package / "export/expert.py" if path.name == "expert.py" else package / path.relative_to(hub / SUBPACKAGE)
        )
        assert path.read_text().replace(SUBPACKAGE, "s3prl_gendistiller") == origin.read_text()


def test_nothing_is_written_where_something_is_or_for_what_cannot_be_loaded(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="steps: found 4, expected"):
        write_hub_folder(checkpoint, tmp_path / "hub", CARD, steps=4)
    with pytest.raises(UserError, match="expected the weights of a student"):
        write_hub_folder(save_student(tmp_path / "y.ckpt", GenDistiller=None), tmp_path / "hub", CARD)
    assert not (tmp_path / "hub").exists()
    (tmp_path / "hub").mkdir()
    with pytest.raises(UserError, match="already there; expected a new folder for the upstream"):
        write_hub_folder(checkpoint, tmp_path / "hub", CARD)


def test_the_configuration_says_what_builds_the_student(tmp_path: Path) -> None:
    write_hub_folder(save(tmp_path / "x.ckpt"), tmp_path / "hub", CARD, steps=1)
    stored = json.loads((tmp_path / "hub/config.json").read_text())
    assert stored["task"] == "gendistiller" and stored["steps"] == 1
    assert stored["config"]["teacher"] == {"folder": "teacher"}
    assert stored["config"]["distill"] == {"target_layers": [1, 2, 3]}
    assert "stops after the first 1 of them" in (tmp_path / "hub/README.md").read_text()
