"""A corpus of modulated noise in LibriSpeech's layout, a tiny teacher, and tiny recipes for the real host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.manifest import write_manifest
from s3prl_gendistiller.schema import merge, read_layered_yaml
from tests.conftest import ROOT, TINY, TINY_CONV

SPLITS = {"train-clean-100": 10, "dev-clean": 3, "test-clean": 3}
# shaped like conftest.TINY, so that a warm start finds everything
TINY_TEACHER = {"width": 24, "layers": 3, "heads": 2, "ffn": 32, "conv_dim": 16, "conv_pos": 8, "conv_pos_groups": 2}
LAUNCH = "import sys; from s3prl_gendistiller.cli.pretrain import main; raise SystemExit(main(sys.argv[1:]))"
WORDS = ("RED", "BLUE", "GREEN", "IT'S")


def write_corpus(root: Path) -> Path:
    """`root`/LibriSpeech with transcripts and manifests; returns the folder that SUPERB_DATA names."""
    rng = np.random.default_rng(0)
    for speaker, (split, count) in enumerate(SPLITS.items(), start=1):
        folder = root / "LibriSpeech" / split / str(speaker) / "7"
        folder.mkdir(parents=True)
        lines = []
        for index in range(count):
            name = f"{speaker}-7-{index:04d}"
            samples = int(rng.integers(9_000, 15_000))
            swell = np.sin(np.arange(samples) / 900) ** 2
            soundfile.write(folder / f"{name}.flac", 0.1 * swell * rng.standard_normal(samples), SAMPLE_RATE)
            lines.append(f"{name} {WORDS[index % 4]} {WORDS[(index + 1) % 4]}")
        (folder / f"{speaker}-7.trans.txt").write_text("\n".join(lines) + "\n")
    write_manifest(root / "LibriSpeech", None, progress=False)
    return root


@dataclass
class Bench:
    """Where the pieces of a tiny experiment are, and how to start one."""

    data: Path
    teacher: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SUPERB_DATA": str(self.data)}

    def model(self, folder: Path, task: str = "gendistiller", **sections: object) -> Path:
        content = {
            "base": str(ROOT / "pretrain_configs" / task / "config_model.yaml"),
            "teacher": {"upstream": None, "folder": str(self.teacher)},
            "student": {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV]},
            "distill": {"target_layers": [1, 3]},
        }
        return _write(folder / f"{task}_model.yaml", merge(content, sections))

    def runner(self, folder: Path, task: str = "gendistiller", datarc: dict | None = None, **runner: object) -> Path:
        content = {
            "base": str(ROOT / "pretrain_configs" / task / "config_runner.yaml"),
            "runner": {"total_steps": 6, "log_step": 2, "save_step": 3, "max_keep": 3, "fp16": False, **runner},
            "optimizer": {"lr": 1e-3},
            "pretrain_expert": {
                "datarc": {
                    "sets": ["train-clean-100"],
                    "train_batch_size": 3,
                    "num_workers": 0,
                    "crop_samples": 8_000,
                    "valid_step": 2,
                    **(datarc or {}),
                }
            },
        }
        return _write(folder / f"{task}_runner.yaml", content)

    def standalone_runner(self, folder: Path, task: str = "gendistiller") -> Path:
        """The same without `base`, which s3prl's own script does not know."""
        return _write(folder / "standalone.yaml", read_layered_yaml(self.runner(folder, task)))


def _write(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("bench")
    write_random_teacher(root / "teacher", **TINY_TEACHER)
    return Bench(write_corpus(root / "data"), root / "teacher")
