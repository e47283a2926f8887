"""Query by example (`quesst14_dtw`) in the layout of QUESST 2014.

    OUT/quesst14Database/Audio/quesst14_<nnnnn>.wav                 documents
    OUT/quesst14Database/dev_queries/quesst14_dev_<nnn>.wav, eval_queries/quesst14_eval_<nnn>.wav
    OUT/quesst14Database/scoring/language_key_{utterances,dev,eval}.lst
    OUT/quesst14Database/scoring/groundtruth_quesst14_{dev,eval}/quesst14.ecf.xml, quesst14_<set>.{rttm,tlist.xml}

A query matches the documents whose sentence holds its words in its order (QUESST's type 1). Documents, dev queries
and eval queries have different speakers; no query is in both sets.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from s3prl_gendistiller.corpora.augment import Scene
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan, size_fields
from s3prl_gendistiller.corpora.recording import duration_s
from s3prl_gendistiller.corpora.sentences import PLAIN, sentences
from s3prl_gendistiller.corpora.voices import Studio, Style, draw_voices

FOLDER = "quesst14Database"
SETS = ("dev", "eval")
_STYLE = Style(rate_wpm=(125, 165))
_SCENE = Scene(snr_db=(12, 30), room_share=0.4, tilt_db=(-1, 1), high_hz=(5000, 8000), speed=(0.96, 1.04))
_FAR = Scene(
    snr_db=(5, 15), room_share=1.0, decay_s=(0.2, 0.6), tilt_db=(-3, 3), high_hz=(3500, 8000), speed=(0.92, 1.08)
)
_NEAR = Scene(snr_db=(10, 20), room_share=0.3, tilt_db=(-3, 3), high_hz=(3500, 8000), speed=(0.85, 1.15))
_LONGEST_SHARE = 8  # a query occurs in at most one of so many documents
_ABOUT = """\
Synthetic speech (espeak-ng) in the layout of QUESST 2014; no recording of a person.

All of it is English (`nnenglish`, which is what s3prl reads) and every match is exact; the real corpus has six
languages and inexact matches as well. Queries are one or two words of the documents' sentences, spoken alone by
others. `query_words.txt` says what they are. The Java scorer of the real corpus is not included; the ground
truth has the form that it reads.
"""
_ABOUT_APART = """
Documents and queries are recorded apart: documents far from the microphone, in rooms with long echoes and loud noise;
queries near to it, by speakers whose pitch and formants differ more. Each recording has a microphone of its own.
"""


class Size(NamedTuple):
    """Numbers of documents, of queries in each set, and of speakers of documents, dev and eval queries."""

    documents: int
    queries: int
    speakers: tuple[int, int, int]
    dev_queries: int | None = None  # None for `queries`
    apart: bool | None = None  # whether documents and queries come from different scenes, `_FAR` and `_NEAR`


SIZES = {
    "tiny": Size(documents=12, queries=3, speakers=(4, 2, 2)),
    "small": Size(documents=120, queries=24, speakers=(30, 12, 12)),
    "medium": Size(documents=400, queries=50, speakers=(40, 20, 20)),
    "bench": Size(documents=300, queries=110, speakers=(40, 12, 30), dev_queries=40, apart=True),
}


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus in one of `SIZES`."""
    shape = SIZES[size]
    rng = Studio(seed).chance(FOLDER)
    texts = list(islice(sentences(f"{FOLDER}/{seed}", PLAIN), shape.documents))
    documents = {f"quesst14_{i + 1:05d}": text for i, text in enumerate(texts)}
    queries = {
        name: {f"quesst14_{name}_{i + 1:03d}": text for i, text in enumerate(terms)}
        for name, terms in zip(SETS, _query_sets(texts, shape, rng), strict=True)
    }
    voices = iter(draw_voices(engine.variants(), f"{FOLDER}/{seed}", sum(shape.speakers)))
    folders = {"Audio": documents, **{f"{name}_queries": queries[name] for name in SETS}}
    clips = []
    scenes = (_FAR, _NEAR, _NEAR) if shape.apart else (_SCENE, _SCENE, _SCENE)
    for (folder, named), speakers, scene in zip(folders.items(), shape.speakers, scenes, strict=True):
        own, studio = list(islice(voices, speakers)), Studio(seed, scene)
        for i, (name, text) in enumerate(named.items()):
            clips.append(studio.line(f"{folder}/{name}.wav", own[i % len(own)], text, style=_STYLE))
    recipe = {"corpus": FOLDER, "seed": seed, "size": size_fields(shape)}
    about = _ABOUT + _ABOUT_APART if shape.apart else _ABOUT
    return [CorpusPlan(FOLDER, recipe, clips, lambda root: listings(root, documents, queries), about)]


def matches(query: str, text: str) -> bool:
    """Whether the words of a query follow each other in a text."""
    return f" {query} " in f" {text} "


def _query_sets(texts: Sequence[str], shape: Size, rng: random.Random) -> tuple[list[str], list[str]]:
    """The terms of the dev queries and of the eval queries."""
    if shape.dev_queries is None:
        terms = _terms(texts, 2 * shape.queries, rng)
        return terms[::2], terms[1::2]
    terms = _terms(texts, shape.dev_queries + shape.queries, rng)
    return terms[: shape.dev_queries], terms[shape.dev_queries :]


def _terms(texts: Sequence[str], wanted: int, rng: random.Random) -> list[str]:
    """Queries of one or two words, each in at most an eighth of the documents, none a part of another."""
    candidates: list[str] = []
    for text in texts:
        words = text.split()
        candidates += [word for word in words if len(word) >= 6]
        candidates += [" ".join(pair) for pair in zip(words, words[1:], strict=False) if min(map(len, pair)) >= 4]
    ordered = sorted(set(candidates))
    rng.shuffle(ordered)
    chosen: list[str] = []
    most = max(1, len(texts) // _LONGEST_SHARE)
    for term in ordered:
        apart = not any(matches(term, other) or matches(other, term) for other in chosen)
        if apart and sum(matches(term, text) for text in texts) <= most:
            chosen.append(term)
        if len(chosen) == wanted:
            return chosen
    raise ValueError(f"{wanted} queries requested, {len(chosen)} found in {len(texts)} documents")


def listings(root: Path, documents: Mapping[str, str], queries: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The text files of a corpus with its audio in `root`: path -> content.

    Args:
        documents: name of each document -> its words.
        queries: set -> name of each query -> its words.
    """
    seconds = {name: duration_s(root / "Audio" / f"{name}.wav") for name in documents}
    listed = {"scoring/language_key_utterances.lst": _language_key("Audio", documents)}
    words = ""
    for name in SETS:
        truth = f"scoring/groundtruth_quesst14_{name}"
        listed |= {
            f"scoring/language_key_{name}.lst": _language_key(f"{name}_queries", queries[name]),
            f"{truth}/quesst14.ecf.xml": _ecf(seconds),
            f"{truth}/quesst14_{name}.tlist.xml": _term_list(queries[name]),
            f"{truth}/quesst14_{name}.rttm": _occurrences(documents, queries[name], seconds),
        }
        words += "".join(f"{query} {text}\n" for query, text in queries[name].items())
    sentences_said = "".join(f"{name} {text}\n" for name, text in documents.items())
    return {**listed, "query_words.txt": words, "document_words.txt": sentences_said}


def _language_key(folder: str, names: Mapping[str, str]) -> str:
    return "".join(f"{FOLDER}/{folder}/{name}.wav nnenglish\n" for name in names)


def _occurrences(documents: Mapping[str, str], queries: Mapping[str, str], seconds: Mapping[str, float]) -> str:
    """Documents that hold a query; the times are those of the document, as in the real corpus."""
    return "".join(
        f"LEXEME {document} 1 0.000 {seconds[document]:.3f} {query} lex <NA> 1.0\n"
        for query, term in queries.items()
        for document, text in documents.items()
        if matches(term, text)
    )


def _ecf(seconds: Mapping[str, float]) -> str:
    """The list of documents that are searched."""
    rows = "".join(
        f'  <excerpt audio_filename="{name}" channel="1" tbeg="0.000" dur="{length:.3f}" source_type="bnews"/>\n'
        for name, length in seconds.items()
    )
    head = f'<ecf source_signal_duration="{sum(seconds.values()):.3f}" language="english" version="1">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{rows}</ecf>\n'


def _term_list(queries: Mapping[str, str]) -> str:
    rows = "".join(
        f'  <term termid="{query}"><termtext>{escape(text)}</termtext></term>\n' for query, text in queries.items()
    )
    head = '<termlist ecf_filename="quesst14.ecf.xml" language="english" encoding="UTF-8" version="1">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{rows}</termlist>\n'
