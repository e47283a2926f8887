"""Keyword spotting on Speech Commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.distill.audio import SAMPLE_RATE, audio_frames
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import few
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.needs import ANY, AudioFolder, Config, Files, Listing, Need
from s3prl_gendistiller.superb.tasks.predictions import Expected, classes
from s3prl_gendistiller.superb.tasks.statistics import Ratio

NOISE = "_background_noise_"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_")
"""The classes of s3prl's task."""
CORPUS = Corpus(
    "Speech Commands v0.01",
    origins.SPEECH_COMMANDS,
    # Warden, arXiv 1804.03209, on version 1; the test set: the data card of s3prl/superb, task ks
    {"training": Amount(64_727), "test": Amount(3_081)},
)
_USED = {"train": 51_094, "dev": 6_798, "test": CORPUS.parts["test"].files}  # recordings of a second, by SUPERB


class KeywordSpotting(Task):
    def need(self, config: Config) -> Need:
        datarc = config["datarc"]
        roots = (Path(datarc["speech_commands_root"]), Path(datarc["speech_commands_test_root"]))
        parts = zip(CORPUS.parts.items(), roots, strict=True)
        audio = [AudioFolder(name, root, amount, form=ANY) for (name, amount), root in parts]
        return Need(self, roots, audio, [Listing(roots[0] / NOISE)], config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        training, test = need.roots
        classes = {file.relative_to(test).parts[0] for file in files(need.audio[1])}
        if strange := sorted(classes - {*KEYWORDS}):
            yield f"{test}: holds the classes {few(strange)}, expected {', '.join(KEYWORDS)}; remove or rename them"
        noise = training / NOISE
        if noise.is_dir():
            recordings = list(files_below(noise, ".wav"))
            if not recordings:
                yield f"{noise}: no .wav files; s3prl's class _silence_ comes from them"
            for file in recordings:
                samples = audio_frames(file)
                if samples < SAMPLE_RATE:
                    expected = f"expected {SAMPLE_RATE}, because s3prl cuts clips of one second"
                    yield f"{file}: {samples} samples at 16 kHz, {expected}; remove it"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """All files of the test folder, one class after another."""
        root = Path(config["datarc"]["speech_commands_test_root"])
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        files = [file for folder in folders for file in files_below(folder, ".wav") if file.parent == folder]
        ids = [f"{file.parent.name}-{file.name}" for file in files]
        return Expected(root, ids, [folders.index(file.parent) for file in files], in_blocks=True)


TASK = KeywordSpotting(
    name="ks",
    title="keyword spotting",
    downstream="speech_commands",
    metrics=(Metric("acc", "acc %", True, "acc", references=(41.3826674, 96.66)),),
    corpus=CORPUS,
    speech=(
        Speech(1.0, 115, 250, 1524),
        Speech(1.0, float(_USED["dev"]), float(_USED["test"]), float(sum(_USED.values()))),
    ),
    submissions=(classes("ks", "test"),),
    statistics={"acc": Ratio("right")},
)
