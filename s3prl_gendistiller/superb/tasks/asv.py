"""Speaker verification on VoxCeleb1, which s3prl evaluates on trials of the test set only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.formats.lists import full_lines, misshapen_line
from s3prl_gendistiller.superb.corpus.sizes import Speech
from s3prl_gendistiller.superb.tasks import voxceleb
from s3prl_gendistiller.superb.tasks.base import PUBLISHED_CORPORA, WIDTH, Metric, Task
from s3prl_gendistiller.superb.tasks.items import Items, numbered
from s3prl_gendistiller.superb.tasks.needs import ANY, Config, Files, Listing, Need, columns
from s3prl_gendistiller.superb.tasks.predictions import Expected, Lines, Submission, present
from s3prl_gendistiller.superb.tasks.statistics import EqualErrorRate


class SpeakerVerification(Task):
    def need(self, config: Config) -> Need:
        datarc = config["datarc"]
        root, checkout = Path(datarc["file_path"]), "downstream/sv_voxceleb1"
        listings = [Listing(Path(datarc["train_meta_data"]), in_s3prl=f"{checkout}/dev_meta_data/dev_speaker_ids.txt")]
        for part, name in (("dev", "dev_meta_data/dev_meta_data.txt"), ("test", "voxceleb1_test_v2.txt")):
            path, where = Path(datarc[f"{part}_meta_data"]), f"{checkout}/{name}"
            folders = (root / part / "wav",)
            listings.append(Listing(path, in_s3prl=where, named=columns(1, 2), folders=folders, once=False))
        return Need(self, (root,), voxceleb.audio_folders(root, ANY), listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        for path in (listing.path for listing in need.listings if listing.named and listing.path.is_file()):
            misshapen = list(misshapen_line(path, 3, "1 or 0 and two paths without spaces"))
            yield from misshapen
            labels = {line.split()[0] for line in full_lines(path)}
            if not misshapen and labels != {"0", "1"}:
                yield f"{path}: found trials {few(sorted(labels))}, expected both 1 (same speaker) and 0 (another)"
        training = need.audio[0]
        speakers = {file.relative_to(training.folder).parts[0] for file in files(training)}
        folders = {entry.name for entry in training.folder.iterdir() if entry.is_dir()} if speakers else set()
        if empty := sorted(folders - speakers):
            yield f"{training.folder}: {few(empty)} hold no audio, but s3prl counts speakers by folders; remove them"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        path = present(Path(config["datarc"]["test_meta_data"]))
        rows = [line.split() for line in full_lines(path)]
        return Expected(path, [f"{_id(first)}_{_id(second)}" for _, first, second in rows])

    def items(self, folder: Path, config: Config) -> Items:
        """``score`` and ``same`` of each trial; the labels come from the list of trials, because s3prl writes none."""
        path = Path(config["datarc"]["test_meta_data"])
        trials = [line.split() for line in full_lines(present(path))]
        written = [line.split() for line in full_lines(present(folder / "test_predict.txt"))]
        expected = [f"{_id(first)}_{_id(second)}" for _, first, second in trials]
        if [name for name, *_ in written] != expected:
            raise UserError(f"{folder / 'test_predict.txt'}: found other trials than those of {path}, or another order")
        score = np.array([float(fields[1]) for fields in written])
        same = np.array([float(label) for label, *_ in trials])
        return Items(numbered(expected), {"score": score, "same": same})

    def dev_trials(self, config: Config) -> str:
        """Trials of pairs of dev/, with paths below test/wav, where s3prl's test set looks for them."""
        path = config["datarc"]["dev_meta_data"]
        trials = [line.split() for line in full_lines(Path(path))]
        if not trials or any(len(trial) != 3 for trial in trials):
            raise UserError(f"{path}: expected lines of 1 or 0 and two paths below dev/wav")
        return "".join(f"{same} ../../dev/wav/{first} ../../dev/wav/{second}\n" for same, first, second in trials)

    def head_parameters(self, config: Config) -> int:
        """The x-vector: five layers over time, mean and deviation, two layers, then 1,251 speakers."""
        model = config["modelrc"]
        d, wide = model["input_dim"], model["module_config"]["XVector"]["agg_dim"]
        return int(WIDTH * d + (5 + 3 + 3 + 1) * d * d + d * wide + 2 * wide * d + d * d + d * 1251)


_SCORES = Lines(r"(\S+) (\S+)", "UTTERANCE_UTTERANCE SCORE", numbers=True)


def _id(name: str) -> str:
    return "-".join(name.split("/")[-3:]).split(".")[0]  # s3prl cuts at the first dot, wherever it is


TASK = SpeakerVerification(
    name="asv",
    title="speaker verification",
    downstream="sv_voxceleb1",
    metrics=(Metric("eer", "EER %", False, "EER", references=(100 - 90.44, 100 - 94.89)),),
    corpus=voxceleb.CORPUS,
    # s3prl's lists of trials name 5,466 recordings of dev, and 4,715 of test
    speech=(Speech(5.5, 1457, 660, 2117), voxceleb.speech(dev=5_466, test=4_715)),
    submissions=(Submission("sv", "test_predict.txt", "predict.txt", _SCORES, alias="asv"),),
    statistics={"eer": EqualErrorRate()},
    best="",
    rates=((3e-3, 1e-3, 3e-4), (1e-3, 1e-4, 1e-5)),  # s3prl's authors found 1e-4 to be always the best
    modules=("joblib", "librosa", "scipy", "sklearn", "sox"),
    crops=PUBLISHED_CORPORA,
    cost=3,
)
