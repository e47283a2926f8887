"""s3prl's own DistilHuBERT and HuBERT with random weights, and the import of s3prl's pretraining from a source tree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.models.upstream import upstream_output
from stock.distiller import check_host, load_distiller, write_random_distiller, write_random_hubert, write_random_wavlm
from tests.conftest import ROOT, TINY, TINY_CONV, run_python

CONV = [list(shape) for shape in TINY_CONV]
TINY_HUBERT = {
    **{name: TINY[name] for name in ("conv_pos", "conv_pos_groups")},
    **{name: TINY[name] for name in ("encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")},
    **{"conv_feature_layers": str(list(TINY_CONV)), "encoder_layers": 3},
}

# The names that s3prl's file imports and defines, with a loss that names what it was given.
STEP = """
from easydict import EasyDict as edict
import torch
from pretrain.distiller.dataset import OnlineWaveDataset
from upstream.distiller.model import DistillerConfig

class DistillerForPretrain(torch.nn.Module):
    def __init__(self, config, teacher_config):
        super().__init__()
        self.teacher = torch.hub.load("s3prl/s3prl", teacher_config.model)
        self.scale = torch.nn.Parameter(torch.tensor(float(config["n"])))

    def forward(self, wave_input, wave_orig, wave_len, pad_mask, return_other=False):
        states = self.teacher(wave_orig)["hidden_states"]
        assert wave_len.tolist() == [len(wave) for wave in wave_orig] and pad_mask.shape == wave_input.shape
        return self.scale * len(states), None
"""

USE = """
import sys, torch
sys.path.insert(0, "benchmarks")
from pathlib import Path
from s3prl_gendistiller.host import compat
compat.apply()
from stock.distiller import StockStep
before, load = list(sys.path), torch.hub.load
step = StockStep(Path(sys.argv[1]), {"distiller": {"n": 5}, "teacher": {"model": "hubert_base", "n_layers": 3}},
                 Path(sys.argv[2]))
print(float(step(torch.randn(2, 4000))), step.model.teacher.training, sys.path == before, torch.hub.load is load)
"""


def tree(root: Path) -> Path:
    """A source tree with s3prl's modules of the pretraining, by their names."""
    for name, text in (
        ("pretrain/__init__.py", ""),
        ("pretrain/distiller/dataset.py", "OnlineWaveDataset = None\n"),
        ("pretrain/distiller/pretrain_expert.py", STEP),
        ("upstream/__init__.py", ""),
        ("upstream/distiller/model.py", "DistillerConfig = dict\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_reference_computes_what_our_class_computes(tmp_path: Path) -> None:
    content = {"teacher": {"folder": "x"}, "student": {**TINY, "extractor_conv_feature_layers": CONV}}
    student = build_student({**content, "distill": {"target_layers": [1, 3]}}, task="distilhubert").eval()
    path = write_random_distiller(tmp_path / "distiller.ckpt", host_config(student.config))
    reference = load_distiller(path)
    student.stored_module.load_state_dict(torch.load(path)["Distiller"])
    wavs = [torch.randn(4_000, generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        theirs, ours = reference(wavs)["hidden_states"], upstream_output(student, wavs, None)["hidden_states"]
    assert len(theirs) == len(ours) == 1 + 2 + 2  # projected frames, layers, heads
    for one, other in zip(theirs, ours, strict=True):
        torch.testing.assert_close(one, other)


def test_the_teacher_is_a_hubert_of_the_asked_sizes(tmp_path: Path) -> None:
    teacher = load_hub_teacher("hubert_local", str(write_random_hubert(tmp_path / "hubert.pt", **TINY_HUBERT)))
    assert (teacher.num_layers, teacher.width, teacher.model_type) == (3, 24, "hubert")


def test_a_wavlm_of_the_asked_sizes_has_gated_positions(tmp_path: Path) -> None:
    path = write_random_wavlm(tmp_path / "wavlm.pt", **TINY_HUBERT)
    teacher = load_hub_teacher("wavlm_local", str(path))
    assert (teacher.num_layers, teacher.width, teacher.model_type) == (3, 24, "wavlm")
    assert any("grep_a" in name for name in torch.load(path)["model"])


def test_the_step_is_that_of_the_source_tree_with_the_given_teacher(tmp_path: Path) -> None:
    teacher = write_random_hubert(tmp_path / "hubert.pt", **TINY_HUBERT)
    done = run_python("-c", USE, tree(tmp_path / "s3prl"), teacher, cwd=ROOT)
    # five times four hidden states; the teacher is in training mode; what was changed for the import is as it was
    assert done.stdout.splitlines()[-1:] == ["20.0 True True True"], done.stderr


def test_a_folder_without_the_pretraining_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--s3prl: .* lacks pretrain/distiller/pretrain_expert\.py; expected"):
        check_host(tmp_path)
