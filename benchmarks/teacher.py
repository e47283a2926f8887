"""Trains the embedded teacher in phases on the hidden states of whisper-base and on its own, on a CPU or a GPU.

    gendistiller corpus data/medium --size medium --seed 100
    python benchmarks/teacher.py --corpus data/medium --real REAL --whisper WHISPER --recipe RECIPE --device cuda

WHISPER is a folder with whisper-base in CTranslate2's format (`hubert/whisper.py` names the packages). REAL is a folder
of recordings, all of which are read. Training uses all of each corpus except LibriSpeech's dev and test folders, which
are for validation. Each phase leaves a transformers folder `phaseN_encoder`. The same command continues a run that was
interrupted, and takes a phase whose encoder is there as finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from hubert.folder import write_hubert_folder
from hubert.model import GuidedModel
from hubert.recipe import PhasedRecipe
from hubert.stream import Stream
from hubert.training import Guide, Streams, encoder_folder, train_phases
from hubert.whisper import read_whisper_encoder
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.manifest import Utterance, read_manifest, write_manifest
from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.schema import from_dict

HELD_OUT = ("/dev-clean/", "/test-clean/")  # of LibriSpeech, for validation


def corpus_speech(corpus: Path, out: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances of a corpus for training and for validation; their manifest is written once."""
    if not (out / "corpus.csv").is_file():
        write_manifest(corpus, out, name="corpus")
    parts: tuple[list[Utterance], list[Utterance]] = ([], [])
    for utterance in read_manifest([out / "corpus.csv"], corpus):
        parts[any(part in utterance.path.as_posix() for part in HELD_OUT)].append(utterance)
    return parts


def read_streams(corpora: Sequence[Path], real: Path | None, out: Path, device: torch.device, seed: int) -> Streams:
    """The speech in memory.

    Raises:
        UserError: a folder is missing or holds no recording.
    """
    parts = [corpus_speech(corpus, out / f"corpus{number}") for number, corpus in enumerate(corpora)]
    train, valid = ([utterance for part in side for utterance in part] for side in zip(*parts, strict=True))
    return Streams(
        Stream.read(train, device, seed, "synthetic speech"),
        Stream.read(valid, device, seed, "held-out speech"),
        None if real is None else Stream.read(recordings(real, out), device, seed, "real speech"),
    )


def recordings(folder: Path, out: Path) -> list[Utterance]:
    """All recordings below a folder; their manifest is written once."""
    if not (out / "real.csv").is_file():
        write_manifest(folder, out, name="real", skip_bad=True)
    return read_manifest([out / "real.csv"], folder)


def whisper_guide(folder: Path, device: torch.device) -> Guide:
    """Raises a UserError where the folder holds no encoder of whisper-base."""
    encoder = read_whisper_encoder(folder).to(device)
    return Guide(encoder, encoder.hidden_states, encoder.shape.width)


def write_phase(out: Path, number: int, model: GuidedModel) -> None:
    """The encoder at the end of a phase; the head of its last layer, if the phase has one."""
    last = str(model.hubert.config.num_hidden_layers)
    folder = encoder_folder(out, number)
    if not folder.exists():
        write_hubert_folder(model.hubert, folder, dict(model.heads).get(last))


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--real", type=Path, help="folder of recordings; without it, all speech is synthetic")
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("result/guided"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args(argv)
    compat.apply()  # transformers imports torchaudio, which a CPU-only torch cannot load as it is
    recipe = from_dict(PhasedRecipe, read_yaml(args.recipe), str(args.recipe))
    device = torch.device(args.device)
    guide = whisper_guide(args.whisper, device)
    streams = read_streams(args.corpus, args.real, args.out, device, recipe.seed)
    for name, stream in zip(Streams._fields, streams, strict=True):
        if stream is not None:
            print(f"{name}: {len(stream) / 16000 / 60:.1f} minutes")
    train_phases(recipe, streams, guide, args.out, device, finished=lambda n, model: write_phase(args.out, n, model))
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
