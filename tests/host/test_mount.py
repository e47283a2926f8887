"""The contract of s3prl's hub and Featurizer, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT, run_python
from tests.host.test_checkpoint import save_student

FEATURIZER = """
import sys, torch
from s3prl_gendistiller.host import mount
hub = mount.mount_hub()
mount.mount_hub()  # a second call finds its own entries
upstream = hub.gendistiller_local(ckpt=sys.argv[1], model_config=(sys.argv[2:] or [None])[0], refresh=False)
from s3prl.upstream.interfaces import Featurizer
featurizer = Featurizer(upstream, upstream_device="cpu")
wavs = [torch.randn(n) for n in (16000, 9000, 400)]
features = featurizer(wavs, upstream(wavs))
states = upstream(wavs)["hidden_states"]
rate = featurizer.downsample_rate
print("RESULT", len(states), tuple(states[0].shape), [len(f) for f in features], rate)
assert torch.equal(upstream(wavs)["last_hidden_state"], states[-1])
"""
TAKEN = """
import sys
from s3prl_gendistiller.host import compat
compat.apply()
import s3prl.hub
s3prl.hub.gendistiller_local = print
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.errors import UserError
try:
    mount.mount_hub()
except UserError as error:
    print("REFUSED", error)
"""

EXPERTS = """
import sys
from pathlib import Path
import torch
from s3prl_gendistiller.host import compat, mount
compat.apply()
folder = Path(sys.argv[1])
mount.mount_downstream(); mount.mount_downstream()
from s3prl.downstream.runner import Runner
assert not hasattr(Runner._get_downstream.__wrapped__, "__wrapped__")  # wrapped once

cuda = torch.Tensor.cuda
for name in ("ctc", "voxceleb1", "sv_voxceleb1"):
    mount.supply_expert(name, folder, "cuda")
assert torch.Tensor.cuda is cuda  # a run on a GPU keeps Tensor.cuda
mount.supply_expert("sv_voxceleb1", folder, "cpu")
mask = torch.ones(2)
assert mask.cuda() is mask

from s3prl.downstream.ctc.corpus.libriphone import LibriPhoneDataset
from s3prl.downstream.ctc.corpus.snips import SnipsDataset
from s3prl.downstream.ctc import expert
asked = {"num_workers": 0, "name": "none such", "bucketing": False, "batch_size": 1}
for _ in range(2):
    try:
        expert.load_dataset("dev", None, asked)
    except NotImplementedError:
        assert asked["num_workers"] == 0  # s3prl's loader removes the key

import os
from s3prl.downstream.voxceleb1 import dataset
assert dataset.CACHE_PATH == f"{folder}/.cache/"
from s3prl.downstream.sv_voxceleb1 import dataset
assert os.path.dirname(dataset.__file__) == str(folder)
assert dataset.Parallel(n_jobs=12)([]) == []
print("SUPPLIED")
"""


def test_the_upstream_keeps_the_featurizers_contract(tmp_path: Path) -> None:
    path = save_student(tmp_path / "x.ckpt")
    answer = run_python("-c", FEATURIZER, path)
    assert "RESULT 3 (3, 49, 24) [49, 28, 1] 320" in answer.stdout, answer.stdout + answer.stderr[-2000:]


def test_a_model_config_generates_fewer_layers(tmp_path: Path) -> None:
    path = save_student(tmp_path / "x.ckpt")
    (tmp_path / "g.yaml").write_text("steps: 1\n")
    assert "RESULT 2 " in run_python("-c", FEATURIZER, path, tmp_path / "g.yaml").stdout
    (tmp_path / "g.yaml").write_text("step: 1\n")
    assert "step: unknown key; did you mean steps?" in run_python("-c", FEATURIZER, path, tmp_path / "g.yaml").stderr


def test_a_taken_name_in_the_hub_is_refused() -> None:
    answer = run_python("-c", TAKEN)
    assert "REFUSED s3prl.hub.gendistiller_local: already taken by builtins" in answer.stdout, answer.stderr[-2000:]


@pytest.mark.parametrize("launcher", ["run_pretrain.py", "run_downstream.py"])
def test_an_s3prl_of_another_version_is_refused_by_both_launchers(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "s3prl").mkdir()
    for name, content in {"__init__.py": "", "hub.py": "", "run_downstream.py": "", "version.txt": "0.9.0\n"}.items():
        (tmp_path / "s3prl" / name).write_text(content)
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    flags = ("-u", "gendistiller") if launcher == "run_pretrain.py" else ("--help",)
    answer = run_python(ROOT / launcher, *flags, cwd=tmp_path, env=env)
    assert answer.returncode == 2 and "0.9.0" in answer.stderr and "pip install" in answer.stderr, answer.stderr
    assert "Traceback" not in answer.stderr


def test_what_the_experts_lack_is_put_in_place_for_the_run(tmp_path: Path) -> None:
    answer = run_python("-c", EXPERTS, tmp_path)
    assert "SUPPLIED" in answer.stdout, answer.stdout + answer.stderr[-2000:]


def test_our_upstream_folder_never_shadows_the_hosts(tmp_path: Path) -> None:
    """With the repository first on the path, as for a script of ours, `upstream` is still s3prl's package."""
    code = (
        "from s3prl_gendistiller.host import mount; mount.mount_pretrain(); import upstream, pretrain; "
        "print(upstream.__file__ or list(upstream.__path__)); import pretrain.gendistiller.pretrain_expert"
    )
    answer = run_python("-c", code, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert str(ROOT / "upstream") not in answer.stdout.split("\n")[0] or "s3prl/upstream" in answer.stdout
    assert not (ROOT / "upstream" / "__init__.py").exists()
