"""docs/deploy.md, run from top to bottom with a tiny student: its commands, and the code between them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s3prl_gendistiller.cli import main
from tests.conftest import ROOT
from tests.host.test_checkpoint import save_student
from tests.inference.students import speech

DOCUMENT = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
PARTS = re.findall(r"```python\n(.*?)```|^    (gendistiller [^\n]*)$", DOCUMENT, flags=re.DOTALL | re.MULTILINE)


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_student(tmp_path / "result/pretrain/my_mini/states-600.ckpt")
    for seed, (name, samples) in enumerate({"anna/call 1": 8_000, "anna/b/call": 6_000, "call": 40_000}.items()):
        path = tmp_path / f"recordings/{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech(samples, seed).numpy(), 16_000)
    (tmp_path / "call.wav").write_bytes((tmp_path / "recordings/call.wav").read_bytes())
    (tmp_path / "calls.txt").write_text("recordings/call.wav\n")
    soundfile.write(tmp_path / "hours.flac", speech(70 * 16_000).numpy(), 16_000)
    names: dict[str, object] = {}
    for code, command in PARTS:
        if command:
            assert main([*shlex.split(command)[1:], "--no-progress"]) == 0, command
        else:
            exec(code, names)  # noqa: S102
    states, last, frames = names["states"], names["last"], names["frames"]
    assert isinstance(states, dict) and [*states] == ["hidden_0", "hidden_1", "hidden_2"]
    assert states["hidden_0"].shape == (24, 24)
    assert isinstance(last, torch.Tensor) and last.shape == (3_499, 24)
    assert isinstance(frames, torch.Tensor) and frames.shape == (124, 24)
    with np.load("last/recordings/call.npz") as file:
        assert file["hidden_2"].dtype == np.float16
    assert Path("one_file/features.h5").is_file() and Path("hours/hours.safetensors").is_file()
