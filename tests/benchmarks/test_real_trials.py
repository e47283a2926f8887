"""Recordings of people in the layouts of verification and of query by example: who says what in which folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recordings.clips import PAUSE_S, Joined, series
from recordings.corpora import write_real
from s3prl_gendistiller.corpora.catalogue import check_corpora
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import read_occurrences
from tests.benchmarks.test_real_corpora import write_recordings
from tests.corpora.conftest import digests


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def written(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write_real(out, recordings, tasks=["asv", "qbe"], progress=False)
    return out


def sources(recordings: Path, file: Path) -> list[str]:
    """Stems of the digits that occur in a file, in their order, by comparison of the samples."""
    wav = soundfile.read(file, dtype="int16")[0]
    found = {}
    for path in (recordings / "digits").iterdir():
        digit = soundfile.read(path, dtype="int16")[0]
        for start in np.flatnonzero(wav[: len(wav) - len(digit) + 1] == digit[0]):
            if np.array_equal(wav[start : start + len(digit)], digit):
                found[int(start)] = path.stem
    return [found[start] for start in sorted(found)]


def test_no_speaker_of_a_trial_is_in_the_training_of_the_head(written: Path) -> None:
    root = written / "VoxCeleb1"
    training = {path.name for path in (root / "dev/wav").iterdir()}
    assert (root / "dev_meta_data/dev_speaker_ids.txt").read_text().split() == sorted(training)
    tested = [line.split() for line in (root / "voxceleb1_test_v2.txt").read_text().splitlines()]
    speakers = {path.split("/")[0] for _, *paths in tested for path in paths}
    assert len(speakers) == 2 and not speakers & training
    for same, first, second in tested:
        assert (same == "1") == (first.split("/")[0] == second.split("/")[0])
        assert all((root / "test/wav" / path).is_file() for path in (first, second))


def test_the_two_sides_of_a_trial_have_no_word_and_no_recording_in_common(recordings: Path, written: Path) -> None:
    root = written / "VoxCeleb1"
    said = {"words_a": set("84591"), "words_b": set("76320")}
    files = sorted((root / "test/wav").glob("*/words_*/*.wav"))
    parts = {file: sources(recordings, file) for file in files}
    assert len(files) == 2 * 2 * 3
    for file, stems in parts.items():
        assert len(stems) == 3 and len({stem.split("_")[1] for stem in stems}) == 3
        assert {stem.split("_")[1] for stem in stems} <= said[file.parent.name]
        assert len({stem.split("_")[0] for stem in stems}) == 1 and not any(stem.endswith("_0") for stem in stems)
    used = [stem for stems in parts.values() for stem in stems]
    assert len(used) == len(set(used))
    for _, first, second in map(str.split, (root / "voxceleb1_test_v2.txt").read_text().splitlines()):
        assert (first.split("/")[1], second.split("/")[1]) == ("words_a", "words_b")


def test_identification_and_verification_share_a_folder(recordings: Path, tmp_path: Path) -> None:
    write_real(tmp_path, recordings, tasks=["sid"], progress=False)
    before = digests(tmp_path)
    write_real(tmp_path, recordings, tasks=["asv"], progress=False)
    assert digests(tmp_path) == before
    listed = [line.split()[1] for line in (tmp_path / "VoxCeleb1/veri_test_class.txt").read_text().splitlines()]
    assert len(listed) == 120
    assert all(len([*(tmp_path / "VoxCeleb1").glob(f"*/wav/{name}")]) == 1 for name in listed)


def test_queries_are_said_by_others_than_the_documents(recordings: Path, written: Path) -> None:
    root = written / "quesst14Database"
    speakers: dict[str, set[str]] = {}
    splits: dict[str, set[str]] = {}
    for folder, most in (("Audio", 2), ("dev_queries", 1), ("eval_queries", 1)):
        stems = [stem for file in (root / folder).iterdir() for stem in sources(recordings, file)]
        assert max(Counter(stems).values()) == most
        speakers[folder], splits[folder] = ({stem.split("_")[place] for stem in stems} for place in (0, 2))
    assert speakers["Audio"] == {"ann", "bob"}
    assert speakers["dev_queries"] | speakers["eval_queries"] == {"cleo", "dan"}
    assert splits == {"Audio": {"1", "2"}, "dev_queries": {"1"}, "eval_queries": {"2"}}
    assert "nobody said a query or a document as a whole" in (root / "README.md").read_text()


def test_answers_are_the_documents_that_hold_the_digits_in_their_order(recordings: Path, written: Path) -> None:
    root = written / "quesst14Database"
    held = {f.stem: [s.split("_")[1] for s in sources(recordings, f)] for f in (root / "Audio").iterdir()}
    assert all(len(digits) == len(set(digits)) == 4 for digits in held.values())
    for part in ("dev", "eval"):
        answers = read_occurrences(root / f"scoring/groundtruth_quesst14_{part}/quesst14_{part}.rttm")
        for file in (root / f"{part}_queries").iterdir():
            first, second = (stem.split("_")[1] for stem in sources(recordings, file))
            expected = {
                name for name, digits in held.items() if (first, second) in zip(digits, digits[1:], strict=False)
            }
            assert answers[file.stem] == expected != set()


def test_the_same_command_writes_the_same_bytes(recordings: Path, written: Path, tmp_path: Path) -> None:
    write_real(tmp_path, recordings, tasks=["asv", "qbe"], progress=False)
    assert digests(tmp_path) == digests(written)
    assert [state.problems for state in check_corpora(tmp_path)] == [[], []]


def test_pauses_are_faint_and_never_digital_silence(recordings: Path) -> None:
    source = str(recordings / "digits/ann_0_0.flac")
    wav = (
        Joined(
            "a.wav",
            (source, source),
        )
        .record(None)
        .wav
    )
    spare = len(wav) - 2 * 3000
    assert 3 * PAUSE_S[0] * 16000 <= spare <= 3 * PAUSE_S[1] * 16000
    pause = wav[: round(PAUSE_S[0] * 16000)]
    assert 0 < np.abs(pause).max() < 0.01 and np.count_nonzero(pause) == len(pause)


def test_a_series_takes_each_recording_once_and_nearly_all() -> None:
    rows = [{"word": word, "file": f"{word}{take}"} for word in "abcde" for take in range(10)]
    groups = list(series(rows, 3, "seed"))
    files = [row["file"] for group in groups for row in group]
    assert len(groups) == 16 and len(files) == len(set(files))
    assert all(len({row["word"] for row in group}) == 3 for group in groups)
    assert [[row["file"] for row in group] for group in series(rows, 3, "seed")] == [
        [row["file"] for row in group] for group in groups
    ]


def test_few_speakers_can_be_identified_but_not_verified_or_searched(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "recordings")
    lines = (folder / "digits.csv").read_text().splitlines()
    (folder / "digits.csv").write_text("\n".join(lines[:31]))  # of ann alone
    with pytest.raises(UserError, match="found 1 speakers and 10 words, expected at least 4 speakers.*leave out asv"):
        write_real(tmp_path / "out", folder, tasks=["asv"], progress=False)
    with pytest.raises(UserError, match="found 1 speakers, 0 documents .* leave out qbe"):
        write_real(tmp_path / "out", folder, tasks=["qbe"], progress=False)
    assert not (tmp_path / "out").exists()
    (root,) = write_real(tmp_path / "out", folder, tasks=["sid"], progress=False)
    assert not (root / "voxceleb1_test_v2.txt").exists() and not (root / "test").exists()
    assert "do not suffice for verification" in (root / "README.md").read_text()
