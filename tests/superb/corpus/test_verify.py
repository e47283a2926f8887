"""Archives are compared with published sizes and checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.corpus.source import Archive, Source
from s3prl_gendistiller.superb.corpus.verify import OTHER, SAME, UNKNOWN, missing, verify

CONTENT = b"speech" * 1000


def source(**changes: object) -> Source:
    archive = Archive("a.tar", size=len(CONTENT), checksum=hashlib.md5(CONTENT).hexdigest())
    return Source("nowhere", archives=(archive, Archive("b.tar")), **changes)


def states(folder: Path, given: Source) -> dict[str, str]:
    return {one.archive.name: one.state for one in verify(folder, [given], progress=False)}


def test_the_published_file_is_as_published_and_one_without_a_checksum_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(CONTENT)
    (tmp_path / "b.tar").write_bytes(b"anything")
    assert states(tmp_path, source()) == {"a.tar": SAME, "b.tar": UNKNOWN}
    long = Archive("a.tar", checksum=hashlib.sha256(CONTENT).hexdigest())
    assert states(tmp_path, Source("nowhere", archives=(long,))) == {"a.tar": SAME}


@pytest.mark.parametrize(
    ("content", "said"), [(CONTENT[:-1], "5,999 bytes, expected 6,000"), (CONTENT[:-1] + b"X", "found MD5 ")]
)
def test_a_cut_and_a_changed_file_are_not_as_published(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    (verdict,) = verify(tmp_path, [source()], progress=False)
    assert verdict.state == OTHER and said in verdict.found and verdict.found.endswith("again")


def test_another_form_of_a_corpus_takes_the_place_of_its_archives(tmp_path: Path) -> None:
    given = source(others=(Archive("whole.tar"),))
    assert missing(tmp_path, given) == ["a.tar", "b.tar"]
    (tmp_path / "whole.tar").write_bytes(b"")
    assert missing(tmp_path, given) == [] and states(tmp_path, given) == {"whole.tar": UNKNOWN}


def test_a_folder_without_archives_is_refused(tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path, "expected some of a.tar, b.tar")):
        with pytest.raises(UserError, match=said):
            list(verify(folder, [source()]))


def test_the_command_lists_what_is_there_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "verify", str(tmp_path), "--tasks", "pr", "ic", "--no-progress"]
    (tmp_path / "fluent.tar.gz").write_bytes(b"x")
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "fluent.tar.gz: cannot be compared: 1 bytes; no checksum is known",
        "LibriSpeech: not there: train-clean-100.tar.gz, dev-clean.tar.gz, test-clean.tar.gz",
    ]
    (tmp_path / "dev-clean.tar.gz").write_bytes(b"x")
    assert main(command) == 2
    assert "dev-clean.tar.gz: not as published: found 1 bytes, expected 337,926,286" in capsys.readouterr().out
    assert main(["data", "verify", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
