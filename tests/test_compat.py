"""The import that a user's own script begins with, in a fresh process."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import run_python
from tests.host.test_checkpoint import save_student
from tests.host.test_launchers import succeed

SCRIPT = """
import sys
import s3prl_gendistiller.compat
path_before = sys.path[:]
import torch, torchaudio
from transformers import HubertModel
from s3prl.nn import Featurizer, S3PRLUpstream
from s3prl_gendistiller import load_student

waveform, lengths = torch.randn(1, 4000), torch.tensor([4000])
torchaudio.save("x.wav", waveform.clamp(-1, 1), 16000)
read, rate = torchaudio.load("x.wav")
assert rate == 16000 and read.shape == (1, 4000)
upstream = S3PRLUpstream("gendistiller_local", sys.argv[1])
states, _ = upstream(waveform, lengths)
expected = load_student(sys.argv[1]).generate(waveform).hidden_states
assert len(states) == len(expected) == 3
frames = expected[0].shape[1]  # s3prl repeats the last frame, up to one frame for every 320 samples begun
assert all(torch.allclose(state[:, :frames], wanted, atol=1e-5) for state, wanted in zip(states, expected))
assert sys.path == path_before
print("done")
"""


def test_one_import_makes_the_three_libraries_work_in_a_script(tmp_path: Path) -> None:
    checkpoint = save_student(tmp_path / "states-3.ckpt")
    answer = succeed(run_python("-c", SCRIPT, checkpoint, cwd=tmp_path))
    assert answer.stdout.splitlines()[-1] == "done" and "supplied" not in answer.stdout + answer.stderr
