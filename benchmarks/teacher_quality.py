"""Quality of each layer of the shipped teacher, beside the same network with random weights.

    gendistiller corpus data/small --size small
    python benchmarks/teacher_quality.py --corpus data/small --out result/teacher_quality

Phones: new sentences, recorded as the corpora are (rooms, noise, speed), with the phoneme times of espeak-ng. k-means
finds 100 units on one half of the speakers; purity is measured on the other half, and for MFCC as well. Tasks: a linear
classifier on the mean over time of one layer, for keywords (KS), speakers (SID) and intents (IC) of the corpus, trained
and tested on their official splits.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from hubert.codebook import Codebook
from hubert.frames import frames_of
from hubert.mfcc import mfcc
from hubert.purity import purity
from hubert.random_teacher import write_random_like
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.corpora.augment import INDOORS
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.sentences import RICH, sentences
from s3prl_gendistiller.corpora.speech_commands import KEYWORDS
from s3prl_gendistiller.corpora.voices import AMERICAN, Studio, draw_voices
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE, read_audio
from s3prl_gendistiller.distill.kmeans import fit_centroids
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES
from s3prl_gendistiller.shipped import shipped_folder

SEED = 7
UNITS = 100
SPEAKERS, LINES = 40, 6
Encode = Callable[[torch.Tensor], list[np.ndarray]]
"""From a waveform (S,) to the layers' frames, each (T, D)."""

Labelled = tuple[torch.Tensor, np.ndarray]
"""A waveform (S,) and the phone of each of its frames (T,)."""


class Clip(NamedTuple):
    """One labelled recording."""

    path: Path
    label: str
    test: bool


def spoken_phones() -> list[Labelled]:
    """Utterances (S,) with the phone of each frame (T,); first and second half have different speakers."""
    engine, studio, texts = Espeak(), Studio(SEED, INDOORS), sentences(SEED, RICH)
    names: dict[str, int] = {}
    found = []
    for number, voice in enumerate(draw_voices(engine.variants(), f"purity/{SEED}", SPEAKERS, AMERICAN)):
        for line in range(LINES):
            clip = studio.line(f"{number}/{line}", voice, next(texts))
            said = engine.speak(
                clip.text.lower(), voice, rate_wpm=clip.rate_wpm, pitch=clip.pitch, pitch_range=clip.pitch_range
            ).phones
            wav = torch.from_numpy(clip.record(engine).wav).float()
            starts = np.array([phone.start_s / clip.speed for phone in said])
            centres = (np.arange(int(frames_of(len(wav)))) * FRAME_SAMPLES + MIN_SAMPLES / 2) / SAMPLE_RATE
            place = np.clip(np.searchsorted(starts, centres, side="right") - 1, 0, None)
            found.append((wav, np.array([names.setdefault(said[i].name, len(names)) for i in place])))
    return found


def labelled(corpus: Path) -> dict[str, list[Clip]]:
    """Task -> its clips."""
    commands = [
        Clip(path, path.parent.name, test)
        for test, name in ((False, "speech_commands_v0.01"), (True, "speech_commands_test_set_v0.01"))
        for path in sorted((corpus / name).glob("*/*.wav"))
        if path.parent.name in KEYWORDS
    ]
    voxceleb = corpus / "VoxCeleb1"
    rows = [line.split() for line in (voxceleb / "veri_test_class.txt").read_text(encoding="utf-8").splitlines()]
    recordings = {path.relative_to(path.parents[2]).as_posix(): path for path in voxceleb.glob("*/wav/*/*/*.wav")}
    speakers = [Clip(recordings[path], path.split("/")[0], split == "3") for split, path in rows if split != "2"]
    fluent = corpus / "fluent_speech_commands_dataset"
    intents = []
    for split in ("train", "test"):
        with (fluent / "data" / f"{split}_data.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                label = " ".join(row[name] for name in ("action", "object", "location"))
                intents.append(Clip(fluent / row["path"], label, split == "test"))
    return {"KS": commands, "SID": speakers, "IC": intents}


def phone_scores(encode: Encode, spoken: Sequence[Labelled], name: str) -> list[dict[str, float]]:
    """Purity scores of each layer."""
    layers = list(zip(*(encode(wav) for wav, _ in tqdm(spoken, desc=f"phones, {name}")), strict=True))
    half = len(spoken) // 2
    phones = np.concatenate([labels for _, labels in spoken[half:]])
    scores = []
    for states in layers:
        codebook = Codebook(fit_centroids(np.concatenate(states[:half]), UNITS, SEED), name)
        scores.append(purity(codebook.assign(np.concatenate(states[half:])), phones)._asdict())
    return scores


def task_scores(encode: Encode, clips: Iterable[Clip], name: str) -> list[float]:
    """Accuracy of each layer in percent."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    clips = list(clips)
    means = [
        np.stack([frames.mean(axis=0) for frames in encode(read_audio(clip.path))]) for clip in tqdm(clips, desc=name)
    ]
    features = np.stack(means)  # (clips, layers, D)
    test = np.array([clip.test for clip in clips])
    labels = np.array([clip.label for clip in clips])
    scores = []
    for layer in range(features.shape[1]):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        probe.fit(features[~test, layer], labels[~test])
        scores.append(100 * float(probe.score(features[test, layer], labels[test])))
    return scores


def encoder(teacher: Teacher) -> Encode:
    def encode(wav: torch.Tensor) -> list[np.ndarray]:
        states = teacher(wav.unsqueeze(0), torch.tensor([len(wav)]), range(teacher.num_layers + 1))
        return [layer.numpy() for layer in states[0]]

    return encode


def draw(found: dict[str, dict[str, list[float]]], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list(next(iter(found.values())))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.2), layout="constrained")
    for axis, panel in zip(axes, panels, strict=True):
        for name, style in (("trained", "C0o-"), ("random", "C7s--")):
            axis.plot(range(len(found[name][panel])), found[name][panel], style, label=name)
        if panel in found["mfcc"]:
            axis.axhline(found["mfcc"][panel][0], color="C1", linestyle=":", label="MFCC")
        axis.set(title=panel, xlabel="layer", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(out, dpi=110)


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, default=shipped_folder("teachers") / "hubert_guided")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("result/teacher_quality"))
    args = parser.parse_args(argv)
    compat.apply()
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "random").exists():
        write_random_like(args.teacher, args.out / "random", seed=SEED)
    spoken, tasks = spoken_phones(), labelled(args.corpus)
    encoders: dict[str, Encode] = {
        "trained": encoder(load_transformers_teacher(args.teacher)),
        "random": encoder(load_transformers_teacher(args.out / "random")),
        "mfcc": lambda wav: [mfcc(wav).numpy()],
    }
    found: dict[str, dict[str, list[float]]] = {}
    for name, encode in encoders.items():
        phones = phone_scores(encode, spoken, name)
        found[name] = {
            "phone purity %": [100 * score["phone"] for score in phones],
            "PNMI %": [100 * score["pnmi"] for score in phones],
        }
        if name != "mfcc":  # MFCC have zero mean over time
            found[name] |= {
                f"{task} acc %": task_scores(encode, clips, f"{task}, {name}") for task, clips in tasks.items()
            }
    (args.out / "quality.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, args.out / "quality.png")
    for name, panels in found.items():
        for panel, values in panels.items():
            print(f"{name:8} {panel:15} {' '.join(f'{value:5.1f}' for value in values)}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
