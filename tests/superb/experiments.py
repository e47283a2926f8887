"""Experiment folders as s3prl's experts leave them after a test, for ids of one's choice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import yaml

from s3prl_gendistiller.superb.entry import expected as ids
from s3prl_gendistiller.superb.entry.archive import known_submissions
from s3prl_gendistiller.superb.tasks.predictions import Expected
from tests.corpora.loaders import content

ARKS = {"pr": "test", "sf": "test", "asr_no_lm": "test-clean-noLM", "asr_with_lm": "test-clean-LM"}
FRAMES = 150  # of 320 samples in the recordings of 3 s
FLAGS = [flag for flag, (_, submission) in known_submissions().items() if not submission.optional]
"""Of s3prl's submit.py, for the ten tasks."""


def expert_config(data: Path, flag: str) -> dict:
    """The expert's part of a task's official configuration."""
    return content(data, known_submissions()[flag][0].config("official"))


def expected(flag: str, config: dict) -> Expected:
    """The ids of a test set, by the flag of s3prl's submit.py."""
    task, submission = known_submissions()[flag]
    return ids.expected(task, config, submission.fold)


def write_experiment(folder: Path, flag: str, ids: Sequence[str], data: Path | None = None, truth: bool = True) -> Path:
    """
    Args:
        flag: of s3prl's submit.py.
        ids: of the utterances, in order.
        data: the corpora that the folder's configuration names; None for no configuration.
        truth: whether the true answers lie beside the predictions, as s3prl's experts write them.
    """
    folder.mkdir(parents=True)
    if data is not None:
        config = {"downstream_expert": expert_config(data, flag)}
        (folder / "config_resolved.yaml").write_text(yaml.safe_dump(config))
    if flag == "qbe":
        _write_stdlist(folder / "benchmark.stdlist.xml", ids)
    elif flag == "sd":
        _write_frames(folder, ids)
    elif flag in ARKS:
        _write(folder, f"{ARKS[flag]}-hyp.ark", [f"{name} A B" for name in ids])
        _write(folder, f"{ARKS[flag]}-ref.ark", [f"{name} A C" for name in ids if truth])
    elif flag == "ic":
        _write(folder, "test_predict.csv", [f"{name},activate,lights,none" for name in ids])
        _write(folder, "test_truth.csv", [f"{name},increase,heat,none" for name in ids if truth])
    else:
        stem = f"test_{flag.removeprefix('er_')}" if flag.startswith("er_") else "test"
        value = "0.25" if flag == "sv" else "id10001"
        _write(folder, f"{stem}_predict.txt", [f"{name} {value}" for name in ids])
        # s3prl writes no truth for sv: its records hold no labels
        _write(folder, f"{stem}_truth.txt", [f"{name} id10002" for name in ids if truth and flag != "sv"])
    return folder


def _write(folder: Path, name: str, lines: Sequence[str]) -> None:
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def _write_stdlist(path: Path, pairs: Sequence[str]) -> None:
    by_query: dict[str, list[str]] = {}
    for query, document in map(str.split, pairs):
        by_query.setdefault(query, []).append(f'<term file="{document}" channel="1" score="-0.5000" decision="NO"/>')
    lists = [
        f'<detected_termlist termid="{query}">{"".join(terms)}</detected_termlist>' for query, terms in by_query.items()
    ]
    path.write_text(f'<stdlist termlist_filename="benchmark.stdlist.xml">{"".join(lists)}</stdlist>')


def _write_frames(folder: Path, recordings: Sequence[str]) -> None:
    (folder / "frame_shift").write_text("320\n")
    (folder / "scoring/predictions").mkdir(parents=True)
    for name in recordings:
        with h5py.File(folder / "scoring/predictions" / f"{name}.h5", "w") as file:
            file.create_dataset("T_hat", data=np.full((FRAMES, 2), 0.5, dtype=np.float32))
