"""docs/python.md, run from top to bottom in a fresh process, which begins with `import s3prl_gendistiller.compat`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soundfile
import torch

from s3prl_gendistiller import load_student
from tests.conftest import ROOT, run_python
from tests.host.test_checkpoint import save_student
from tests.host.test_launchers import succeed

DOCUMENT = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
CHECKPOINT = "result/pretrain/my_mini/states-600.ckpt"
# What the document claims, after its code.
CHECKS = f"""
import sys
import torchaudio

# setuptools, which stands in for distutils where s3prl imports that, adds a folder of its own
assert [place for place in sys.path if "setuptools" not in place] == PATH_BEFORE
assert features.shape == (49, 24) and features.dtype.name == "float32"
assert mask.sum(1).tolist() == [24, 24] and means.shape == (2, 24)
torchaudio.save("x.wav", torch.zeros(1, 4000), 16000)
read, rate = torchaudio.load("x.wav")
assert rate == 16000 and read.shape == (1, 4000)
wavs = torch.randn(1, 16_000)
states, _ = upstream(wavs, torch.tensor([16_000]))
expected = load_student("{CHECKPOINT}").generate(wavs).hidden_states
assert len(states) == len(expected) == 3 and states[0].shape[1] == 50 and expected[0].shape[1] == 49
assert all(torch.allclose(state[:, :49], wanted, atol=1e-5) for state, wanted in zip(states, expected))
assert all(torch.equal(state[:, 49], state[:, 48]) for state in states)
assert teacher.config.num_hidden_layers == 6
print("done")
"""


def test_the_code_of_the_document_runs_and_one_import_makes_the_three_libraries_work(tmp_path: Path) -> None:
    save_student(tmp_path / CHECKPOINT)
    (tmp_path / "teachers").symlink_to(ROOT / "teachers")
    noise = 0.1 * np.random.default_rng(0).standard_normal(44_100)
    soundfile.write(tmp_path / "call.wav", noise[:16_000], 16_000)
    soundfile.write(tmp_path / "stereo_44k.wav", np.stack([noise[:22_050], noise[-22_050:]], axis=1), 44_100)
    assert "import s3prl_gendistiller.compat" in BLOCKS[0] and len(BLOCKS) == 5
    code = "import sys\nPATH_BEFORE = sys.path[:]\n" + "".join(BLOCKS) + CHECKS
    answer = succeed(run_python("-c", code, cwd=tmp_path))
    assert answer.stdout.splitlines()[-1] == "done" and "supplied" not in answer.stdout + answer.stderr


def test_the_formula_of_frames_holds_for_a_student(tmp_path: Path) -> None:
    student = load_student(save_student(tmp_path / "states-3.ckpt"))
    assert "S samples have (S - 400) // 320 + 1 frames" in DOCUMENT
    for samples in (400, 719, 720, 4000, 16_000):
        found = student.generate(torch.randn(samples)).hidden_states[0].shape[1]
        assert found == (samples - 400) // 320 + 1
