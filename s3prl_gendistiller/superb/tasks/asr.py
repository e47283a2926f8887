"""Speech recognition on LibriSpeech."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.manifest import sample_count, write_manifest
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.lists import full_lines, read_csv
from s3prl_gendistiller.superb.tasks import librispeech
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.items import Items, errors_and_length, paired_lines
from s3prl_gendistiller.superb.tasks.needs import Config, Files, Listing, Need, Sources, csv_column, fault
from s3prl_gendistiller.superb.tasks.predictions import Expected, hypotheses, present
from s3prl_gendistiller.superb.tasks.statistics import Ratio


class SpeechRecognition(Task):
    def need(self, config: Config) -> Need:
        datarc = config["datarc"]
        root, tables = Path(datarc["libri_root"]), Path(datarc["bucket_file"])
        splits = self.splits(datarc)
        listings = [
            Listing(tables / f"{split}.csv", made=True, named=csv_column("file_path"), folders=(root,))
            for split in splits
        ]
        return Need(self, (root,), librispeech.audio_folders(root, splits), listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        dictionary = need.config["datarc"].get("dict_path")
        known = {line.split(" ")[0] for line in full_lines(Path(dictionary))} if dictionary else set()
        for path in (listing.path for listing in need.listings if listing.path.exists()):
            rows = read_csv(path)
            lengths = [(rows.line_num, row.get("length")) for row in rows]
            wrong = [(line, reprlib.repr(length)) for line, length in lengths if sample_count(length or "") is None]
            for line, found in wrong[:1]:
                yield f"{path} line {line}: {len(wrong):,} lengths are no numbers of samples, here {found}"
        for audio in need.audio:
            texts = yield from librispeech.transcript_faults(audio, files(audio))
            for folder in sorted({file.parent for file in files(audio)}):
                expected = folder / f"{folder.parent.name}-{folder.name}.trans.txt"
                if not expected.is_file():
                    yield f"{expected}: no such file; s3prl looks for the transcripts of {folder} under this name"
            strange = {name: {*text.upper().replace(" ", "|")} - known for name, text in texts.items()}
            names = [name for name, letters in strange.items() if letters and known]
            letters = " ".join(sorted(set().union(*strange.values())))
            what = f"transcripts hold letters that {dictionary} lacks ({letters})"
            yield from fault(audio.name, names, what, "; spell them out")

    def make(self, need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
        (root,) = need.roots
        for listing in wanted:
            split, folder = listing.path.stem, listing.path.parent
            try:
                for file in write_manifest(root, folder, splits=[split], progress=progress):
                    yield f"{file.path}: {file.utterances:,} files, {file.seconds / 3600:.2f} h"
            except UserError as error:  # the other splits are written all the same
                yield f"not written: {error}"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """The rows of the test sets' tables of lengths, longest first."""
        datarc = config["datarc"]
        tables = [present(Path(datarc["bucket_file"]) / f"{name}.csv") for name in datarc["test-clean"]]
        rows = [row for table in tables for row in read_csv(table)]
        return Expected(tables[0], [Path(row["file_path"]).stem for row in rows], [-int(row["length"]) for row in rows])

    def items(self, folder: Path, config: Config) -> Items:
        """``errors`` and ``length`` in words; s3prl keeps no letters, so that the letter error has no items."""
        lines = paired_lines(folder / "test-clean-noLM-hyp.ark", folder / "test-clean-noLM-ref.ark")
        return errors_and_length([(name, found.split(), true.split()) for name, found, true in lines])

    def batch_utterances(self, config: Config) -> int:
        """Half of the configuration's: s3prl's limit of 2000 frames for a long utterance is compared with samples."""
        size = super().batch_utterances(config)
        return size // 2 if size > 1 else size


TASK = SpeechRecognition(
    name="asr",
    title="speech recognition",
    downstream="asr",
    mini="mini.yaml",
    metrics=(
        Metric("wer", "WER %", False, "wer", 1.0, references=(100 - 76.82, 100 - 96.38)),
        Metric("uer", "letter error %", False, "uer", 1.0),
    ),
    corpus=librispeech.CORPUS,
    speech=librispeech.SPEECH,
    submissions=(
        hypotheses("asr_no_lm", "test-clean-noLM", alias="asr", name="asr"),
        hypotheses("asr_with_lm", "test-clean-LM", alias="asr-lm", name="asr_lm", optional=True),
    ),
    dev="dev-clean",
    test="test-clean",
    best="dev-clean-best.ckpt",
    rates=((1e-2, 3e-3, 1e-3), (1e-2, 1e-3, 1e-4, 1e-5)),
    shared="LibriSpeech",
    lm_metric=Metric("wer_lm", "WER with 4-gram %", False, "wer", 1.0),
    statistics={"wer": Ratio("errors", "length")},
    cost=4,
)
