"""Query by example on QUESST 2014, which compares features by dynamic time warping and trains nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.formats.lists import full_lines, misshapen_line
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import HOUR_S, Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks import mtwv
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.items import Items
from s3prl_gendistiller.superb.tasks.needs import ANY, AudioFolder, Config, Files, Listing, Need
from s3prl_gendistiller.superb.tasks.predictions import NO_FILE, Expected, Predictions, Submission, present
from s3prl_gendistiller.superb.tasks.statistics import TermWeightedValue

CORPUS = Corpus(
    "QUESST 2014",
    origins.QUESST,
    # Anguera et al., MediaEval 2014: 12,492 utterances, 23 hours, 560 and 555 queries, six languages
    {"Audio": Amount(12_492, 23, rounding_h=0.5), "dev_queries": Amount(560), "eval_queries": Amount(555)},
)
_DOCUMENTS, _DEV, _ = CORPUS.parts.values()
_SEARCHED_S, _QUERIES_S = _DOCUMENTS.seconds, 0.5 * HOUR_S  # the second is an assumption


class QueryByExample(Task):
    def need(self, config: Config) -> Need:
        root = Path(config["datarc"]["dataset_root"])
        scoring = root / "scoring"
        keys = [scoring / f"language_key_{name}.lst" for name in ("utterances", "dev", "eval")]
        truths = [scoring / f"groundtruth_quesst14_{name}" / f"quesst14_{name}.rttm" for name in ("dev", "eval")]
        listings = [*(Listing(key, named=_english, folders=(root,)) for key in keys), *map(Listing, truths)]
        audio = [AudioFolder(name, root / name, amount, form=ANY) for name, amount in CORPUS.parts.items()]
        return Need(self, (root,), audio, listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        for path in (listing.path for listing in need.listings if listing.path.is_file()):
            if path.suffix == ".lst":
                yield from misshapen_line(path, 2, "a path without spaces and a language")
                continue
            try:
                mtwv.read_truth(path.parent)
            except UserError as error:
                yield str(error)

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """Every English query of the evaluation set with every English document, in any order."""
        scoring = Path(config["datarc"]["dataset_root"]) / "scoring"
        lists = [present(scoring / f"language_key_{name}.lst") for name in ("eval", "utterances")]
        queries, documents = ([Path(path).stem for path in _english(one)] for one in lists)
        ids = [f"{query} {document}" for query in queries for document in documents]
        return Expected(scoring, ids, [0] * len(ids))

    def values(self, folder: Path, text: str, config: Config, split: str) -> dict[str, float]:
        truth = "dev" if split == self.dev else "eval"
        scoring = Path(config["datarc"]["dataset_root"]) / "scoring"
        return {"mtwv": 100 * mtwv.score_run(folder, scoring / f"groundtruth_quesst14_{truth}")}

    def items(self, folder: Path, config: Config) -> Items:
        """``score`` and ``true`` of each query with each document; the units are the queries."""
        truth = Path(config["datarc"]["dataset_root"]) / "scoring" / "groundtruth_quesst14_eval"
        trials = mtwv.trials_of_run(folder, truth)
        names = [f"{query} {document}" for query, document, *_ in trials]
        _, units = np.unique([query for query, *_ in trials], return_inverse=True)
        score, true = (np.array([float(trial[place]) for trial in trials]) for place in (2, 3))
        return Items(names, {"score": score, "true": true}, units)


def _english(path: Path) -> Iterator[str]:
    """The paths of English recordings, without their first folder, as s3prl reads them."""
    for fields in map(str.split, full_lines(path)):
        if fields[1:] == ["nnenglish"]:
            yield fields[0].split("/", 1)[-1]


def _read_scores(path: Path) -> Predictions:
    if not path.is_file():
        return Predictions(problems=[NO_FILE])
    try:
        scores = mtwv.read_stdlist(path)
    except UserError as error:
        return Predictions(problems=[str(error).removeprefix(f"{path}: ")])
    found = Predictions([f"{query} {document}" for query, of_query in scores.items() for document in of_query])
    if not found.ids:
        found.problems.append("holds no score")
    documents = {document for of_query in scores.values() for document in of_query}
    for query, of_query in scores.items():
        found.problems += [
            f"{query}: the score of {document} is {score}, expected a finite number"
            for document, score in of_query.items()
            if not math.isfinite(score)
        ]
        absent = sorted(documents - of_query.keys())
        found.problems += [f"{query}: no score for {few(absent)}"] if absent else []
    return found.shortened()


TASK = QueryByExample(
    name="qbe",
    title="query by example",
    downstream="quesst14_dtw",
    metrics=(Metric("mtwv", "MTWV x100", True, references=(0.58, 7.36)),),
    corpus=CORPUS,
    speech=(
        Speech(0.0, 411, 413, 432, pairs=24 * 120),
        Speech(0.0, _SEARCHED_S, _SEARCHED_S, _SEARCHED_S + _QUERIES_S, pairs=_DEV.files * _DOCUMENTS.files),
    ),
    submissions=(Submission("qbe", mtwv.STDLIST, mtwv.STDLIST, _read_scores),),
    statistics={"mtwv": TermWeightedValue()},
    best="",
    modules=("dtw", "lxml", "scipy"),
    trained=False,
    cost=3,
)
