"""Slot filling on Audio SNIPS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s3prl_gendistiller.distill.files import files_below, read_text
from s3prl_gendistiller.errors import few
from s3prl_gendistiller.formats.lists import read_table
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.items import Items, numbered, paired_lines
from s3prl_gendistiller.superb.tasks.needs import LEFT_OUT, AudioFolder, Config, Files, Listing, Need, fault
from s3prl_gendistiller.superb.tasks.predictions import Expected, hypotheses, present
from s3prl_gendistiller.superb.tasks.slots import slot_scores
from s3prl_gendistiller.superb.tasks.statistics import Ratio

TRANSCRIPTS = "all.iob.snips.txt"
CORPUS = Corpus(
    "Audio SNIPS",
    origins.SNIPS,
    # s3prl's preprocess/snips_preprocess.py: 13,084 + 700 + 700 sentences by each voice; SUPERB takes 8 + 4 + 4 voices
    {"train": Amount(8 * 13_084), "valid": Amount(4 * 700), "test": Amount(4 * 700)},
)
_MEAN_S = 3.0  # an assumption
_SECONDS = {split: amount.files * _MEAN_S for split, amount in CORPUS.parts.items()}


class SlotFilling(Task):
    def is_configured_by(self, config: Config) -> bool:
        return str(config["corpus"]["name"]).lower() == "snips"

    def need(self, config: Config) -> Need:
        corpus = config["corpus"]
        root = Path(corpus["path"])
        audio = [
            AudioFolder(split, root / split, CORPUS.parts.get(split), beginnings=tuple(corpus[f"{split}_speakers"]))
            for split in self.splits(corpus)
        ]
        listings = [Listing(root / TRANSCRIPTS), Listing(Path(config["text"]["slots_file"]))]
        return Need(self, (root,), audio, listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        labels, slots = (listing.path for listing in need.listings)
        if not labels.is_file() or not slots.is_file():
            return
        known = {"O", *read_text(slots).split("\n")[1:]}
        texts: dict[str, str] = {}
        for name, text in read_table(labels, " "):
            if name in texts:
                yield f"{labels}: has more than one line for {name}; keep one"
            texts[name] = text
        for audio in need.audio:
            found = [file for file in files(audio) if file.stem in texts]
            lacking = [file for file in files(audio) if file.stem not in texts]
            yield from fault(audio.name, lacking, f"utterances have no line in {labels} and {LEFT_OUT}")
            stems, infix = {file.stem for file in found}, f"-{audio.folder.name}-"
            lost = [name for name in texts if name.startswith(audio.beginnings) and infix in name and name not in stems]
            yield from fault(labels, lost, f"lines have no .wav file in {audio.folder} and {LEFT_OUT}")
            for file in found:
                if misread := _line_fault(file.stem, texts[file.stem], known, labels, slots):
                    yield misread
                    return

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """The test folders' files that have a transcript and a test speaker, most tokens first."""
        corpus = config["corpus"]
        root, speakers = Path(corpus["path"]), tuple(corpus["test_speakers"])
        texts = dict(read_table(present(root / TRANSCRIPTS), " "))
        files = [file.stem for split in corpus["test"] for file in files_below(present(root / split), ".wav")]
        ids = [name for name in files if name in texts and name.startswith(speakers)]
        return Expected(root, ids, [-_tokens(texts[name]) for name in ids])

    def items(self, folder: Path, config: Config) -> Items:
        """``f1`` of the kinds of slots, and ``errors`` and ``letters`` of the values of slots."""
        lines = paired_lines(folder / "test-hyp.ark", folder / "test-ref.ark")
        scores = np.array([slot_scores(found, true) for _, found, true in lines])
        columns = dict(zip(("f1", "errors", "letters"), scores.T, strict=True))
        return Items(numbered([name for name, *_ in lines]), columns)


def _line_fault(name: str, text: str, known: set[str], labels: Path, slots: Path) -> str:
    """The problem with the line of an utterance, ``BOS WORDS EOS<tab>O SLOTS INTENT``; empty for none."""
    where = f"{labels}: the line of {name}"
    words, *tags = text.split("\t")
    if len(tags) != 1 or not words:
        return f"{where} is {text!r}, expected BOS WORDS EOS, tab, slots"
    signs, marks = words.strip(" ").split(" "), tags[0].split(" ")  # as s3prl splits them
    if len(signs) != len(marks):
        counts = f"{len(signs) - 2} words between BOS and EOS and {len(marks) - 2} slots between O and the intent"
        return f"{where} has {counts}, expected as many; correct it"
    unknown = {*marks[1:-1]} - known
    return f"{where} has the slot {few(sorted(unknown))}, which {slots} lacks" if unknown else ""


def _tokens(text: str) -> int:
    """Number of tokens that s3prl's letters-and-slots encoder makes of ``BOS WORDS EOS<tab>O SLOTS INTENT``."""
    words, slots = (part.split(" ")[1:-1] for part in text.strip("\r\n ").split("\t"))
    count = 0
    for index, (word, slot) in enumerate(zip(words, slots, strict=False)):
        if word in "?!.,;-":
            continue
        count += len("AND" if word == "&" else word) + 1  # and the space behind it, or the end
        if slot != "O":
            count += (index == 0 or slots[index - 1] != slot) + (index == len(words) - 1 or slots[index + 1] != slot)
    return count


TASK = SlotFilling(
    name="sf",
    title="slot filling",
    downstream="ctc",
    configs=("snips_small.yaml", "snips.yaml"),
    metrics=(
        Metric("f1", "slot F1 %", True, "slot_type_f1", references=(69.64, 89.81)),
        Metric("cer", "slot CER %", False, "slot_value_cer", references=(100 - 47.06, 100 - 78.24)),
    ),
    corpus=CORPUS,
    speech=(
        Speech(2.8, 238, 225, 2717),
        Speech(_MEAN_S, _SECONDS["valid"], _SECONDS["test"], sum(_SECONDS.values())),
    ),
    submissions=(hypotheses("sf", "test"),),
    statistics={"f1": Ratio("f1"), "cer": Ratio("errors", "letters")},
    rates=((1e-2, 3e-3, 1e-3), (1e-2, 1e-3, 1e-4, 1e-5)),
    cost=4,
)
