"""The steps from archive to layout, run by bash on archives of the published inner structure."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.instructions import by_source, instructions, total_in_words
from s3prl_gendistiller.superb.corpus.source import Archive, Source
from s3prl_gendistiller.superb.tasks import TASKS, Task
from tests.superb.corpus.miniatures import write_archives

CORPORA = by_source(list(TASKS.values()))
AMOUNT = re.compile(r"[\d,]+ of [\d,]+ files in |: [\d,]+ entries, expected [\d,]+")
"""A complaint of the amount alone: the archives hold a few recordings of the published thousands."""


@pytest.fixture(scope="module")
def archives(ten: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archives(ten, tmp_path_factory.mktemp("miniatures") / "archives")


def name(case: tuple[Source, Sequence[Task]]) -> str:
    return case[1][0].name


def commands(lines: Sequence[str], heading: str) -> list[str]:
    """The commands below a heading, up to the next one."""
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"# {heading}")) + 1
    end = next((number for number in range(begin, len(lines)) if lines[number].startswith("# ")), len(lines))
    return list(lines[begin:end])


def bash(text: Sequence[str], **variables: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "\n".join(["set -eu", *text])
    environment = {"PATH": path, **{key: str(value) for key, value in variables.items()}}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CORPORA.items(), ids=name)
def test_the_steps_lead_from_archives_to_a_layout_that_lacks_only_the_amount(
    case: tuple[Source, list[Task]],
    archives: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, tasks = case
    lines = list(instructions(source, tasks))
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("SUPERB_DATA", str(data))
    if source is origins.LIBRI2MIX:  # its mixtures are made of LibriSpeech, which is laid out first
        assert bash(origins.LIBRISPEECH.steps, ARCHIVES=archives, SUPERB_DATA=data).returncode == 0
    ended = bash(commands(lines, "lay out"), ARCHIVES=archives, SUPERB_DATA=data)
    assert ended.returncode == 0, ended.stderr
    (last,) = commands(lines, "write missing lists")
    program, *arguments = shlex.split(last.replace("$ARCHIVES", str(archives)))
    assert program == "gendistiller" and main([*arguments, "--no-progress"]) == 2
    said = capsys.readouterr().out.splitlines()
    problems = [line for line in said if line.startswith(tuple(f"{task.name}: " for task in tasks))]
    assert {line.partition(":")[0] for line in problems} == {task.name for task in tasks}
    assert [line for line in problems if not AMOUNT.search(line)] == []


@pytest.mark.parametrize("case", CORPORA.items(), ids=name)
def test_every_fact_of_a_corpus_is_stated(case: tuple[Source, list[Task]]) -> None:
    source, tasks = case
    text = "\n".join(instructions(source, tasks))
    assert source.page.startswith("https://") and source.steps and source.lists and source.archives
    asked = shlex.split(source.lists)
    assert asked[1 : 1 + len(tasks)] == [task.name for task in tasks]  # behind --tasks
    for archive in (*source.archives, *source.others):
        assert archive.name in text and (not archive.url or archive.url in text)
        assert re.fullmatch(r"([0-9a-f]{32}|[0-9a-f]{64})?", archive.checksum) and archive.checksum in text
        assert archive.size_in_words in text and (archive.checksum or "checksum not known" in text)
    for task in tasks:
        assert all(f"{part.files:,} files" in text for part in task.corpus.parts.values()) and task.corpus.parts


@pytest.mark.parametrize("case", CORPORA.items(), ids=name)
def test_bash_reads_the_whole_text(case: tuple[Source, list[Task]]) -> None:
    text = "\n".join(instructions(*case))
    ended = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "checksum", ["d41d8cd98f00b204e9800998ecf8427e", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
)
def test_the_comparison_is_a_command_that_refuses_another_file(checksum: str, tmp_path: Path) -> None:
    toy = Source("nowhere", archives=(Archive("toy.tar", checksum=checksum),))
    lines = [line for line in instructions(toy, [TASKS["ks"]]) if not line.startswith("# ")]
    (tmp_path / "toy.tar").write_bytes(b"")
    ended = bash(lines, ARCHIVES=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "toy.tar: OK\n")
    (tmp_path / "toy.tar").write_bytes(b"x")
    assert bash(lines, ARCHIVES=tmp_path).returncode != 0


def test_sizes_are_in_words() -> None:
    assert total_in_words(origins.LIBRISPEECH) == "7.07 GB" and total_in_words(origins.VOXCELEB) == ""
    assert Archive("a").size_in_words == "size not known" and Archive("a", size=5_000_000).size_in_words == "5 MB"


def test_the_command_prints_each_corpus_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "sources", "--tasks", "pr", "asr", "er"]) == 0
    said = capsys.readouterr().out
    headings = re.findall(r"^# (\w+), for (.+)$", said, re.MULTILINE)
    assert headings == [("LibriSpeech", "PR, ASR"), ("IEMOCAP", "ER")]
    assert said.startswith("# ARCHIVES and SUPERB_DATA are two folders") and "by agreement" in said
    assert main(["data", "sources", "--tasks", "kss"]) == 2
    assert capsys.readouterr().out == ""
