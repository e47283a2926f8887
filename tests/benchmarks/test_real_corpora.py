"""Recordings of people in the layouts of keyword spotting, identification and intents, and the reading of tables."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recordings.corpora import DIGITS, write_real
from s3prl_gendistiller.corpora.catalogue import check_corpora
from s3prl_gendistiller.corpora.speech_commands import split_of
from s3prl_gendistiller.errors import UserError
from tests.conftest import ROOT, run_python
from tests.corpora.conftest import digests, names


def write_recordings(folder: Path) -> Path:
    """A stand-in for a folder of real speech: four speakers' digits, and orders with three slots."""
    rng = np.random.default_rng(0)
    digits, orders = [], []
    for speaker in ("ann", "bob", "cleo", "dan"):
        for digit, word in enumerate(DIGITS):
            for take, split in enumerate(("train", "dev", "test")):
                digits.append((f"digits/{speaker}_{digit}_{take}.flac", speaker, word, split))
    for number, split in enumerate(("train", "train", "dev", "dev", "test", "test")):
        slots = ("latte", "small", "") if number % 2 else ("mocha", "", "dark")
        orders.append((f"orders/{number:03d}.flac", *slots, split))
    for file, *_ in (*digits, *orders):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / file, 0.1 * rng.standard_normal(3000), 16000)
    for name, columns, rows in (
        ("digits.csv", ("file", "speaker", "word", "split"), digits),
        ("orders.csv", ("file", "drink", "size", "roast", "split"), orders),
    ):
        with open(folder / name, "w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recordings(tmp_path_factory.mktemp("recordings"))


def test_readme_says_which_folder_holds_which_word(recordings: Path, tmp_path: Path) -> None:
    (root, test) = write_real(tmp_path, recordings, tasks=["ks"], progress=False)
    for folder in (root, test):
        readme = (folder / "README.md").read_text()
        assert "recordings of people" in readme and "| yes | zero |" in readme and "| go | nine |" in readme
    assert len(names(root / "yes")) == 12
    assert len(names(test / "yes")) == 4


def test_splits_of_the_table_are_those_of_s3prls_hash(recordings: Path, tmp_path: Path) -> None:
    root, _ = write_real(tmp_path, recordings, tasks=["ks"], progress=False)
    for path in names(root / "off"):
        take = path.split("_")[2]
        assert split_of(path.split("_nohash_")[0]) == {"0": "train", "1": "valid", "2": "test"}[take]


def test_recordings_are_copied_unaltered_and_left_alone(recordings: Path, tmp_path: Path) -> None:
    before = digests(recordings)
    write_real(tmp_path, recordings, progress=False)
    copied, _ = soundfile.read(tmp_path / "VoxCeleb1/dev/wav/id10002/three/bob_3_1.wav", dtype="int16")
    original, _ = soundfile.read(recordings / "digits/bob_3_1.flac", dtype="int16")
    assert np.array_equal(copied, original)
    assert digests(recordings) == before
    assert [state.problems for state in check_corpora(tmp_path)] == [[]] * 5


def test_orders_name_the_slots_that_stand_in_for_the_columns(recordings: Path, tmp_path: Path) -> None:
    (root,) = write_real(tmp_path, recordings, tasks=["ic"], progress=False)
    rows = list(csv.DictReader((root / "data/test_data.csv").read_text().splitlines()))
    assert [(row["action"], row["object"], row["location"]) for row in rows] == [
        ("mocha", "none", "dark"),
        ("latte", "small", "none"),
    ]
    assert "| action | drink |" in (root / "README.md").read_text()


def test_the_script_finds_its_folders_from_anywhere(recordings: Path, tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "real_corpora.py"
    done = run_python(script, "--real", recordings, "--out", tmp_path / "out", "--tasks", "ic", cwd=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, [str(tmp_path / "out" / "fluent_speech_commands_dataset")])


def test_task_without_recordings_is_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--tasks: found asr, expected one of ks, sid, asv, qbe, ic"):
        write_real(tmp_path, recordings, tasks=["asr"])


def test_wrong_folders_and_tables_are_named(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--real: .*nowhere: no such folder"):
        write_real(tmp_path / "out", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"digits\.csv: no such file"):
        write_real(tmp_path / "out", tmp_path)
    (tmp_path / "digits.csv").write_text("file,speaker,word,split\nx.flac,ann,one,train\n")
    with pytest.raises(UserError, match=r"digits\.csv line 2: no such file: .*x\.flac"):
        write_real(tmp_path / "out", tmp_path, tasks=["ks"])
    (tmp_path / "digits.csv").write_text("file,speaker,split\nx.flac,ann,train\n")
    with pytest.raises(UserError, match=r"digits\.csv: no column word"):
        write_real(tmp_path / "out", tmp_path, tasks=["sid"])
    assert not (tmp_path / "out").exists()


def test_value_that_training_lacks_is_refused(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "recordings")
    table = (folder / "orders.csv").read_text().replace("orders/005.flac,latte", "orders/005.flac,tea")
    (folder / "orders.csv").write_text(table)
    with pytest.raises(UserError, match="drink 'tea' is in test but not in train"):
        write_real(tmp_path / "out", folder, tasks=["ic"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.flac,train,ann,../../one", "line 2: word is '../../one', expected letters"),
        ("a.flac,train,ann,", "line 2: word is ''"),
        (f"a.flac,train,ann,{'x' * 300}", "line 2: word is 'xxx"),
        ("a.flac,train,ann,o\x07ne", "line 2: word is"),
        ("a.flac,train, ,one", "line 2: speaker is ' '"),
        ("../a.flac,train,ann,one", "line 2: found the file name '../a.flac', expected one below"),
        ("/a.flac,train,ann,one", "line 2: found the file name '/a.flac'"),
        ("a.flac,train,ann", "line 2: found more or fewer fields"),
        ("a.flac,train,ann,one,more", "line 2: found more or fewer fields"),
        ("a.flac,train,ann,one\na.flac,dev,ann,one", "names .*a.flac more than once"),
    ],
)
def test_rows_that_lead_elsewhere_or_lack_something_are_named(line: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for place in (tmp_path, folder):
        soundfile.write(place / "a.flac", np.zeros(800), 16000)
    (folder / "digits.csv").write_text(f"\ufefffile,split,speaker,word\n{line}\n")
    with pytest.raises(UserError, match=said):
        write_real(tmp_path / "out", folder, tasks=["sid"], progress=False)
    assert not (tmp_path / "out").exists()


def test_equal_names_in_two_folders_stay_apart_and_in_their_splits(tmp_path: Path) -> None:
    folder, rows = tmp_path / "in", ["file,split,speaker,word"]
    for split, loudness in (("train", 0.1), ("dev", 0.2), ("test", 0.3)):
        for stem in ("A", "b_nohash_7", "odd name"):
            path = folder / split / f"{stem.upper() if split == 'dev' and stem == 'A' else stem}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(800, loudness), 16000)
            rows.append(f"{path.relative_to(folder)},{split},ann,one")
    (folder / "digits.csv").write_text("\n".join(rows))
    speech, _, voices = write_real(tmp_path / "out", folder, tasks=["ks", "sid"], progress=False)
    for name in names(speech / "no"):
        loudness = soundfile.read(speech / "no" / name)[0][0]
        assert split_of(re.sub("_nohash_.*", "", name)) == {1: "train", 2: "valid", 3: "test"}[round(loudness * 10)]
    lines = [line.split() for line in (voices / "veri_test_class.txt").read_text().splitlines()]
    assert len(names(speech / "no")) == len({name for _, name in lines}) == 9
    for purpose, name in lines:
        assert round(soundfile.read(voices / "dev/wav" / name)[0][0] * 10) == int(purpose)


def test_checksums_that_name_files_elsewhere_delete_none(recordings: Path, tmp_path: Path) -> None:
    (root,) = write_real(tmp_path / "out", recordings, tasks=["ic"], progress=False)
    (tmp_path / "mine.txt").write_text("mine")
    with (root / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  ../../mine.txt\n")
    with pytest.raises(UserError, match=r"SHA256SUMS: found the file name '\.\./\.\./mine\.txt'"):
        write_real(tmp_path / "out", recordings, tasks=["ic"], progress=False)
    assert (tmp_path / "mine.txt").read_text() == "mine"
