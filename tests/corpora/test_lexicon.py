"""The lexicon: CMUdict's names, all words of the grammar, pronunciations as they are spoken."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.lexicon import PHONES, lexicon_text, phones_text, pronunciations
from s3prl_gendistiller.corpora.sentences import PLAIN, RICH, sentences, words

ROOT = Path(__file__).resolve().parents[2]


def test_known_words_have_their_known_pronunciations() -> None:
    expected = {
        "A": "AH0",
        "BASKET": "B AE1 S K IH0 T",
        "CHURCH": "CH ER1 CH",
        "CURIOUS": "K Y UH1 R IY0 AH0 S",
        "FEARED": "F IH1 R D",
        "FIRE": "F AY1 ER0",
        "GARDEN": "G AA1 R D AH0 N",
        "KING'S": "K IH1 NG Z",
        "THE": "DH AH0",
        "TREASURE": "T R EH1 ZH ER0",
        "YESTERDAY": "Y EH1 S T ER0 D EY2",
    }
    assert pronunciations(Espeak(), expected) == expected


@pytest.mark.parametrize("vocabulary", [PLAIN, RICH], ids=["plain", "rich"])
def test_every_sentence_can_be_looked_up(vocabulary: object) -> None:
    listed = pronunciations(Espeak(), words(vocabulary))  # type: ignore[arg-type]
    said = {word for text in islice(sentences(5, vocabulary), 3000) for word in text.split()}  # type: ignore[arg-type]
    assert said <= set(listed)
    assert {phone for phones in listed.values() for phone in phones.split()} <= set(PHONES)


def test_rich_vocabulary_has_every_sound_of_english() -> None:
    listed = " ".join(pronunciations(Espeak(), words(RICH)).values()).split()
    assert {phone.rstrip("012") for phone in listed} == {phone.rstrip("012") for phone in PHONES} - {"SIL", "SPN"}


def test_phone_list_is_superbs() -> None:
    assert phones_text() == (ROOT / "downstream_runs/ctc/phoneme.txt").read_text()


def test_file_has_a_word_and_its_phones_a_line() -> None:
    assert lexicon_text(Espeak(), ["two", "Six"]) == "SIX\tS IH1 K S\nTWO\tT UW1\n"


def test_unknown_phoneme_is_named() -> None:
    class Strange(Espeak):
        def phonemes(self, words: object, language: str = "en-us") -> list[list[str]]:
            return [["k", "'q9"]]

    with pytest.raises(ValueError, match='WORD: espeak-ng uses the phoneme "\'q9"'):
        pronunciations(Strange(), ["word"])
