"""Pretrains the embedded teacher: masked units on synthetic speech and real recordings, on two CPU cores.

    gendistiller corpus data/medium --size medium --seed 100
    python benchmarks/teacher.py --corpus data/medium --real PATH/TO/real_speech --out result/teacher

Training uses all of the corpus except LibriSpeech's dev and test folders, which are for validation, and the training
split of the recordings (digits.csv and orders.csv with `file`, `num_samples` and `split`). Corpora of other seeds share
no utterance with this one; the synthesiser's 104 voices are the same in all corpora.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hubert.batches import Speech
from hubert.codebook import CODEBOOK
from hubert.folder import write_hubert_folder
from hubert.recipe import HubertRecipe
from hubert.training import pretrain, round_folder
from hubert.units import make_codebook, unit_features
from recordings.tables import read_table
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.manifest import Utterance, read_manifest, write_manifest
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.schema import from_dict
from s3prl_gendistiller.shipped import shipped_folder

HELD_OUT = ("/dev-clean/", "/test-clean/")
TEACHER = "hubert_mini"


def corpus_speech(corpus: Path, out: Path) -> Speech:
    """Utterances of a corpus for training and for validation."""
    if not (out / "corpus.csv").is_file():
        write_manifest(corpus, out, name="corpus")
    utterances = read_manifest([out / "corpus.csv"], corpus)
    held_out = [any(part in utterance.path.as_posix() for part in HELD_OUT) for utterance in utterances]
    train = [utterance for utterance, held in zip(utterances, held_out, strict=True) if not held]
    return Speech(train, [utterance for utterance, held in zip(utterances, held_out, strict=True) if held])


def real_speech(real: Path) -> list[Utterance]:
    """Utterances of the training split of the recordings."""
    return [
        Utterance(Path(row["file"]), int(row["num_samples"]), f"{name} line {line}")
        for name in ("digits.csv", "orders.csv")
        for line, row in enumerate(read_table(real, name, ("num_samples",)), start=2)
        if row["split"] == "train"
    ]


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--real", type=Path, help="folder of recordings; without it, all speech is synthetic")
    parser.add_argument("--recipe", type=Path, default=shipped_folder("teachers") / TEACHER / "recipe.yaml")
    parser.add_argument("--out", type=Path, default=Path("result/teacher"))
    args = parser.parse_args(argv)
    compat.apply()  # transformers imports torchaudio, which a CPU-only torch cannot load as it is
    recipe = from_dict(HubertRecipe, read_yaml(args.recipe), str(args.recipe))
    speech = corpus_speech(args.corpus, args.out)
    real = real_speech(args.real) if args.real else []
    speech = Speech([*speech.train, *real], speech.valid)
    model = pretrain(recipe, speech, args.out)
    last = recipe.rounds[-1]
    source = f"layer {last.layer or recipe.shape.num_hidden_layers}"
    features = unit_features(source, model)
    codebook = make_codebook(recipe, last, speech.train, args.out / CODEBOOK, source, features, progress=True)
    folder = write_hubert_folder(model.hubert, args.out / TEACHER, model.head, codebook)
    draw(args.out, len(recipe.rounds), folder / "loss.png")
    print(f"written: {folder}")
    return 0


def draw(out: Path, rounds: int, picture: Path) -> None:
    """Draws loss and accuracy on masked frames of each round."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, (name, title) in zip(axes, (("masked_loss", "loss"), ("masked_accuracy", "accuracy")), strict=True):
        for number in range(1, rounds + 1):
            for split, style in (("train", "-"), ("valid", "o--")):
                metrics = read_metrics(round_folder(out, number), split)
                values = [entry[name] for entry in metrics.values()]
                label = f"round {number}, {'training' if split == 'train' else 'held out'}"
                alpha = 0.4 if split == "train" else 1.0
                axis.plot(list(metrics), values, style, color=f"C{number - 1}", alpha=alpha, markersize=4, label=label)
        axis.set(title=f"{title} on masked frames", xlabel="step")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    sys.exit(guarded(run, None))
