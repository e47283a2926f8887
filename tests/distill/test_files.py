"""Files that only look like data, names that lead elsewhere, and text as editors leave it."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from s3prl_gendistiller.distill.audio import audio_frames, read_audio
from s3prl_gendistiller.distill.files import files_below, read_text, refuse_irregular, within
from s3prl_gendistiller.errors import UserError


def bind(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a named pipe; expected an audio file"),
        (bind, "is a socket; expected an audio file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device; expected an audio file"),
        (lambda path: path.symlink_to("gone.wav"), "a link to nothing; expected audio"),
        (lambda path: path.symlink_to(path.name), "cannot be read .*symbolic links"),
        (Path.mkdir, "is a folder; expected an audio file"),
    ],
)
@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_what_is_no_regular_file_is_not_opened(
    make: Callable[[Path], None], said: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "x.wav")
    with pytest.raises(UserError, match=rf"x\.wav: {said}"):
        read(tmp_path / "x.wav")


def test_a_path_that_is_no_path_is_named() -> None:
    with pytest.raises(UserError, match="cannot be read"):
        refuse_irregular("a\0.wav", "audio")


def test_folders_that_cannot_be_listed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match="cannot be listed .Permission denied."):
        list(files_below(tmp_path, ".wav"))


def test_other_suffixes_are_counted(tmp_path: Path) -> None:
    for name in ("a.wav", "b.M4A", "c.m4a", "d", "._e.wav"):
        (tmp_path / name).touch()
    left: Counter[str] = Counter()
    assert [file.name for file in files_below(tmp_path, (".wav",), left_out=left)] == ["a.wav"]
    assert left == {".m4a": 2, "no suffix": 1}


@pytest.mark.parametrize("name", ["../x.wav", "/x.wav", "a/../../x.wav", r"..\x.wav", "", "a\0.wav"])
def test_names_that_leave_their_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table.csv: found the file name .* expected one below"):
        within(tmp_path, name, "table.csv")
    assert within(tmp_path, "a/x..wav", "table.csv") == tmp_path / "a/x..wav"


def test_text_loses_its_mark_and_line_ends_and_names_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert read_text(path) == "one\ntwo\n"
    path.write_bytes(b"one\nb\xe9b\xe9\n")
    with pytest.raises(UserError, match=r"list\.txt line 2: found byte 0xe9, expected UTF-8"):
        read_text(path)
