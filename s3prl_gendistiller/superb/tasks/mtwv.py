"""MTWV of query by example, from what s3prl's quesst14_dtw writes and QUESST 2014's ground truth.

The measure is maxTWV of QUESST's `score-TWV-Cnxe.sh STDLIST GROUND_TRUTH -10`, which s3prl's documents use:

    TWV(t) = 1 - mean over queries of (P_miss(q, t) + beta P_fa(q, t))
    beta = C_fa (1 - P_target) / (C_miss P_target)

with C_fa = 1, C_miss = 100 and P_target = 0.0008, so beta = 12.49. A trial is a query and a document, and is detected
when its score is at least t. P_miss is the share of a query's true documents that are not detected. P_fa is the share
of all other documents that are detected. Queries that occur nowhere do not count. A trial without a score has -10. The
maximum is taken over t; a threshold above all scores gives 0, so MTWV is never negative.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np

from s3prl_gendistiller.distill.files import refuse_irregular
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import LEXEME, read_occurrences

P_TARGET, C_MISS, C_FALSE_ALARM = 0.0008, 100.0, 1.0
BETA = C_FALSE_ALARM * (1 - P_TARGET) / (C_MISS * P_TARGET)
DEFAULT_SCORE = -10.0
STDLIST = "benchmark.stdlist.xml"

Scores = Mapping[str, Mapping[str, float]]
Truth = Mapping[str, Set[str]]


def mtwv(scores: Scores, truth: Truth, documents: Set[str], beta: float = BETA) -> float:
    """The maximum term weighted value, at most 1; UserError if no query occurs in any document.

    Args:
        scores: query -> document -> score; a missing score is `DEFAULT_SCORE`.
        truth: query -> the documents in which it occurs; others than `documents` are left out.
        documents: all searched documents.
        beta: the price of a false alarm.
    """
    order = sorted(documents)
    levels: list[np.ndarray] = []
    steps: list[np.ndarray] = []
    counted = 0
    for query, where in truth.items():
        true = np.array([document in where for document in order])
        if not true.any():
            continue
        counted += 1
        given = scores.get(query, {})
        levels.append(np.array([given.get(document, DEFAULT_SCORE) for document in order]))
        alarm = beta / (~true).sum() if not true.all() else 0.0
        steps.append(np.where(true, 1 / true.sum(), -alarm))
    if not counted:
        raise UserError("MTWV: no query of the ground truth occurs in any of the documents; look at the scoring folder")
    level, step = np.concatenate(levels), np.concatenate(steps)
    descending = np.argsort(-level, kind="stable")
    level, value = level[descending], np.cumsum(step[descending]) / counted
    ends = np.append(level[1:] != level[:-1], True)  # equal scores are detected together
    return max(0.0, float(value[ends].max()))


def read_stdlist(path: Path) -> dict[str, dict[str, float]]:
    """Query -> document -> score, from s3prl's benchmark.stdlist.xml; UserError where it is missing or broken."""
    try:
        root = ElementTree.parse(path).getroot()
        of_terms = [(terms.attrib["termid"], [term.attrib for term in terms]) for terms in root]
        return {query: {one["file"]: float(one["score"]) for one in scored} for query, scored in of_terms}
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise UserError(f"{path}: expected the list that s3prl's quesst14_dtw writes, found {error}") from error


def read_truth(folder: Path) -> tuple[dict[str, set[str]], set[str]]:
    """The documents of each query, and the searched documents (empty: the documents that have scores).

    The folder is quesst14Database/scoring/groundtruth_quesst14_dev, or _eval. Another content of it is a UserError.
    """
    files = sorted(folder.glob("*.rttm"))
    if not files:
        raise UserError(f"{folder}: found no .rttm, expected QUESST's ground truth (lines LEXEME DOCUMENT ... QUERY)")
    truth = read_occurrences(files[0])
    if not truth:
        raise UserError(f"{files[0]}: found no line {LEXEME}, expected QUESST's ground truth")
    documents: set[str] = set()
    for path in folder.glob("*.ecf.xml"):
        refuse_irregular(path, "text")
        try:
            excerpts = ElementTree.parse(path).iter("excerpt")
        except (ElementTree.ParseError, ValueError) as error:
            raise UserError(f"{path}: found {error}, expected the XML list of QUESST's documents") from error
        documents |= {Path(part.attrib.get("audio_filename", "")).stem for part in excerpts} - {""}
    return truth, documents


def score_run(folder: Path, truth_folder: Path) -> float:
    return mtwv(*_of_run(folder, truth_folder))


def trials_of_run(folder: Path, truth_folder: Path) -> list[tuple[str, str, float, bool]]:
    """Query, document, score and whether the query occurs in the document, of the queries that count."""
    scores, truth, documents = _of_run(folder, truth_folder)
    return [
        (query, document, scores.get(query, {}).get(document, DEFAULT_SCORE), document in where)
        for query, where in truth.items()
        if where & documents
        for document in sorted(documents)
    ]


def _of_run(folder: Path, truth_folder: Path) -> tuple[Scores, Truth, Set[str]]:
    scores = read_stdlist(folder / STDLIST)
    truth, documents = read_truth(truth_folder)
    return scores, truth, documents or {document for found in scores.values() for document in found}
