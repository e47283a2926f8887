"""Intent classification on Fluent Speech Commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.errors import few
from s3prl_gendistiller.formats.lists import read_csv
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.needs import AudioFolder, Config, Files, Listing, Need, csv_column
from s3prl_gendistiller.superb.tasks.predictions import Expected, Lines, Submission, present
from s3prl_gendistiller.superb.tasks.statistics import Ratio

SLOTS = ("action", "object", "location")
"""The columns that s3prl reads."""
# utterances: the data card of s3prl/superb, task ic; hours: Lugosch et al., Interspeech 2019
LISTED = {"train": Amount(23_132, 14.7), "valid": Amount(3_118, 1.9), "test": Amount(3_793, 2.4)}


class IntentClassification(Task):
    def need(self, config: Config) -> Need:
        root = Path(config["datarc"]["file_path"])
        listings = [
            Listing(root / "data" / f"{split}_data.csv", named=csv_column("path"), folders=(root,), rows=amount.files)
            for split, amount in LISTED.items()
        ]
        return Need(self, (root,), [AudioFolder("wavs", root / "wavs" / "speakers")], listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        known: dict[str, set[str]] = {}
        for path in (listing.path for listing in need.listings if listing.path.is_file()):  # train first
            reader = read_csv(path)
            if absent := [column for column in ("path", *SLOTS) if column not in (reader.fieldnames or [])]:
                yield f"{path}: no column {few(absent)}, found {', '.join(reader.fieldnames or [])}"
                continue
            rows = [(reader.line_num, row) for row in reader]
            if empty := [line for line, row in rows if not all(row[column] for column in ("path", *SLOTS))]:
                yield f"{path} line {empty[0]}: no path, action, object or location; {len(empty):,} such lines"
            values = {slot: {row[slot] for _, row in rows if row[slot]} for slot in SLOTS}
            known = known or values
            for slot in SLOTS:
                if unseen := sorted(values[slot] - known[slot]):
                    yield f"{path}: {slot} is {few(unseen)}, which no line of train_data.csv has; correct it"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        table = present(Path(config["datarc"]["file_path"]) / "data" / "test_data.csv")
        return Expected(table, [Path(row["path"]).stem for row in read_csv(table)])


_INTENTS = Lines(r"([^,]+),[^,]*,[^,]*,([^,]*)", "UTTERANCE,ACTION,OBJECT,LOCATION")
TASK = IntentClassification(
    name="ic",
    title="intent classification",
    downstream="fluent_commands",
    metrics=(Metric("acc", "acc %", True, "acc", references=(9.649354219, 98.76)),),
    corpus=Corpus("Fluent Speech Commands", origins.FLUENT, LISTED),
    speech=(Speech(1.3, 100, 160, 971), Speech.of(*LISTED.values())),
    submissions=(Submission("ic", "test_predict.csv", "predict.csv", _INTENTS, truth="test_truth.csv"),),
    statistics={"acc": Ratio("right")},
)
