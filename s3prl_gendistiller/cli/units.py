"""`gendistiller units`: a teacher's units, their counts, and the kept units, which objective `glmd` distils."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.distill.kmeans import fit_centroids, frames_to_cluster
from s3prl_gendistiller.distill.manifest import Utterance, read_manifest
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.units import LAYER_FILE, KmeansUnits, Units, UnitSource, choose_kept, nearest_kept
from s3prl_gendistiller.distill.weights import weights_hash
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.hub_teacher import check_hub_teacher
from s3prl_gendistiller.host.teacher_units import content_hash, count_units, states_of, teacher_head
from s3prl_gendistiller.host.teachers import load_teacher
from s3prl_gendistiller.host.upstreams import UNITS
from s3prl_gendistiller.outputs import atomic_folder, check_writable
from s3prl_gendistiller.shipped import existing_or_shipped

CLUSTERS = 500
FRAMES = 200_000

_DESCRIPTION = """\
Count a teacher's units over a training manifest, keep the frequent ones, map each other unit to the most similar kept
unit, and write the result to one small file for `objectives: [{name: glmd, units: FILE}]`. Several layers give a folder
with a file for each of them, for `objectives: [{name: layer_units, units: FOLDER}]`.

Units are the pretraining targets of a HuBERT (teachers/hubert_guided, s3prl's HuBERT checkpoints). For a teacher
without a head for them (WavLM, transformers' HuBERT), units are k-means clusters of one of its layers."""

_EXAMPLE = """\
example:
  gendistiller units data/LibriSpeech/len_for_bucket/train-clean-100.csv --root data/LibriSpeech \\
      --teacher teachers/hubert_guided --ratio 0.5 --out units.safetensors
  gendistiller units data/LibriSpeech/len_for_bucket/train-clean-100.csv --root data/LibriSpeech \\
      --teacher teachers/hubert_guided --source kmeans --layer 2 4 6 --ratio 1 --out layer_units"""


def add_parser(subparsers: Any) -> None:
    about = "count a teacher's units and choose a vocabulary, for objective glmd"
    way_on = "the same command continues the count"
    add = arguments.add_command(subparsers, "units", run, about, _DESCRIPTION, _EXAMPLE, way_on).add_argument
    add("manifest", type=arguments.path, nargs="+", help="CSV files of the training set; never dev or test")
    add("--root", type=arguments.path, required=True, help="folder that their file_path is relative to")
    teachers = "a transformers folder, or the name of an s3prl upstream"
    add("--teacher", type=arguments.text, required=True, help=teachers)
    add("--checkpoint", type=arguments.text, help="checkpoint of an s3prl upstream that needs one")
    add("--out", type=arguments.path, required=True, metavar="FILE", help="of several layers a folder")
    add("--ratio", type=arguments.number(), default=0.5, help="share of the units that is kept (0.5)")
    rounded = "round the number of kept units up to a multiple of N (1)"
    add("--multiple-of", type=arguments.whole, default=1, metavar="N", help=rounded)
    forced = "ids of units that are kept however rare they are"
    add("--force", type=arguments.count(0), nargs="+", default=[], metavar="UNIT", help=forced)
    add("--source", choices=("auto", "head", "kmeans"), default="auto", help="auto: the head if it exists")
    add("--layer", type=arguments.count(0), nargs="+", help="teacher layers that k-means clusters (the last)")
    add("--clusters", type=arguments.count(), help="number of k-means clusters (500)")
    add("--frames", type=arguments.count(), help="frames that k-means is fitted on (200000)")
    add("--seed", type=arguments.seed, default=0, help="seed of k-means and of the choice of its frames")
    add("--device", type=arguments.text)
    add("--no-progress", action="store_true")


def run(args: argparse.Namespace) -> int:
    if not 0.0 < args.ratio <= 1.0 or args.multiple_of < 1:
        raise UserError(f"--ratio {args.ratio:g} --multiple-of {args.multiple_of}: expected 0 < ratio <= 1, at least 1")
    if args.out.exists():
        raise UserError(f"--out {args.out}: already exists; remove it or name another file")
    several = args.layer is not None and len(args.layer) > 1
    check_writable(args.out, "--out", folder=several)
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(args.device, "--device")
    if args.source == "head":
        _refuse_of_kmeans(args, "beside --source head, which reads the last layer; leave it out")
    config = _teacher_config(args)
    utterances = read_manifest(args.manifest, args.root)
    teacher = load_teacher(config).to(args.device)
    sources = _sources(args, config, teacher, utterances)
    predicts = [predict.to(args.device).requires_grad_(False) for predict in sources.values()]
    counts = count_units(
        teacher,
        lambda states: torch.stack([predict(each) for predict, each in zip(predicts, states, strict=True)]),
        list(sources),
        utterances,
        len(predicts[0].embeddings),
        args.out.with_suffix(".partial"),
        device=args.device,
        codebook=" ".join(weights_hash(predict.state_dict()) for predict in predicts),
        progress=None if args.no_progress else "counting units",
    )
    facts = {
        "teacher": teacher.name,
        "fingerprint": teacher.fingerprint(),
        "manifest": content_hash(utterances),
        "utterances": len(utterances),
        "ratio": args.ratio,
        "forced": args.force,
        "seed": args.seed,
    }
    made = [_units(args, *each, facts) for each in zip(predicts, sources, counts, strict=True)]
    if several:
        with atomic_folder(args.out, "the units of several layers") as folder:
            for units in made:
                units.save(folder / LAYER_FILE.format(units.layer))
    else:
        made[0].save(args.out)
    for units in made:
        counted, kept = units.counts, units.kept
        print(
            f"{args.out}: {len(counted)} units of layer {units.layer} of {teacher.name}, {int((counted > 0).sum())} "
            f"occur; {len(kept)} kept, first in {counted[kept].sum() / counted.sum():.1%} of {counted.sum():,} frames"
        )
    return 0


def _units(
    args: argparse.Namespace, predict: UnitSource, layer: int, counts: Tensor, facts: Mapping[str, Any]
) -> Units:
    """The units of one layer, from the counts (V,) of their source."""
    wanted = math.ceil(math.ceil(args.ratio * len(counts)) / args.multiple_of) * args.multiple_of
    kept = choose_kept(counts, min(wanted, len(counts)), args.force)
    predict = predict.cpu()
    nearest = nearest_kept(predict.embeddings.detach(), kept, predict.similarity)
    own = {"frames": int(counts.sum()), "similarity": predict.similarity}
    return Units(predict, layer, counts.contiguous(), kept, nearest, {**facts, **own})


def _teacher_config(args: argparse.Namespace) -> TeacherConfig:
    path = existing_or_shipped(args.teacher)
    if path.is_dir():
        if args.checkpoint is not None:
            raise UserError(f"--checkpoint: found with the folder {args.teacher}, which holds its own; leave it out")
        return TeacherConfig(folder=str(args.teacher))
    if path.exists():
        raise UserError(f"--teacher {args.teacher}: found a file, expected a folder or an upstream; see --checkpoint")
    check_hub_teacher(args.teacher, args.checkpoint, UNITS)
    return TeacherConfig(upstream=args.teacher, checkpoint=args.checkpoint)


def _refuse_of_kmeans(args: argparse.Namespace, why: str) -> None:
    for name in ("layer", "clusters", "frames"):
        if (found := getattr(args, name)) is not None:
            raise UserError(f"--{name}: found {' '.join(map(str, found)) if name == 'layer' else found} {why}")


def _sources(
    args: argparse.Namespace, config: TeacherConfig, teacher: Teacher, utterances: list[Utterance]
) -> dict[int, UnitSource]:
    """The teacher's head, or k-means on one or several of its layers, by the number of the layer."""
    head = teacher_head(teacher, config) if args.source != "kmeans" else None
    if head is not None:
        whose = f"for teacher {teacher.name}, whose own head reads layer {teacher.num_layers}"
        _refuse_of_kmeans(args, f"{whose}; add --source kmeans, or leave it out")
        return {teacher.num_layers: head}
    if args.source == "head":
        raise UserError(f"--source head: teacher {teacher.name} holds no unit head; take --source kmeans")
    layers = sorted({teacher.num_layers} if args.layer is None else set(args.layer))
    if wrong := [str(layer) for layer in layers if not 0 <= layer <= teacher.num_layers]:
        raise UserError(f"--layer: found {' '.join(wrong)}, expected 0..{teacher.num_layers} of teacher {teacher.name}")
    if args.layer is not None and len(layers) < len(args.layer):
        raise UserError(f"--layer: found {' '.join(map(str, args.layer))}, expected each layer once")
    ordered = sorted(utterances, key=lambda utterance: str(utterance.path))
    order = torch.randperm(len(ordered), generator=torch.Generator().manual_seed(args.seed)).tolist()
    states = states_of(teacher, layers, (ordered[index] for index in order), args.device)
    joined = (found.transpose(0, 1).flatten(1).cpu().numpy() for found in states)  # (T, L D)
    sample = frames_to_cluster(joined, args.frames or FRAMES, not args.no_progress)
    of_each = torch.from_numpy(sample).unflatten(1, (len(layers), -1)).unbind(1)
    return {layer: _clusters(args, frames.contiguous()) for layer, frames in zip(layers, of_each, strict=True)}


def _clusters(args: argparse.Namespace, frames: Tensor) -> KmeansUnits:
    """k-means of frames (T, D)."""
    centroids = torch.from_numpy(fit_centroids(frames.numpy(), args.clusters or CLUSTERS, args.seed))
    nearest = torch.cat([torch.cdist(part, centroids).min(-1).values for part in frames.split(8192)])
    return KmeansUnits(centroids, float(nearest.square().mean()))
