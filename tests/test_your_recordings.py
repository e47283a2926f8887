"""docs/your_recordings.md, typed from top to bottom by a user with recordings of mixed kinds."""

from __future__ import annotations

import csv
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from s3prl_gendistiller.cli import main, parser, pretrain
from s3prl_gendistiller.distill.audio import audio_frames
from s3prl_gendistiller.distill.metrics import read_metrics
from tests.conftest import ROOT
from tests.installed import Installation
from tests.made_speech import SPEAKERS, write_recordings

PAGE = (ROOT / "docs" / "your_recordings.md").read_text(encoding="utf-8")
LINES_AT_MOST = 145
FEWER_STEPS = {
    "total_steps: 60": "total_steps: 6",
    "log_step: 20": "log_step: 2",
    "save_step: 60": "save_step: 6",
    "valid_step: 20": "valid_step: 2",
}
"""The only difference between the page and what this test runs."""
# A file to save, with its name in the first line; or indented lines to type.
BLOCK = re.compile(
    r"^```\w+\n(# (?P<file>\S+): .*?)^```$|(?P<typed>(?:^    \S[^\n]*\n(?:^ {5,}[^\n]*\n)*)+)", re.DOTALL | re.M
)
FRAME_SAMPLES, HOP_SAMPLES = 400, 320


@dataclass(frozen=True)
class Session:
    """What is there after the last line of the page."""

    work: Path
    recordings: Path
    said: dict[str, str]  # first words of the lines that were typed -> what they printed


def blocks() -> list[tuple[str | None, str]]:
    """Name and text of each file of the page, and the lines to type (no name), in the order of the page."""
    return [(found["file"], found[1] or found["typed"]) for found in BLOCK.finditer(PAGE)]


@pytest.fixture(scope="module")
def session(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Session:
    work, recordings = tmp_path_factory.mktemp("work"), installation.home / "calls"
    write_recordings(recordings)
    said: dict[str, str] = {}
    for name, text in blocks():
        if name is not None:
            for step, fewer in FEWER_STEPS.items():
                text = text.replace(step, fewer)
            (work / name).write_text(text, encoding="utf-8")
            continue
        answer = installation.shell(text, work)
        printed = answer.stdout + answer.stderr
        assert answer.returncode == 0 and "Traceback" not in printed, f"{text}\n{printed[-3000:]}"
        said[" ".join(text.split()[:2])] = printed
    return Session(work, recordings, said)


def test_the_page_is_short_and_all_of_its_blocks_are_run() -> None:
    assert len(PAGE.splitlines()) <= LINES_AT_MOST
    names = [name for name, _ in blocks() if name]
    assert names == ["my_student.yaml", "trial.yaml", "features.py", "classify.py", "real_student.yaml"]
    assert len(names) == PAGE.count("```") // 2 and sum(name is None for name, _ in blocks()) == 6
    assert all(PAGE.count(step) == 1 for step in FEWER_STEPS)


def test_every_kind_of_recording_is_listed_and_stays_as_it_is(session: Session) -> None:
    said = session.said["gendistiller manifest"]
    assert "calls/train.csv: 32 files" in said and "calls/held_out.csv: 8 files" in said
    assert "20 files at 8000 Hz, 20 files at 44100 Hz" in said and "12 files of 2 channels" in said
    assert len(list(session.recordings.rglob("*.*"))) == 40  # nothing was written among them


def test_the_table_of_the_page_is_what_the_command_prints(session: Session) -> None:
    printed = session.said["gendistiller config"]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in printed.splitlines() if row.startswith("|")]
    table = [[cell.strip() for cell in row.split("|")[1:-1]] for row in PAGE.splitlines() if row.startswith("|")]
    assert len(table) == 5 and [[row[i] for i in (0, 1, 2, 4)] for row in rows[:5:]][2:] == table[2:]


def test_the_student_comes_closer_to_its_teacher_and_the_run_says_where_it_is(session: Session) -> None:
    losses = [entry["loss"] for entry in read_metrics(session.work / "result/pretrain/my_student", "valid").values()]
    assert len(losses) == 3 and losses[-1] < losses[0]
    said = session.said["run_pretrain.py -u"]
    assert "the student is in result/pretrain/my_student/states-6.ckpt (step 6)" in said
    assert "next: run_downstream.py " in said and (session.work / "result/curves.png").is_file()


def test_each_recording_has_features_with_fifty_frames_a_second(session: Session) -> None:
    for part in ("train", "held_out"):
        lines = (session.work / "calls" / f"{part}.csv").read_text(encoding="utf-8").splitlines()
        for row in csv.DictReader(lines):
            features = np.load(session.work / "features" / part / f"{row['file_path']}.npy")
            samples = audio_frames(session.recordings / row["file_path"])
            assert features.shape == ((samples - FRAME_SAMPLES) // HOP_SAMPLES + 1, 128) and np.isfinite(features).all()


def test_the_classifier_tells_the_speakers_apart(session: Session) -> None:
    right, total, chance = re.match(
        r"(\d+) of (\d+) held-out recordings right; by chance: ([\d.]+)", session.said["python classify.py"]
    ).groups()  # type: ignore[union-attr]
    assert int(total) == 8 and float(chance) == 8 / len(SPEAKERS)
    assert int(right) >= 2.5 * float(chance)


def test_the_student_is_written_as_a_folder(session: Session) -> None:
    folder = session.work / "my_student_hub"
    assert {"README.md", "expert.py", "model.safetensors"} <= {path.name for path in folder.iterdir()}


def test_the_larger_student_fits_its_teacher_and_the_commands_in_the_text_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("real_student.yaml").write_text(dict(blocks())["real_student.yaml"])
    assert main(["config", "gendistiller", "--check", "real_student.yaml"]) == 0
    assert "3 projections from the student's 384 channels to the teacher's 768" in capsys.readouterr().out
    inline = [shlex.split(text) for text in re.findall(r"`((?:gendistiller|run_pretrain\.py) [^`]+)`", PAGE)]
    assert {words[0] for words in inline} == {"gendistiller", "run_pretrain.py"}
    for words in inline:
        if words[0] == "run_pretrain.py":
            assert pretrain._parser().parse_known_args(words[1:])[1] == []
        elif len(words) > 2:
            assert callable(parser().parse_args(words[1:]).run)
