from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.recordings import find_recordings


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(*places: Path) -> list[str]:
    return [recording.name for recording in find_recordings(places)]


def test_a_folder_gives_its_structure(tmp_path: Path) -> None:
    touch(tmp_path / "a/b/c.v1.wav", tmp_path / "a/d.FLAC", tmp_path / "a/notes.txt", tmp_path / "a/.hidden.wav")
    assert names(tmp_path / "a") == ["d", "b/c.v1"]
    touch(tmp_path / "e.mp3")
    assert names(tmp_path / "a", tmp_path / "e.mp3") == ["a/d", "a/b/c.v1", "e"]


def test_a_list_gives_paths_from_its_own_folder(tmp_path: Path) -> None:
    touch(tmp_path / "lists/x/a.wav", tmp_path / "other/b.wav")
    listed = tmp_path / "lists/all.txt"
    listed.write_text(f"x/a.wav\n\n{tmp_path}/other/b.wav\n../other/b.wav\n{tmp_path}/lists/x/a.wav\nmissing.ogg\n")
    found = find_recordings([listed])
    assert [each.name for each in found] == ["x/a", "b", "missing"]  # a missing file is a fault of its own, later
    assert found[0].path == tmp_path / "lists/x/a.wav" and found[1].path.resolve() == tmp_path / "other/b.wav"


def test_two_recordings_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "a.flac", tmp_path / "b.wav")
    with pytest.raises(UserError, match=r"a\.flac and .*a\.wav: found the name a for the features of both"):
        find_recordings([tmp_path])
    assert names(tmp_path / "b.wav", tmp_path / "b.wav") == ["b"]


def test_places_without_audio_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "texts/a.txt")
    (tmp_path / "list.txt").write_text("a.wav\nb.txt\n")
    (tmp_path / "empty.txt").write_text("\n")
    for place, message in {
        "texts": "no audio files in it; expected .wav, .flac, .ogg, .mp3, .opus at any depth; found 1 .txt",
        "no.wav": "no such file; expected audio",
        "nothing": "no such file",
        "list.txt": "found the line 'b.txt'",
        "empty.txt": "found no line in it",
    }.items():
        with pytest.raises(UserError, match=message):
            find_recordings([tmp_path / place])
