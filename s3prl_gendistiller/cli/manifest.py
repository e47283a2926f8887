"""`gendistiller manifest`: the CSV files that training and s3prl read, for any folder of audio."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.distill.audio import SUFFIXES
from s3prl_gendistiller.distill.manifest import DEFAULT_FOLDER, write_manifest
from s3prl_gendistiller.outputs import check_writable

_DESCRIPTION = """\
Write s3prl's len_for_bucket CSV files for a folder of wav, flac, ogg, opus or mp3 files.

A folder that holds LibriSpeech's split folders (train-clean-100, dev-clean, ...) yields one CSV file for each split.
Any other folder yields one CSV file of everything below it, named like the folder or by --name.
Audio at other rates than 16 kHz stays as it is; training resamples it when it reads it."""

_EXAMPLE = """\
example:
  gendistiller manifest ~/data/LibriSpeech
  gendistiller manifest ~/recordings --name lectures --out manifests"""


def add_parser(subparsers: Any) -> None:
    about = "write the CSV files that training reads, for any folder of audio"
    add = arguments.add_command(subparsers, "manifest", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("audio_dir", metavar="AUDIO_DIR", type=arguments.text, help="folder of audio files, at any depth")
    add("--out", metavar="DIR", type=arguments.text, help=f"folder of the CSV files (AUDIO_DIR/{DEFAULT_FOLDER})")
    add("--name", type=arguments.name, help="write one CSV file of this name for everything below AUDIO_DIR")
    add("--workers", type=arguments.count(), metavar="N", help="threads that read headers (4 per core)")
    add("--skip-bad", action="store_true", help="leave out unusable files and name them")
    add("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    left_out: Counter[str] = Counter()
    out = Path(args.audio_dir, DEFAULT_FOLDER) if args.out is None else Path(args.out)
    if Path(args.audio_dir).is_dir():
        check_writable(out, "--out", folder=True)
    written = write_manifest(
        args.audio_dir,
        args.out,
        name=args.name,
        workers=args.workers,
        progress=not args.no_progress,
        skip_bad=args.skip_bad,
        left_out=left_out,
    )
    for manifest in written:
        print(f"{manifest.path}: {manifest.utterances} files, {manifest.seconds / 3600:.2f} h")
    if left_out:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
        print(f"left out, as no {', '.join(SUFFIXES)}: {counts}")
    return 0
