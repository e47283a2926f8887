"""Pronunciation lexicons: lines ``WORD PH ON EM ES``."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.files import read_text
from s3prl_gendistiller.errors import UserError


def read_lexicons(files: Iterable[str | Path]) -> dict[str, list[str]]:
    """Word -> phonemes of its first pronunciation; raises as `read_text`."""
    found: dict[str, list[str]] = {}
    for file in files:
        for line in read_text(Path(file)).splitlines():
            word, *phonemes = line.split() or [""]
            if word:
                found.setdefault(word, phonemes)
    return found


def refuse_unfit_lexicon(lexicon: Mapping[str, list[str]], known: Container[str], files: Sequence[str | Path]) -> None:
    """UserError if the lexicon of these files is empty, or a word has no phoneme or one that the vocabulary lacks."""
    where = ", ".join(map(str, files))
    if not lexicon:
        raise UserError(f"{where}: holds no word; expected lines WORD PH ON EM ES")
    for word, phonemes in lexicon.items():
        unknown = [phoneme for phoneme in phonemes if phoneme not in known]
        if not phonemes:
            raise UserError(f"{where}: the word {word} has no phoneme; expected lines WORD PH ON EM ES")
        if unknown:
            raise UserError(
                f"{where}: the word {word} has the phoneme {unknown[0]}, "
                "which is not in downstream_expert.text.vocab_file; expected ARPAbet with stress marks"
            )
