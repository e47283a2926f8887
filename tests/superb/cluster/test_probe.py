"""The probe: a host that cannot take runs is named with what it lacks, before any run starts."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster import probe
from s3prl_gendistiller.superb.cluster.probe import (
    PROBE,
    Needed,
    answered,
    needed,
    problems,
    read_probe,
    refuse,
    write_probe,
)
from s3prl_gendistiller.superb.suite.suite import Suite
from tests.conftest import run_python

AWAY = "node2 (10.0.0.2)"


def test_a_host_with_everything_answers_without_a_problem(tmp_path: Path) -> None:
    student = tmp_path / "states-3.ckpt"
    student.write_bytes(b"12345")
    reads = [Needed("SUPERB_DATA", str(tmp_path), None), Needed("--student mine", str(student), 5)]
    sent = write_probe(tmp_path / "out", reads, tmp_path / "features")
    assert read_probe(tmp_path / "out" / PROBE) == sent
    assert problems(sent, AWAY, 0) == [] == answered(sent, AWAY, 0)
    assert not (tmp_path / "features").exists()  # writing was tried, and nothing is left


def test_a_folder_that_is_not_shared_is_found_on_the_host_and_on_the_controller(tmp_path: Path) -> None:
    sent = write_probe(tmp_path / "out")
    for moved, found in ((tmp_path / "other", "another folder of that name"), (tmp_path / "none", "no such folder")):
        if "other" in moved.name:
            write_probe(moved)
        (line,) = problems(replace(sent, folder=str(moved)), AWAY, 0)
        assert line.startswith(f"{AWAY}: --out {moved}: found {found}, expected the folder") and "mount" in line
    (line,) = answered(sent, AWAY, 0)
    assert f"{AWAY}: --out {tmp_path / 'out'}: what this host wrote there is not seen" in line


def test_an_answer_to_an_earlier_probe_does_not_count(tmp_path: Path) -> None:
    sent = write_probe(tmp_path)
    problems(sent, AWAY, 0)
    again = write_probe(tmp_path)
    assert again.word == sent.word  # runs of a killed controlling process may still wait in a queue
    assert len(answered(again, AWAY, 0)) == 1
    (tmp_path / PROBE).write_text("{}")
    with pytest.raises(UserError, match=f"{PROBE}: found no probe of this version"):
        read_probe(tmp_path / PROBE)
    assert write_probe(tmp_path).word != sent.word


def test_other_versions_are_named(tmp_path: Path) -> None:
    sent = write_probe(tmp_path)
    other = replace(sent, versions={**sent.versions, "torch": "1.0", "Python": "3.9"})
    python, torch = problems(other, AWAY, 0)
    assert f"{AWAY}: torch: found {sent.versions['torch']}, expected 1.0 as on the controlling host" in torch
    assert "Python: found 3.1" in python and answered(other, AWAY, 0) == [python, torch]
    other = replace(sent, versions={**sent.versions, probe.OWN: "0.0.1", probe.CODE: "abc"})
    assert len(problems(other, AWAY, 0)) == 1  # a version says more than the hash of its code
    other = replace(sent, versions={**sent.versions, probe.CODE: "abc"})
    assert f"{probe.CODE}: found {sent.versions[probe.CODE]}, expected abc" in problems(other, AWAY, 0)[0]


def test_paths_that_a_host_lacks_are_named_once(tmp_path: Path) -> None:
    data, student, cache = tmp_path / "data", tmp_path / "states-3.ckpt", tmp_path / "features"
    (data / "LibriSpeech").mkdir(parents=True)
    student.write_bytes(b"12345")
    reads = [Needed("SUPERB_DATA", str(data), None), Needed("corpus of asr", str(data / "LibriSpeech"), None)]
    sent = write_probe(tmp_path / "out", [*reads, Needed("--student mine", str(student), 5)], cache)
    shutil.rmtree(data)
    student.write_bytes(b"another")
    cache.touch()
    lines = problems(sent, AWAY, 0)
    assert f"SUPERB_DATA {data}: found nothing that can be read, expected a folder" in lines[0]
    assert f"--student mine {student}: found a file of 7 bytes, expected a file of 5 bytes" in lines[1]
    assert f"--cache-features {cache}" in lines[2] and len(lines) == 3


def test_a_host_that_cannot_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = write_probe(tmp_path)

    def refused(path: Path, text: str) -> None:
        raise UserError(f"{path}: cannot be written (Read-only file system)")

    monkeypatch.setattr(probe, "write_text", refused)
    (line,) = problems(sent, AWAY, 0)
    assert "found a folder that this host cannot write" in line and "Read-only" in line


def test_all_problems_are_one_message() -> None:
    refuse([])
    with pytest.raises(UserError, match=r"none was started:\n  a: one\n  b: two"):
        refuse(["a: one", "b: two"])


def test_what_a_suite_reads_is_listed_with_its_sizes(suite: Suite, tmp_path: Path) -> None:
    student = tmp_path / "states-3.ckpt"
    student.write_bytes(b"12345")
    model = replace(suite.models[0], name="mine", checkpoint=student)
    found = {one.what: one for one in needed(replace(suite, models=[model]), os.environ["SUPERB_DATA"])}
    assert found["SUPERB_DATA"] == Needed("SUPERB_DATA", str(tmp_path / "data"), None)
    assert found["corpus of ks"].path.startswith(str(tmp_path / "data" / "speech_commands"))
    assert found["--student mine"].size == 5
    size = found["configuration of ks"].size
    assert size and size > 100
    with pytest.raises(UserError, match="SUPERB_DATA .*nowhere: found nothing that can be read"):
        needed(suite, str(tmp_path / "nowhere"))


def test_neither_torch_nor_s3prl_is_imported_for_a_probe(tmp_path: Path) -> None:
    source = f"""
import json, sys
from s3prl_gendistiller.superb.cluster.probe import problems, write_probe
found = problems(write_probe(__import__("pathlib").Path({str(tmp_path)!r})), "here", 0)
print(json.dumps([found, [name for name in ("torch", "s3prl", "numpy") if name in sys.modules]]))
"""
    answer = run_python("-c", source)
    assert json.loads(answer.stdout or "null") == [[], []], answer.stderr
