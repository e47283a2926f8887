"""A pronunciation lexicon in ARPAbet with stress, made from espeak-ng's phonemes of American English.

s3prl's phone recognition reads lines of the form `WORD P1 P2 ...` and a list of all phones. The names are CMUdict's.
The pronunciations are those of the recordings: a flapped T is T, and "the" is DH AH0.
"""

from __future__ import annotations

from collections.abc import Iterable

from s3prl_gendistiller.corpora.espeak import Espeak

_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
PHONES = ("SIL", "SPN", *sorted([*_CONSONANTS, *(f"{vowel}{stress}" for vowel in _VOWELS for stress in (0, 1, 2))]))
"""All phones of a lexicon, in the order of SUPERB's phone list."""

# espeak-ng's names for American English -> ARPAbet.
_ARPABET = {
    **{"a": "AE", "aa": "AE", "a#": "AH", "A:": "AA", "A@": "AA R", "0": "AA", "O2": "AO", "O": "AO", "O:": "AO"},
    **{"O@": "AO R", "o@": "AO R", "E": "EH", "e@": "EH R", "I": "IH", "I#": "IH", "I2": "IH", "i": "IY", "i:": "IY"},
    **{"i@": "IY AH", "i@3": "IH R", "U": "UH", "U@": "UH R", "u": "UW", "u:": "UW", "V": "AH", "@": "AH"},
    **{"@2": "AH", "@-": "AH", "@L": "AH L", "n-": "AH N", "r-": "R", "3": "ER", "3:": "ER", "eI": "EY"},
    **{"aI": "AY", "aI@": "AY AH", "aI3": "AY ER", "OI": "OY", "oU": "OW", "aU": "AW"},
    **{name: name.upper() for name in "pbtdkgfvszlrwmn"},
    **{"t#": "T", "t2": "T", "?": "T", "tS": "CH", "dZ": "JH", "T": "TH", "D": "DH", "S": "SH", "Z": "ZH", "N": "NG"},
    **{"h": "HH", "j": "Y"},
}
_MARKS = ("", ";", "_:")
_STRESSES = {"'": 1, ",": 2}
# espeak-ng stresses these words when they stand alone.
_WEAK = {"A": "AH0", "TO": "T AH0"}


def pronunciations(engine: Espeak, words: Iterable[str]) -> dict[str, str]:
    """Each word in capitals -> its phones, by alphabet; a ValueError for a phoneme without an ARPAbet name."""
    listed = sorted({word.upper() for word in words})
    spoken = engine.phonemes([word.lower() for word in listed])
    return {word: _WEAK.get(word) or _arpabet(word, names) for word, names in zip(listed, spoken, strict=True)}


def lexicon_text(engine: Espeak, words: Iterable[str]) -> str:
    """Content of the lexicon file."""
    return "".join(f"{word}\t{phones}\n" for word, phones in pronunciations(engine, words).items())


def phones_text() -> str:
    """Content of the phone list, one phone in each line."""
    return "".join(f"{phone}\n" for phone in PHONES)


def _arpabet(word: str, names: list[str]) -> str:
    phones: list[str] = []
    for marked in names:
        name = marked.lstrip("',=%")
        if name in _MARKS:
            continue
        if name not in _ARPABET:
            raise ValueError(f"{word}: espeak-ng uses the phoneme {marked!r}, which has no ARPAbet name in this table")
        stress = _STRESSES.get(marked[0], 0)
        for phone in _ARPABET[name].split():
            if phone == "R" and phones[-1:] == ["R"]:  # a linking r after a vowel that ends in one
                continue
            phones.append(f"{phone}{stress}" if phone in _VOWELS else phone)
            stress = 0 if phone in _VOWELS else stress
    return " ".join(phones)
