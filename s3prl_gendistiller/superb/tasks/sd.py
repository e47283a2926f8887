"""Speaker diarization on Libri2Mix; its metric is in `der`, its Kaldi tables in `libri2mix`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from s3prl_gendistiller.distill.audio import SUFFIXES
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.formats import rttm
from s3prl_gendistiller.formats.lists import read_table
from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks import der, libri2mix
from s3prl_gendistiller.superb.tasks.base import WIDTH, Metric, Task, require_packages
from s3prl_gendistiller.superb.tasks.items import Items
from s3prl_gendistiller.superb.tasks.needs import AudioFolder, Config, Files, Listing, Need, Sources
from s3prl_gendistiller.superb.tasks.predictions import Expected, Predictions, Submission, present
from s3prl_gendistiller.superb.tasks.statistics import LowestRatio

# counted in LibriMix's metadata: the longer of the two utterances of each mixture
_PARTS = {"train": Amount(13_900, 56.37), "dev": Amount(3_000, 7.60), "test": Amount(3_000, 7.01)}


class SpeakerDiarization(Task):
    def need(self, config: Config) -> Need:
        folders = {split: Path(config["loaderrc"][f"{split}_dir"]) for split in _PARTS}
        metadata = "whose metadata holds the times of each speaker"
        advice = f"give --librimix CHECKOUT of s3prl's LibriMix, {metadata}, and use --make"
        audio, listings = [], []
        for split, folder in folders.items():
            mixtures = libri2mix.mixtures(folder, split)
            audio.append(AudioFolder(split, mixtures, _PARTS[split]))
            listings += [Listing(folder / name, made=True, advice=advice) for name in libri2mix.TABLES]
            if mixtures != folder / "wav":  # where s3prl looks without a wav.scp
                scp = folder / "wav.scp"
                listings.append(Listing(scp, made=True, advice=advice, named=_recordings, folders=(folder,)))
        return Need(self, (folders["train"].parent,), audio, listings, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        for audio in need.audio:
            folder = Path(need.config["loaderrc"][f"{audio.name}_dir"])
            if folder.is_dir():
                yield from libri2mix.table_faults(folder, files(audio), int(need.config["datarc"]["num_speakers"]))
        truth = _truth(need.config)
        if truth.is_file() and not rttm.read_turns(truth):
            yield f"{truth}: found no line SPEAKER RECORDING 1 START SECONDS, expected the turns of each speaker"

    def make(self, need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
        split = wanted[0].path.parent.name
        (mixtures,) = (audio.folder for audio in need.audio if audio.name == split)
        tables = libri2mix.make_tables(mixtures, split, need.roots[0], sources.librimix, progress=progress)
        for listing in wanted:
            text = tables[listing.path.name]
            write_text(listing.path, text)
            yield f"{listing.path}: {len(text.splitlines()):,} lines"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """The test folder's recordings, a file each; their durations give the least number of frames."""
        root = Path(config["loaderrc"]["test_dir"])
        seconds = dict(read_table(present(root / "reco2dur")))
        if (root / "wav.scp").is_file():
            names = [name for name, _ in read_table(root / "wav.scp")]
        else:
            names = sorted(file.stem for file in files_below(present(root / "wav"), SUFFIXES))
        rate_hz = int(config["datarc"]["rate"]) // int(config["datarc"].get("subsampling", 1))
        samples = {name: int(float(seconds[name]) * rate_hz) for name in names}
        return Expected(root, names, [0] * len(names), samples=samples)

    def values(self, folder: Path, text: str, config: Config, split: str) -> dict[str, float]:
        rates = der.score_run(folder, _truth(config))
        frames = printed_values(text, split, "der")
        return {"der": 100 * min(rates.values()), **({"frame_der": 100 * frames[-1]} if frames else {})}

    def items(self, folder: Path, config: Config) -> Items:
        """Seconds of each recording: ``errors`` by threshold and median filter, and ``scored``."""
        found = der.errors_of_run(folder, _truth(config))
        names = list(next(iter(found.values())))
        wrong = {f"errors {key}": np.array([one.wrong for one in errors.values()]) for key, errors in found.items()}
        scored = np.array([one.scored for one in next(iter(found.values())).values()])
        return Items(names, {**wrong, "scored": scored})

    def head_parameters(self, config: Config) -> int:
        layers, h = config["modelrc"]["rnn_layers"], config["modelrc"]["hidden_size"]
        return int(sum(4 * h * ((WIDTH if layer == 0 else h) + h) for layer in range(layers)))


def _truth(config: Config) -> Path:
    return Path(config["loaderrc"]["test_dir"]) / "rttm"


def _recordings(path: Path) -> Iterator[str]:
    yield from (file for _, file in read_table(path) if file)


def _read_frames(folder: Path) -> Predictions:
    """A folder of HDF5 files, T_hat (T, speakers) of each recording."""
    require_packages([TASK])
    import h5py

    if not folder.is_dir():
        return Predictions(problems=["no such folder; evaluate this run on its test set"])
    found = Predictions()
    for path in sorted(folder.iterdir()):
        if path.suffix != ".h5":
            found.problems.append(f"{path.name}: found a file that is no .h5; remove it")
            continue
        found.ids.append(path.stem)
        try:
            with h5py.File(path, "r") as file:
                values = np.asarray(file["T_hat"], dtype=np.float64)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
            found.problems.append(f"{path.name}: not readable ({error}), expected T_hat in a whole HDF5 file")
            continue
        if values.ndim != 2 or not np.isfinite(values).all():
            shape = "x".join(map(str, values.shape))
            found.problems.append(f"{path.name}: T_hat of {shape}, expected T x speakers of finite numbers")
        else:
            found.frames[path.stem] = len(values)
    if not found.ids:
        found.problems.append("holds no .h5")
    shift = folder.parents[1] / der.FRAME_SHIFT
    text = shift.read_text(encoding="utf-8", errors="replace").strip() if shift.is_file() else "no such file"
    if text.isdecimal() and len(text) < 10 and int(text) > 0:
        found.frame_samples = int(text)
    else:
        expected = "expected samples per frame, which s3prl writes beside scoring/"
        found.problems.append(f"{der.FRAME_SHIFT}: {text[:60]}, {expected}")
    return found.shortened()


TASK = SpeakerDiarization(
    name="sd",
    title="speaker diarization",
    downstream="diarization",
    mini="mini.yaml",
    metrics=(Metric("der", "DER %", False, references=(100 - 89.95, 100 - 94.38)),),
    corpus=Corpus("Libri2Mix", origins.LIBRI2MIX, _PARTS),
    speech=(Speech(11.9, 189, 279, 1657), Speech.of(*_PARTS.values())),
    submissions=(Submission("sd", der.PREDICTIONS, der.PREDICTIONS, _read_frames, beside=(der.FRAME_SHIFT,)),),
    statistics={"der": LowestRatio("errors ", "scored")},
    best="best-states-dev.ckpt",
    dev_printed=Metric("acc", "frames %", True, "acc"),  # s3prl chooses the checkpoint by frame accuracy
    rates=((1e-2, 3e-3, 1e-3), (1e-2, 1e-3, 1e-4, 1e-5)),
    modules=("h5py", "scipy"),
    cost=3,
)
