"""`gendistiller curves`: a picture of the loss curves of one or several runs."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.distill.metrics import METRICS_FILE, read_metrics
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import from_here
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.pictures import chart, cut_axes, legend, notes

Entries = Mapping[int, Mapping[str, float]]
"""Metrics by optimiser step and name."""
_DISTANCES = {
    "l1_layer": "L1 distance to the teacher's layers,\nheld-out files (lower is better)",
    "cosine_layer": "cosine similarity with the teacher's layers,\nheld-out files (higher is better)",
}
"""Beginning of a metric's name -> title of its panel."""
_TRAINING: dict[str, Any] = {"alpha": 0.45}
_HELD_OUT: dict[str, Any] = {"marker": "o", "markersize": 4}
logger = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    description = """\
Draw training and held-out curves of runs of run_pretrain.py, from their metrics.jsonl. Runs that have logged nothing
yet are left out and named."""
    example = "example: gendistiller curves result/pretrain/my_student result/pretrain/my_baseline"
    about = "draw the loss curves of runs as a PNG"
    add = arguments.add_command(subparsers, "curves", run, about, description, example).add_argument
    add("runs", metavar="RUN", nargs="+", type=arguments.path, help="folder of a run")
    add("--out", metavar="PNG", type=arguments.path, default=Path("result/curves.png"), help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    check_writable(args.out, "--out", folder=False)
    print(draw(_labelled(args.runs), args.out))
    return 0


def _labelled(folders: Sequence[Path]) -> dict[str, Path]:
    """Labels of the folders: the last part of the path, or the whole path where two last parts are equal."""
    whole = [folder.absolute().resolve() for folder in folders]
    for folder in whole:
        if whole.count(folder) > 1:
            raise UserError(f"{folder}: named twice; name each run once")
    names = [folder.name for folder in whole]
    return {
        name if names.count(name) == 1 else str(given): folder
        for name, given, folder in zip(names, folders, whole, strict=True)
    }


def draw(runs: Mapping[str, Path], out: Path) -> Path:
    """Draws the loss, and for each target layer the held-out L1 and cosine, of runs by label into one PNG.

    A run without points is left out, and both the log and the picture name it. UserError: no run has points.
    """
    train, valid, left_out = _read(runs)
    if not train:
        raise UserError("\n  ".join(["no run has a point to draw:", *left_out.values()]))
    for reason in left_out.values():
        logger.warning("left out: %s", reason)
    panels = {"loss": "loss of the distillation (lower is better)"}
    names = {name for run in (*valid.values(), *train.values()) for entry in run.values() for name in entry}
    for metric, title in _DISTANCES.items():
        if any(name.startswith(metric) for name in names):
            panels[metric] = title
    layers = _layers(valid)
    with chart(out, 5.2, 4.2, len(panels)) as axes:
        for axis, (metric, title) in zip(axes, panels.items(), strict=True):
            for index, label in enumerate(train):
                _draw_run(axis, metric, f"C{index}", layers, train[label], valid[label])
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("optimiser step")
        lines = {"loss on training files": _TRAINING, "loss on held-out files": _HELD_OUT}
        lines |= {f"layer {layer} of the teacher": style for layer, style in layers.items()}
        legend(axes[0], {label: {"color": f"C{index}"} for index, label in enumerate(train)}, lines)
        without = [f"{label}: left out, because the run has no points yet." for label in left_out]
        notes(axes[0], [*_missing(panels, train, valid), *without, *cut_axes(axes)])
    return out


def _read(runs: Mapping[str, Path]) -> tuple[dict[str, Entries], dict[str, Entries], dict[str, str]]:
    """The entries of training and of held-out speech of the runs with points, and the reasons for the other runs."""
    train: dict[str, Entries] = {}
    valid: dict[str, Entries] = {}
    left_out: dict[str, str] = {}
    for label, folder in runs.items():
        path = folder / METRICS_FILE
        if not folder.is_dir():
            raise UserError(f"{from_here(folder)}: no such folder; expected the folder of a run of run_pretrain.py")
        if not path.is_file():
            left_out[label] = f"{from_here(path)}: not there; run_pretrain.py writes that file with its first log entry"
            continue
        entries = {split: read_metrics(folder, split) for split in ("train", "valid")}
        if any(_drawn(entry) for split in entries.values() for entry in split.values()):
            train[label], valid[label] = entries["train"], entries["valid"]
        else:
            left_out[label] = f"{from_here(path)}: found no finite loss in it"
    return train, valid, left_out


def _drawn(entry: Mapping[str, float]) -> bool:
    """Whether an entry holds a number that a panel can show."""
    shown = [value for name, value in entry.items() if name == "loss" or name.startswith(tuple(_DISTANCES))]
    return any(math.isfinite(value) for value in shown)


def _layers(valid: Mapping[str, Entries]) -> dict[int, dict[str, Any]]:
    """The target layers of all runs, each with a line of its own, which is the same in every panel."""
    names = {name for run in valid.values() for entry in run.values() for name in entry}
    suffixes = {name.removeprefix(metric) for name in names for metric in _DISTANCES if name.startswith(metric)}
    layers = sorted(int(suffix) for suffix in suffixes if suffix.isdecimal())
    styles = ({"linestyle": line, "marker": marker} for marker in ".sx^v" for line in ("-", "--", ":", "-."))
    return dict(zip(layers, styles, strict=False))


def _draw_run(
    axis: Any, metric: str, colour: str, layers: Mapping[int, Mapping[str, Any]], train: Entries, valid: Entries
) -> None:
    if metric == "loss":
        axis.plot(*_curve(train, "loss"), color=colour, **_TRAINING)
        axis.plot(*_curve(valid, "loss"), color=colour, **_HELD_OUT)
        return
    for layer, style in layers.items():
        axis.plot(*_curve(valid, f"{metric}{layer}"), color=colour, markersize=4, **style)


def _missing(panels: Mapping[str, str], train: Mapping[str, Entries], valid: Mapping[str, Entries]) -> list[str]:
    """A line for each run that has no curve in a panel."""
    found = []
    for label in train:
        entries = [*train[label].values(), *valid[label].values()]
        if not valid[label]:
            found.append(f"{label}: no values on held-out files.")
        else:
            lacks = [
                panels[metric] for metric in panels if not any(metric in name for entry in entries for name in entry)
            ]
            found += [f"{label}: no {title}." for title in lacks]
    return found


def _curve(entries: Entries, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of the entries that hold a number under this name."""
    found = {step: entry[name] for step, entry in entries.items() if isinstance(entry.get(name), int | float)}
    return list(found), list(found.values())
