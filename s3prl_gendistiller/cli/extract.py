"""`gendistiller extract`: a student's features of recordings, as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.distill.audio import decoders_silenced
from s3prl_gendistiller.errors import SHOWN, UserError, shortened
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.lock import locked
from s3prl_gendistiller.inference.extraction import Plan, extract
from s3prl_gendistiller.inference.feature_files import DTYPES, FORMATS
from s3prl_gendistiller.inference.feature_folder import FAILED, JOINED, LOCK, FeatureFolder
from s3prl_gendistiller.inference.feature_models import FeatureModel, choose_layers, load_feature_model, place_hash
from s3prl_gendistiller.inference.long_audio import CHUNK_S, OVERLAP_S, in_frames
from s3prl_gendistiller.inference.recordings import find_recordings
from s3prl_gendistiller.outputs import check_writable

BATCH_S = 20.0

_DESCRIPTION = """\
Write a student's features of recordings: files, all audio below folders, and text files with a path in each line. Each
recording gives a file with the same name below DIR, or a group in one HDF5 file. Array hidden_0 (T, D) is what enters
the student's first layer, hidden_1 its first layer, and so on: 50 frames a second, frame t from sample 320 t at 16 kHz.

Any rate and number of channels is read. Short recordings run in batches of similar length, with the same features as
alone. Long ones run in pieces, in constant memory, with the statistics of the whole recording. A repeated command goes
on with what is missing. Recordings that cannot be read are listed at the end; the others are written."""

_EXAMPLE = """\
examples:
  gendistiller extract recordings -k result/pretrain/my_student --out features
  gendistiller extract a.wav b.flac list.txt -k my_student --out features --layers -1 --dtype float16
  gendistiller extract hours.mp3 -k my_student --out features --format npz --chunk 60 --overlap 4
  gendistiller extract recordings -k my_student --out features --format hdf5 --steps 2 --device cuda"""


def add_parser(subparsers: Any) -> None:
    about, way_on = "write a student's features of recordings", "the same command goes on with what is missing"
    add = arguments.add_command(subparsers, "extract", run, about, _DESCRIPTION, _EXAMPLE, way_on).add_argument
    add("audio", nargs="+", type=arguments.path, metavar="AUDIO", help="audio file, folder, or text file of paths")
    student = "the student: a checkpoint, the folder of its run, or the folder of an exported student"
    add("-k", "--student", required=True, type=arguments.text, metavar="STUDENT", help=student)
    add("--out", required=True, type=arguments.path, metavar="DIR", help="folder for the features")
    add("--format", choices=FORMATS, default="safetensors", help=f"hdf5: one file {JOINED} (safetensors)")
    layers = "hidden states that are written, negative ones from the end; default: all"
    add("--layers", type=arguments.whole, nargs="+", metavar="N", help=layers)
    add("--steps", type=arguments.whole, metavar="K", help="number of layers that the student generates; default: all")
    add("--dtype", choices=DTYPES, default="float32", help="of the features (float32)")
    chunk = f"new frames of each piece of a long recording ({CHUNK_S:g})"
    add("--chunk", type=arguments.number(above=0.0), default=CHUNK_S, metavar="SECONDS", help=chunk)
    overlap = f"context before and behind each piece ({OVERLAP_S:g})"
    add("--overlap", type=arguments.number(), default=OVERLAP_S, metavar="SECONDS", help=overlap)
    batch = f"length of a batch of short recordings ({BATCH_S:g})"
    add("--batch", type=arguments.number(above=0.0), default=BATCH_S, metavar="SECONDS", help=batch)
    add("--jobs", type=arguments.count(), metavar="N", help="threads of the CPU; default: one for each core")
    add("--device", type=arguments.text, default="cpu", help="cpu, cuda or cuda:N (cpu)")
    add("--no-progress", action="store_true")


def run(args: argparse.Namespace) -> int:
    in_frames(args.chunk, "--chunk", 1)
    in_frames(args.overlap, "--overlap", 0)
    check_device(args.device, "--device")
    check_writable(args.out, "--out", folder=True)
    recordings = find_recordings(args.audio)
    model = load_feature_model(args.student, steps=args.steps, device=args.device, threads=args.jobs)
    layers = tuple(choose_layers(args.layers, model))
    plan = Plan(layers, args.dtype, args.chunk, args.overlap, args.batch)
    with decoders_silenced():
        folder = FeatureFolder(args.out, _settings(args, model, layers))
        folder.check_names(each.name for each in recordings)
        missing = [each for each in recordings if not folder.is_whole(each)]
        problems: list[str] = []
        if missing or folder.unfinished:
            who = "another command writes features there; wait for its end, or give another --out"
            with locked(args.out, LOCK, who):
                problems = extract(missing, model, plan, folder, progress=not args.no_progress)
    done = len(recordings) - len(problems)
    if done:
        print(_summary(args.out, model, plan, done, len(recordings) - len(missing)))
    if problems:
        head = f"{len(problems)} of {len(recordings)} recordings have no features"
        listed = f", all listed in {args.out / FAILED}" if folder.begun and len(problems) > SHOWN else ""
        raise UserError("\n  ".join([f"{head}; repair or remove them{listed}:", *shortened(problems, SHOWN)]))
    return 0


def _settings(args: argparse.Namespace, model: FeatureModel, layers: tuple[int, ...]) -> dict[str, Any]:
    """What the features depend on."""
    return {
        "student": place_hash(args.student),
        "steps": args.steps,
        "layers": list(layers),
        "width": model.width,
        "format": args.format,
        "dtype": args.dtype,
        "chunk_s": args.chunk,
        "overlap_s": args.overlap,
    }


def _summary(out: Path, model: FeatureModel, plan: Plan, done: int, before: int) -> str:
    arrays = f"{len(plan.layers)} array{'s' if len(plan.layers) > 1 else ''} (T, {model.width}) each"
    earlier = f", {before} of them from an earlier command" if before else ""
    return f"{out}: features of {done} recording{'s' if done > 1 else ''}, {arrays}{earlier}"
