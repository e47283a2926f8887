from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile

from s3prl_gendistiller.distill.manifest import read_manifest, write_manifest
from s3prl_gendistiller.errors import UserError


def write_audio(path: Path, samples: int, rate_hz: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, 0.1, np.float32), rate_hz)


def write_rows(path: Path, *rows: str, header: str = ",file_path,length,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    write_audio(root / "b" / "short.wav", 1000)
    write_audio(root / "a, with comma" / "long.FLAC", 9000)
    write_audio(root / "middle.ogg", 10000, 44100)
    write_audio(root / "same.mp3", 1000)
    write_audio(root / ".hidden" / "x.wav", 5000)
    write_audio(root / "._resource.wav", 5000)
    (root / "notes.txt").write_text("not audio")
    return root


def test_any_folder_becomes_one_manifest_longest_first(recordings: Path, tmp_path: Path) -> None:
    (written,) = write_manifest(recordings, tmp_path / "out", progress=False)
    assert written.path == tmp_path / "out" / "recordings.csv"
    assert written.path.read_text() == (
        ",file_path,length,label\n"
        '0,"a, with comma/long.FLAC",9000,\n'
        "1,middle.ogg,3628,\n"
        "2,b/short.wav,1000,\n"
        "3,same.mp3,1000,\n"
    )
    assert written.utterances == 4
    assert written.seconds == pytest.approx(14628 / 16000)


def test_name_is_the_name_of_the_manifest(recordings: Path) -> None:
    (written,) = write_manifest(recordings, None, name="speech", progress=False)
    assert written.path == recordings / "len_for_bucket" / "speech.csv"


def test_librispeech_becomes_one_manifest_a_split(tmp_path: Path) -> None:
    for split in ("train-clean-100", "dev-clean"):
        write_audio(tmp_path / split / "1" / "2" / "1-2-0000.flac", 4000)
    write_audio(tmp_path / "elsewhere" / "x.wav", 4000)
    written = write_manifest(tmp_path, tmp_path / "out", progress=False)
    assert [manifest.path.name for manifest in written] == ["dev-clean.csv", "train-clean-100.csv"]
    assert [manifest.utterances for manifest in written] == [1, 1]
    table = pandas.read_csv(written[1].path)
    assert table["file_path"].tolist() == ["train-clean-100/1/2/1-2-0000.flac"]


def test_chosen_splits_only(tmp_path: Path) -> None:
    for split in ("train-clean-100", "dev-clean", "mine"):
        write_audio(tmp_path / split / "x.flac", 4000)
    written = write_manifest(tmp_path, tmp_path / "out", splits=["mine"], progress=False)
    assert [manifest.path.name for manifest in written] == ["mine.csv"]
    with pytest.raises(UserError, match="no folder yours in it"):
        write_manifest(tmp_path, tmp_path / "out", splits=["yours"], progress=False)


def test_same_bytes_whatever_the_number_of_workers(recordings: Path, tmp_path: Path) -> None:
    for i in range(150):
        write_audio(recordings / "many" / f"{i}.wav", 1000 + i % 7)
    (one,) = write_manifest(recordings, tmp_path / "1", workers=1, progress=False)
    (many,) = write_manifest(recordings, tmp_path / "8", workers=8, progress=False)
    assert one.path.read_bytes() == many.path.read_bytes()


def test_link_in_a_circle_ends(recordings: Path, tmp_path: Path) -> None:
    (recordings / "b" / "up").symlink_to(recordings, target_is_directory=True)
    (written,) = write_manifest(recordings, tmp_path / "out", progress=False)
    assert written.utterances == 4


def test_bad_files_are_all_named_and_nothing_is_written(recordings: Path, tmp_path: Path) -> None:
    (recordings / "empty.wav").touch()
    write_audio(recordings / "blip.wav", 100)
    with pytest.raises(UserError, match=r"^2 of 6 audio files cannot be used; .* --skip-bad") as caught:
        write_manifest(recordings, tmp_path / "out", progress=False)
    assert "blip.wav: 100 samples at 16 kHz; expected at least 400" in str(caught.value)
    assert "empty.wav: file is empty" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_only_ten_bad_files_are_listed(tmp_path: Path) -> None:
    write_audio(tmp_path / "good.wav", 1000)
    for i in range(25):
        (tmp_path / f"{i:02d}.wav").touch()
    with pytest.raises(UserError, match=r"^25 of 26 audio files") as caught:
        write_manifest(tmp_path, tmp_path / "out", progress=False)
    assert str(caught.value).count("is empty") == 10
    assert str(caught.value).endswith("and 15 more")


def test_skip_bad_leaves_bad_files_out_with_a_warning(
    recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (recordings / "empty.wav").touch()
    (written,) = write_manifest(recordings, tmp_path / "out", progress=False, skip_bad=True)
    assert written.utterances == 4
    assert "1 of 5 audio files skipped" in caplog.text
    assert "empty.wav" in caplog.text


def test_folder_of_bad_files_only_is_refused_even_with_skip_bad(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(UserError, match=r"^1 of 1 audio files cannot be used; repair them:"):
        write_manifest(tmp_path, tmp_path / "out", progress=False, skip_bad=True)


def test_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no audio files found; expected \.wav, \.flac, .*; found no file at all"):
        write_manifest(tmp_path, tmp_path / "out", progress=False)
    (tmp_path / "a.M4A").touch()
    with pytest.raises(UserError, match=r"no audio files found; .*; found 1 \.m4a; convert these, for example"):
        write_manifest(tmp_path, tmp_path / "out", progress=False)
    with pytest.raises(UserError, match="gone: no such folder"):
        write_manifest(tmp_path / "gone", None, progress=False)


def test_place_that_cannot_be_written_is_named(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match=r"recordings\.csv: cannot be written .* choose another output"):
        write_manifest(recordings, tmp_path / "taken", progress=False)


def test_manifest_is_read_as_it_was_written(recordings: Path) -> None:
    (written,) = write_manifest(recordings, None, progress=False)
    utterances = read_manifest([written.path], recordings)
    assert [utterance.num_samples for utterance in utterances] == [9000, 3628, 1000, 1000]
    assert all(utterance.path.is_file() for utterance in utterances)
    assert utterances[1].origin == "recordings.csv line 3"


def test_manifests_are_read_one_after_another(recordings: Path, tmp_path: Path) -> None:
    first = write_rows(tmp_path / "1.csv", "0,same.mp3,1000,")
    second = write_rows(tmp_path / "2.csv", "9000,x,middle.ogg", header="length,extra,file_path")
    utterances = read_manifest([first, second], recordings)
    assert [utterance.path.name for utterance in utterances] == ["same.mp3", "middle.ogg"]


def test_rows_that_point_nowhere_are_named_and_counted(
    recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ("0,gone/a.wav,1000,", "1,same.mp3,1000,", "2,b/gone.wav,1000,")
    path = write_rows(tmp_path / "m.csv", *rows)
    with pytest.raises(UserError, match=r"^2 of 3 manifest rows cannot be used; .*--skip-bad") as caught:
        read_manifest([path], recordings)
    assert f"m.csv line 2: no such file: {recordings / 'gone' / 'a.wav'}" in str(caught.value)
    assert "m.csv line 4: no such file:" in str(caught.value)
    (utterance,) = read_manifest([path], recordings, skip_bad=True)
    assert utterance.path == recordings / "same.mp3"
    assert "2 of 3 manifest rows skipped" in caplog.text


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e4", "399", "nan", "12.5", "9" * 16, "٤٠٠٠"])
def test_row_without_a_valid_length_is_named(recordings: Path, tmp_path: Path, length: str) -> None:
    path = write_rows(tmp_path / "m.csv", "0,same.mp3,1000,", f"1,b/short.wav,{length},")
    found = rf"m\.csv line 3: file_path 'b/short\.wav', length '{length}'; expected"
    with pytest.raises(UserError, match=found):
        read_manifest([path], recordings)


def test_a_length_of_thousands_of_digits_is_named_in_short(recordings: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.csv", "0,same.mp3,1000,", f"1,b/short.wav,{'9' * 5000},")
    with pytest.raises(UserError, match=r"m\.csv line 3: file_path 'b/short\.wav', length '9+\.\.\.9+'; expected"):
        read_manifest([path], recordings)


def test_a_column_that_stands_twice_is_named(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",file_path,length,length\n0,same.mp3,1000,2000\n")
    with pytest.raises(UserError, match=r"m\.csv: has the column length more than once"):
        read_manifest([path], recordings)


def test_row_cut_short_is_named(recordings: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.csv", "0,same.mp3,1000,", "1,b/sh")
    with pytest.raises(UserError, match=r"1 of 2 manifest rows .*\n  m\.csv line 3"):
        read_manifest([path], recordings)


def test_manifest_of_bad_rows_only_is_refused_even_with_skip_bad(recordings: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.csv", "0,gone.wav,1000,")
    with pytest.raises(UserError, match=r"^1 of 1 manifest rows cannot be used; repair them:"):
        read_manifest([path], recordings, skip_bad=True)


@pytest.mark.parametrize("text", ["", "\n", ",name,samples\n0,same.mp3,1000\n"])
def test_manifest_without_the_columns_is_named(recordings: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"m\.csv: no column file_path and no column length, found"):
        read_manifest([path], recordings)


def test_empty_missing_and_foreign_manifests_are_named(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.csv: no rows; expected one per audio file"):
        read_manifest([write_rows(tmp_path / "m.csv")], recordings)
    with pytest.raises(UserError, match=r"gone\.csv: no such file; expected a manifest"):
        read_manifest([tmp_path / "gone.csv"], recordings)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"binary\.csv: cannot be read"):
        read_manifest([tmp_path / "binary.csv"], recordings)
    with pytest.raises(UserError, match="nowhere: no such folder; expected the folder that file_path"):
        read_manifest([write_rows(tmp_path / "m.csv", "0,a.wav,1000,")], tmp_path / "nowhere")


def test_names_that_are_no_utf_8_are_bad_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in (b"caf\xe9.wav", b"good.wav"):
        soundfile.write(tmp_path / "a.wav", np.zeros(800), 16000)
        os.rename(tmp_path / "a.wav", os.path.join(os.fsencode(folder), name))
    with pytest.raises(UserError, match=r"caf\\xe9\.wav: the name is not UTF-8.* rename the file"):
        write_manifest(folder, tmp_path, progress=False)
    assert not list(tmp_path.glob("*.csv"))
    (written,) = write_manifest(folder, tmp_path, progress=False, skip_bad=True)
    assert (written.utterances, "good.wav" in written.path.read_text()) == (1, True)


def test_a_manifest_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.csv")
    with pytest.raises(UserError, match=r"train\.csv: is a named pipe; expected a text file"):
        read_manifest([tmp_path / "train.csv"], tmp_path)
