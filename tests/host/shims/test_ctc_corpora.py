"""The datasets of the ctc task, as s3prl's loader makes and reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.shims.ctc_corpora import LibriPhoneDataset, SnipsDataset


class Phones:
    token_type = "word"
    _vocab2idx = {"AA1": 3, "B": 4, "K": 5}

    def encode(self, text: str) -> list[int]:
        return [self._vocab2idx[sound] for sound in text.split()] + [1]


class Slots:
    token_type = "character-slot"

    def encode(self, text: str) -> list[int]:
        return list(range(len(text)))


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    folder = tmp_path / "train" / "1" / "2"
    folder.mkdir(parents=True)
    for index in range(3):
        (folder / f"1-2-{index}.flac").touch()
    (folder / "1-2.trans.txt").write_text("1-2-0 BACK\n1-2-1 BACK BACK BACK\n1-2-2 BACK A\n")
    (tmp_path / "lexicon.txt").write_text("BACK\tB AA1 K\nBACK\tK\nA\tAA1\n")
    return tmp_path


def dataset(libri: Path, bucket_size: int = 1, split: str = "train", **changes: object) -> LibriPhoneDataset:
    options = {"path": str(libri), "lexicon": [str(libri / "lexicon.txt")], "num_workers": 3, **changes}
    return LibriPhoneDataset([split], Phones(), bucket_size, **options)


def test_words_become_the_phonemes_of_their_first_pronunciation_longest_first(libri: Path) -> None:
    items = [(path.stem, tokens) for path, tokens in map(dataset(libri).__getitem__, range(3))]
    back = [4, 3, 5]
    assert items == [("1-2-1", [*back * 3, 1]), ("1-2-2", [*back, 3, 1]), ("1-2-0", [*back, 1])]


def test_a_bucket_holds_neighbours_and_is_full_at_the_end(libri: Path) -> None:
    buckets = dataset(libri, bucket_size=2)
    assert len(buckets) == 3
    assert [[path.stem for path, _ in buckets[index]] for index in range(3)] == [
        ["1-2-1", "1-2-2"],
        ["1-2-2", "1-2-0"],
        ["1-2-2", "1-2-0"],
    ]
    assert len(dataset(libri, bucket_size=9)[0]) == 3


def test_what_does_not_fit_is_named(libri: Path) -> None:
    with pytest.raises(UserError, match=r"found no \.flac, expected a split of LibriSpeech"):
        dataset(libri, split="dev")
    (libri / "lexicon.txt").write_text("BACK B AA1 K\n")
    with pytest.raises(UserError, match=r"1-2-2\.flac: the word A is in none of .*lexicon\.txt"):
        dataset(libri)
    (libri / "lexicon.txt").write_text("BACK B QQ K\n")
    with pytest.raises(UserError, match="the word BACK has the phoneme QQ"):
        dataset(libri)


def test_snips_takes_the_files_of_the_splits_speakers(tmp_path: Path) -> None:
    for name in ("Ivy-1", "Amy-1", "Ivy-untold"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / f"{name}.wav").touch()
    (tmp_path / "all.iob.snips.txt").write_text("Ivy-1 BOS PLAY EOS\tO O Play\nAmy-1 BOS PLAY EOS\tO O Play\n")
    found = SnipsDataset(["train"], Slots(), 1, str(tmp_path), train_speakers=["Ivy"], valid_speakers=["Amy"])
    assert len(found) == 1 and found[0][0].stem == "Ivy-1"
    assert len(found[0][1]) == len("BOS PLAY EOS\tO O Play")
    with pytest.raises(UserError, match=r"found no \.wav that has a transcript and a speaker of Joey"):
        SnipsDataset(["train"], Slots(), 1, str(tmp_path), train_speakers=["Joey"])
