"""Made speech in LibriSpeech's layout, and a teacher of random weights, for the training of the kit.

python -m kit.prepare --work DIR
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from kit import READY, ROOT

RATE = 16_000
SPLITS = {"train-clean-100": 480, "dev-clean": 24}
SMALL_SPLITS = {"train-clean-100": 24, "dev-clean": 3}
TINY: dict[str, Any] = {
    "width": 24,
    "layers": 3,
    "heads": 2,
    "ffn": 32,
    "conv_dim": 16,
    "conv_pos": 8,
    "conv_pos_groups": 2,
}


def utterance(path: Path, seed: int, seconds: tuple[float, float]) -> None:
    """Writes harmonics of a gliding pitch and noise, with the pauses of speech."""
    draw = np.random.default_rng(seed)
    samples = int(draw.uniform(*seconds) * RATE)
    time = np.arange(samples, dtype=np.float32) / RATE
    pitch = draw.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * draw.uniform(0.1, 0.5) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(number * phase) / number for number in range(1, 8))
    swell = np.clip(np.sin(2 * np.pi * draw.uniform(1.5, 4.0) * time) + 0.4, 0, None)
    wav = 0.05 * swell * (voice + 0.5 * draw.standard_normal(samples)) + 0.001 * draw.standard_normal(samples)
    soundfile.write(path, wav.astype(np.float32), RATE, subtype="PCM_16")


def write_speech(root: Path, small: bool) -> None:
    """`root`/LibriSpeech with its manifests."""
    from s3prl_gendistiller.distill.manifest import write_manifest

    # crops are 15.6 s at paper scale; some utterances are shorter, so that batches have padding
    seconds = (0.6, 1.2) if small else (13.0, 18.0)
    jobs: list[tuple[Path, int, tuple[float, float]]] = []
    for speaker, (split, count) in enumerate((SMALL_SPLITS if small else SPLITS).items(), start=1):
        folder = root / "LibriSpeech" / split / str(speaker) / "1"
        folder.mkdir(parents=True)
        jobs += [(folder / f"{speaker}-1-{number:04d}.flac", len(jobs) + number, seconds) for number in range(count)]
    with ProcessPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        list(pool.map(utterance, *zip(*jobs, strict=True), chunksize=4))
    write_manifest(root / "LibriSpeech", None, progress=False)


def write_recipe(work: Path, small: bool) -> None:
    """The YAML files of the command: the paper-scale recipe with another teacher and less speech."""
    configs = ROOT / "pretrain_configs" / "gendistiller"
    model: dict[str, object] = {"base": str(configs / "config_model.yaml")}
    model["teacher"] = {"upstream": None, "folder": str(work / "teacher")}
    data: dict[str, object] = {"libri_root": str(work / "LibriSpeech"), "sets": ["train-clean-100"]}
    data["file_path"] = str(work / "LibriSpeech" / "len_for_bucket")
    if small:
        convolutions = [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2]
        widths = {"encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 2}
        position = {"conv_pos": 8, "conv_pos_groups": 2}
        model["student"] = {"extractor_conv_feature_layers": convolutions, **widths, **position}
        model["distill"] = {"target_layers": [1, 2, 3]}
        data |= {"train_batch_size": 4, "num_workers": 1, "crop_samples": 16_000}
    runner = {"base": str(configs / "config_runner.yaml"), "pretrain_expert": {"datarc": data}}
    for name, content in (("model", model), ("runner", runner)):
        (work / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args(argv)
    write_speech(args.work, args.small)
    write_recipe(args.work, args.small)
    from hubert.random_teacher import BASE, write_random_teacher
    from s3prl_gendistiller.host import compat

    compat.apply()
    write_random_teacher(args.work / "teacher", model_type="wavlm", **(TINY if args.small else BASE))
    (args.work / READY).touch()
    print("ready", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
