"""The ten corpora and what s3prl's own loaders make of their test sets, once for all tests of a process; and a
suite without speech, for what stands for run_downstream.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.conftest import ROOT, run_python
from tests.superb.noise_corpora import write_ten
from tests.superb.standin import FBANK, Host


@pytest.fixture(scope="session")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SUPERB_DATA would name; not to be changed."""
    return write_ten(tmp_path_factory.mktemp("ten"))


@pytest.fixture(scope="session")
def host_ids(ten: Path) -> dict[str, list[str]]:
    """Flag of s3prl's submit.py -> ids in the order of s3prl's loader."""
    answer = run_python("-m", "tests.superb.loaders", ten, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(answer.stdout)
    return found


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    data = tmp_path / "data"
    monkeypatch.setenv("SUPERB_DATA", str(data))
    folders = (
        "speech_commands_v0.01",
        "speech_commands_test_set_v0.01",
        "IEMOCAP/meta_data",
        "VoxCeleb1/dev_meta_data",
    )
    for name in (*folders, *(f"quesst14Database/scoring/groundtruth_quesst14_{split}" for split in ("dev", "eval"))):
        (data / name).mkdir(parents=True)
        (data / name / "truth.rttm").write_text("LEXEME d1 1 0 1 q lex <NA> <NA>\n")
    for name in ("dev_meta_data/dev_speaker_ids.txt", "dev_meta_data/dev_meta_data.txt", "voxceleb1_test_v2.txt"):
        (data / "VoxCeleb1" / name).write_text("1 id1/a.wav id2/b.wav\n")
    return Suite([FBANK], [TASKS["ks"]], "small", tmp_path / "out")
