"""Emotion recognition on IEMOCAP, whose five sessions are five folds."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.files import files_below, read_text
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.needs import ALIKE, AudioFolder, Config, Files, Listing, Need, Sources
from s3prl_gendistiller.superb.tasks.predictions import Expected, classes, present
from s3prl_gendistiller.superb.tasks.statistics import Ratio

EMOTIONS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
_SAME_EMOTION = {"exc": "hap"}
_LABELLED = re.compile(r"^\[[^\]]*\]\t(\S+)\t(\S+)\t", re.MULTILINE)
# utterances of the four classes by session: counted in s3prl's downstream/emotion/meta_data
LISTED = {1: 1_085, 2: 1_023, 3: 1_151, 4: 1_031, 5: 1_241}
_WHOLE = sum(LISTED.values())
_MEAN_S = 4.5  # Busso et al., 2008


class EmotionRecognition(Task):
    def need(self, config: Config) -> Need:
        root, lists = Path(config["datarc"]["root"]), Path(config["datarc"]["meta_data"])
        audio, listings = [], []
        listing = partial(Listing, made=True, named=_paths, folders=(root,))
        for session, rows in LISTED.items():
            audio.append(AudioFolder(f"Session{session}", root / f"Session{session}" / "sentences" / "wav", form=ALIKE))
            for purpose, count in (("train", _WHOLE - rows), ("test", rows)):
                name = f"Session{session}/{purpose}_meta_data.json"
                where = f"downstream/emotion/meta_data/{name}"
                listings.append(listing(lists / name, in_s3prl=where, rows=count, overlaps=purpose == "train"))
        return Need(self, (root,), audio, listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        for path in (listing.path for listing in need.listings if listing.path.is_file()):
            try:
                content = json.loads(read_text(path))
            except (ValueError, RecursionError) as error:
                yield f"{path}: found {type(error).__name__} ({error}), expected JSON; write it again with --make"
            else:
                yield from _fold_faults(path, content)

    def make(self, need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
        """The lists of s3prl's IEMOCAP_preprocess.py in a fixed order, not in the order of the file system."""
        (root,) = need.roots
        utterances = {audio.name: list(_labelled(root / audio.name)) for audio in need.audio}
        if empty := [name for name, found in utterances.items() if not found]:
            lacking = f"no labelled turns in {', '.join(empty)}"
            raise UserError(f"{root}: found {lacking}, expected <session>/dialog/EmoEvaluation")
        for listing in wanted:
            session, test = listing.path.parent.name, listing.path.name.startswith("test")
            chosen = [one for name, found in utterances.items() if (name == session) == test for one in found]
            write_text(listing.path, json.dumps({"labels": EMOTIONS, "meta_data": chosen}, indent=1) + "\n")
            yield f"{listing.path}: {len(chosen):,} utterances, in another order than s3prl's own list"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        path = present(Path(config["datarc"]["meta_data"]) / f"Session{fold}" / "test_meta_data.json")
        return Expected(path, [Path(name).stem for name in _paths(path)])


def _paths(path: Path) -> Iterator[str]:
    yield from (row["path"] for row in json.loads(read_text(path))["meta_data"])


def _fold_faults(path: Path, content: Any) -> Iterator[str]:
    """Problems of one fold's list: `labels`, class -> number, and `meta_data`, entries of path and label."""
    labels, rows = (content.get(key) if isinstance(content, dict) else None for key in ("labels", "meta_data"))
    if not isinstance(labels, dict) or not isinstance(rows, list):
        yield f"{path}: found {reprlib.repr(content)}, expected labels and meta_data, a mapping and a list; correct it"
        return
    for emotion, number in labels.items():
        if type(number) is not int or not 0 <= number < len(labels):
            found = f"labels.{emotion} is {reprlib.repr(number)}"
            yield f"{path}: {found}, expected a whole number from 0 to {len(labels) - 1}; correct it"
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("path", "label")):
            found = f"entry {position} of meta_data is {reprlib.repr(row)}"
            yield f"{path}: {found}, expected a path and a label, both texts; correct it"
            return
    unknown = sorted({row["label"] for row in rows} - {*labels})
    if not rows:
        yield f"{path}: names no utterance; write it again with --make"
    if unknown:
        yield f"{path}: has the label {few(unknown)}, expected {', '.join(labels)}; correct it"


def _labelled(session: Path) -> Iterator[dict[str, str]]:
    """The utterances of SUPERB's four classes that have audio."""
    audio = {path.stem: path for path in files_below(session / "sentences" / "wav", ".wav")}
    for file in sorted((session / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
        for name, emotion in _LABELLED.findall(file.read_text(encoding="utf-8", errors="replace")):
            label = _SAME_EMOTION.get(emotion, emotion)
            if label in EMOTIONS and name in audio:
                path = audio[name].relative_to(session.parent).as_posix()
                yield {"path": path, "label": label, "speaker": name.partition("_")[0]}


TASK = EmotionRecognition(
    name="er",
    title="emotion recognition",
    downstream="emotion",
    metrics=(Metric("acc", "acc %", True, "acc", references=(48.23672168, 67.62)),),
    corpus=Corpus(
        "IEMOCAP", origins.IEMOCAP, {f"Session{number}, four emotions": Amount(rows) for number, rows in LISTED.items()}
    ),
    # a fold tests on a fifth of all utterances, and a fifth of the others is dev
    speech=(
        Speech(2.9, 138, 178, 866),
        Speech(_MEAN_S, _WHOLE * 4 / 5 / 5 * _MEAN_S, _WHOLE / 5 * _MEAN_S, _WHOLE * _MEAN_S),
    ),
    submissions=tuple(classes(f"er_fold{fold}", f"test_fold{fold}", fold=str(fold)) for fold in LISTED),
    statistics={"acc": Ratio("right")},
    folds=tuple(f"fold{session}" for session in LISTED),
    cost=5,
)
