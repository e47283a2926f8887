"""Both students, and forms of GenDistiller, on real recordings: orders to train on, digits held out.

    python benchmarks/real_speech.py --real PATH/TO/real_speech --out result/real_speech

PATH holds digits.csv and orders.csv (file, num_samples, split; word and speaker for digits) with the recordings beside
them. They are linked, not copied, into the layout that s3prl reads: orders as plain speech for distillation, digits as
a LibriSpeech whose utterances are one word long. The teacher has random weights: the table compares how well students
match a fixed deep network on real audio; its ASR errors say nothing about students of a trained teacher.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hubert.random_teacher import write_random_teacher
from miniature.forms import contender
from recordings.tables import read_table
from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.cli.experiment import Contender, Experiment, Recipe
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.manifest import write_manifest
from s3prl_gendistiller.host import compat

CONTENDERS = {
    "gendistiller": Contender("gendistiller"),
    "distilhubert": Contender("distilhubert"),
    "gendistiller-plain": contender("plain"),
    "gendistiller-recur": contender("recur"),
}
DIGIT_SPLITS = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}


def lay_out(real: Path, data: Path) -> None:
    """Links the recordings into `data`/speech (orders, digits) and `data`/LibriSpeech (digits with transcripts)."""
    if data.exists():
        return
    for row in read_table(real, "orders.csv", ()):
        link(Path(row["file"]), data / "speech" / f"orders-{row['split']}" / Path(row["file"]).name)
    transcripts: dict[Path, list[str]] = defaultdict(list)
    speakers: dict[str, int] = {}
    for row in read_table(real, "digits.csv", ("speaker", "word")):
        speaker = speakers.setdefault(row["speaker"], len(speakers) + 1)
        split, chapter = DIGIT_SPLITS[row["split"]], list(DIGIT_SPLITS).index(row["split"])
        folder = data / "LibriSpeech" / split / str(speaker) / str(chapter)
        name = f"{speaker}-{chapter}-{len(transcripts[folder]):04d}"
        link(Path(row["file"]), folder / f"{name}.flac")
        transcripts[folder].append(f"{name} {row['word'].upper()}")
        if row["split"] == "dev":
            link(Path(row["file"]), data / "speech" / "digits" / Path(row["file"]).name)
    for folder, lines in transcripts.items():
        transcript = folder / f"{folder.parent.name}-{folder.name}.trans.txt"
        transcript.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_manifest(data / "LibriSpeech", None, progress=False)
    write_manifest(data / "speech", data / "speech", splits=["orders-train", "digits"], progress=False)


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("result/real_speech"))
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--asr-steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337])
    parser.add_argument("--only", nargs="+", choices=tuple(CONTENDERS), default=list(CONTENDERS))
    args = parser.parse_args(argv)
    out: Path = args.out.absolute()
    started = time.monotonic()
    compat.apply()
    lay_out(args.real, out / "data")
    if not (out / "teacher").exists():
        write_random_teacher(out / "teacher", width=192, layers=12, heads=6, ffn=768, conv_dim=64)
    speech = out / "data" / "speech"
    datarc = {
        **{"libri_root": str(speech), "file_path": str(speech), "sets": ["orders-train"], "valid_sets": ["digits"]},
        **{"train_batch_size": 8, "num_workers": 0, "crop_samples": 48_000},
    }
    contenders = {name: CONTENDERS[name] for name in args.only}
    for seed in args.seeds:
        recipe = Recipe(out / "data", out / "teacher", (4, 8, 12), datarc, args.steps, 1e-3, args.asr_steps, seed)
        experiment = Experiment(recipe, contenders, out / f"seed{seed}")
        for name in contenders:
            experiment.distil(name)
        errors = {name: experiment.recognise(name) for name in contenders if "-" not in name}
        table = experiment.table(errors)
        (out / f"seed{seed}.md").write_text(table, encoding="utf-8")
        draw({name: experiment.folder / name for name in contenders}, out / f"seed{seed}.png")
        print(f"\nseed {seed}\n{table}", flush=True)
    print(f"{time.monotonic() - started:.0f} s in all; tables and pictures: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
