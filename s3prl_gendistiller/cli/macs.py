"""`gendistiller macs`: multiply-adds as the SUPERB leaderboard counts them, of any model at any number of steps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.runner_checks import check_upstream
from s3prl_gendistiller.host.upstreams import STUDENT
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.cost.counted_models import ALL, CountedModel, ModelSource, counted_models, model_sources
from s3prl_gendistiller.superb.cost.leaderboard_protocol import (
    LENGTHS,
    SECONDS,
    ProtocolCount,
    bucket_ranges,
    count_protocol,
)
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED
from s3prl_gendistiller.superb.models import find_models
from s3prl_gendistiller.superb.pictures import chart, legend, notes
from s3prl_gendistiller.superb.suite.table import markdown

_DESCRIPTION = """\
Count multiply-adds by the SUPERB leaderboard's protocol: the sum over 32 utterances of LibriSpeech test-clean
(224.86 s, 1.28 to 20.38 s each), one at a time. The executed operations are counted, for any upstream of s3prl. No
corpus is needed."""

_EXAMPLE = """\
examples:
  gendistiller macs --student mine=result/pretrain/my_student --student fbank
  gendistiller macs --config pretrain_configs/gendistiller/config_model.yaml --steps all --out result/macs.png
  gendistiller macs --config small=my_model.yaml --student teacher=path/to/hubert --steps all

--student takes the same values as in `gendistiller superb`: NAME=CHECKPOINT (or CHECKPOINT@2 for two of its layers),
NAME=FOLDER of a run, of an exported student or of a transformers model, or the name of an s3prl upstream. --config
needs no trained student.
Matrix products and convolutions are counted, and Fourier transforms: N points of a real signal take 1.25 N log2 N
multiply-adds. The leaderboard's profiler counts no Fourier transform (fbank: 0.48 G without, 0.61 with). It also counts
softmax, mask, dropout and biases of attention: 0.2 % more for HuBERT Base. Published rows show the leaderboard's
own numbers."""


def add_parser(subparsers: Any) -> None:
    about = "multiply-adds as the SUPERB leaderboard counts them"
    add = arguments.add_command(subparsers, "macs", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("--student", metavar="NAME=PATH", nargs="+", action="extend", default=[], help="one or more models, see below")
    untrained = "one or more untrained students, each the file of its model YAML"
    add("--config", metavar="NAME=YAML", nargs="+", action="extend", default=[], help=untrained)
    steps = "numbers of generated layers; all: every number from 1; default: all layers of the student"
    add("--steps", metavar="K", nargs="+", type=_step, default=[], help=steps)
    add("--out", type=arguments.path, metavar="PNG", help="draw multiply-adds against steps")
    add("--no-progress", action="store_true", help="no progress bar")


def _step(text: str) -> int | str:
    if text == ALL:
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1, or all")
    return int(text)


def run(args: argparse.Namespace) -> int:
    if not args.student and not args.config:
        raise UserError("found neither --student nor --config, expected at least one model")
    if args.out is not None:
        check_writable(args.out, "--out", folder=False)
    students = find_models(args.student)
    found = model_sources(students, args.config, args.steps)
    if args.steps and not any(source.steps for source in found):
        raise UserError("--steps: found without a student that generates its layers one by one; leave it out")
    for student in students:
        if student.checkpoint is None:
            check_upstream(student.upstream, None, door=STUDENT)
    counts = count(found, progress=not args.no_progress)
    print(table(counts))
    for row, counted in counts:
        if counted.uncounted:
            print(f"{row.name}: not counted: {', '.join(sorted(counted.uncounted))}")
    for source in found:
        for remark in source.remarks:
            print(f"{source.name}: {remark}")
    if args.out is not None:
        draw(counts, args.out)
        print(f"{args.out}: multiply-adds against steps")
    return 0


def count(found: Sequence[ModelSource], *, progress: bool) -> list[tuple[CountedModel, ProtocolCount]]:
    """The rows of all models, each with its count."""
    counts = []
    with tqdm(unit="utterance", disable=not progress) as bar:
        for source in found:
            for row in counted_models(source):
                bar.reset(len(LENGTHS))
                bar.set_description(row.name if row.steps is None else f"{row.name}, {row.steps} steps")
                counts.append((row, count_protocol(row.expert, bar.update)))
    return counts


def table(counts: Sequence[tuple[CountedModel, ProtocolCount]]) -> str:
    """One row for each model and number of steps, then published models; billions of multiply-adds."""
    header = ["model", "steps", "parameters", f"G multiply-adds, {SECONDS:.2f} s", "G per second", *bucket_ranges()]
    rows = [header]
    for row, counted in counts:
        steps = "" if row.steps is None else str(row.steps)
        totals = [f"{counted.total / 1e9:.2f}", f"{counted.per_second / 1e9:.3f}"]
        buckets = [f"{bucket / 1e9:.2f}" for bucket in counted.buckets]
        rows.append([row.name, steps, f"{row.parameters:,}", *totals, *buckets])
    for model in PUBLISHED:
        if model.gmacs is not None:
            published = [f"{model.gmacs:g}", f"{model.gmacs / SECONDS:.3f}"]
            millions = f"{model.million_parameters:.2f} M"
            rows.append([f"{model.name} (published)", "", millions, *published, *[""] * len(bucket_ranges())])
    return markdown(rows)


def draw(counts: Sequence[tuple[CountedModel, ProtocolCount]], out: Path) -> None:
    """A line for each student that generates layers, a level for each other model."""
    from matplotlib.ticker import MaxNLocator

    entries: dict[str, dict[str, Any]] = {}
    with chart(out, 7, 4.5) as (axis,):
        for index, name in enumerate(dict.fromkeys(row.name for row, _ in counts)):
            rows = [(row.steps or 0, counted.total / 1e9) for row, counted in counts if row.name == name]
            steps, totals = zip(*rows, strict=True)
            colour = f"C{index % 10}"
            if steps == (0,):
                style = {"color": colour, "linestyle": "--"}
                entries[f"{name}, {totals[0]:.4g} billion"] = style
                axis.axhline(totals[0], **style)
            else:
                entries[f"{name}, by its generated layers"] = {"color": colour, "marker": "o"}
                axis.plot(steps, totals, "o-", color=colour)
        if all(row.steps is None for row, _ in counts):
            axis.set(xticks=[])  # no model has a number of layers to choose
        else:
            axis.set_xlabel("number of layers that a student generates")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(ylabel="billions of multiply-adds", ylim=(0, None))
        legend(axis, entries)
        notes(axis, [f"All 32 utterances of the SUPERB leaderboard's count together, {SECONDS:.2f} s of audio."])
