"""Spoken digits in QUESST 2014's layout, for query by example (QbE).

A query is `_ASKED` different digits in a row by one speaker, a document `_SAID`. A query matches the documents that
hold its digits one after the other. The speakers of documents, the first half in the order of their names, say no
query. Queries of the dev and eval sets are recordings of the splits dev and test. Nothing is trained, and no recording
of the split train is used.

A query of one digit would match a third of the documents. Its scores, which s3prl normalises for each query, then say
little across queries: MTWV was below 0.5 for FBANK and for the embedded teacher, though the teacher ranked true
documents far better.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from recordings.clips import Joined, series
from recordings.tables import summary
from s3prl_gendistiller.corpora import quesst
from s3prl_gendistiller.corpora.clips import Clip
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.errors import UserError

_SAID, _ASKED = 4, 2
_ROUNDS = 2
"""Documents in which a recording may be."""
_SETS = {"dev": ("dev", 10), "eval": ("test", 25)}
"""Set of queries -> split of the recordings, and queries of each speaker at most."""


def queries(digits: Sequence[Mapping[str, str]]) -> CorpusPlan:
    """
    Raises:
        UserError: fewer than two speakers, or too few recordings for queries that occur in a document.
    """
    names = sorted({row["speaker"] for row in digits})
    searched, asking = names[: len(names) // 2], names[len(names) // 2 :]
    clips: list[Clip] = []
    said: dict[str, str] = {}
    for speaker, turn in itertools.product(searched, range(_ROUNDS)):
        own = [row for row in digits if row["speaker"] == speaker and row["split"] != "train"]
        for group in series(own, _SAID, f"{quesst.FOLDER}/{speaker}/{turn}"):
            name = f"quesst14_{len(said) + 1:05d}"
            said[name] = _text(group)
            clips.append(Joined(f"Audio/{name}.wav", _files(group)))
    asked: dict[str, dict[str, str]] = {}
    for part, (split, most) in _SETS.items():
        asked[part] = {}
        for speaker in asking:
            own = [row for row in digits if row["speaker"] == speaker and row["split"] == split]
            groups = series(own, _ASKED, f"{quesst.FOLDER}/{speaker}/{part}")
            occurring = (g for g in groups if any(quesst.matches(_text(g), text) for text in said.values()))
            for group in itertools.islice(occurring, most):
                name = f"quesst14_{part}_{len(asked[part]) + 1:03d}"
                asked[part][name] = _text(group)
                clips.append(Joined(f"{part}_queries/{name}.wav", _files(group), ends=False))
    if not all(asked.values()):
        raise UserError(
            f"--real: digits.csv: found {len(names)} speakers, {len(said)} documents of {_SAID} words and "
            f"{' and '.join(f'{len(words)} queries of {part}' for part, words in asked.items())} that occur; expected "
            "two speakers or more with recordings in dev and test; add recordings or leave out qbe"
        )
    about = (
        "Spoken digits (recordings of people) in the layout of QUESST 2014.\n\n"
        f"A query is {_ASKED} different digits by one speaker, a document is {_SAID}: recordings in a row, joined by "
        "this package with pauses of faint noise, so nobody said a query or a document as a whole. "
        f"{len(searched)} speakers say the documents and {len(asking)} others the queries. A query matches the "
        "documents that hold its digits one after the other. All of it is `nnenglish`, which is what s3prl reads. Dev "
        "and eval queries are different takes of the same speakers. A recording is in one query, or in at most "
        f"{_ROUNDS} documents. `query_words.txt` and `document_words.txt` say the words; the Java scorer of the real "
        "corpus is not included."
    )
    recipe = {"corpus": quesst.FOLDER, "real": summary(digits), "words": {"query": _ASKED, "document": _SAID}}
    return CorpusPlan(quesst.FOLDER, recipe, clips, lambda root: quesst.listings(root, said, asked), about)


def _text(group: Sequence[Mapping[str, str]]) -> str:
    return " ".join(row["word"] for row in group)


def _files(group: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(row["file"] for row in group)
