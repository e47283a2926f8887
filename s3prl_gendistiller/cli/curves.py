"""`gendistiller curves`: a picture of the loss curves of one or several runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.charts import chart
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import check_writable

Entries = Mapping[int, Mapping[str, float]]
"""Metrics by optimiser step and name."""


def add_parser(subparsers: Any) -> None:
    description = "Draw training and held-out curves of runs of run_pretrain.py, from their metrics.jsonl."
    example = "example: gendistiller curves result/pretrain/my_student result/pretrain/my_baseline --out curves.png"
    about = "draw the loss curves of runs as a PNG"
    add = arguments.add_command(subparsers, "curves", run, about, description, example).add_argument
    add("runs", metavar="RUN", nargs="+", type=arguments.path, help="folder of a run")
    add("--out", metavar="PNG", type=arguments.path, default=Path("curves.png"))


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
    """Draws the loss, and for each target layer the held-out L1 and cosine, of runs by label into one PNG."""
    train = {label: read_metrics(folder, "train") for label, folder in runs.items()}
    valid = {label: read_metrics(folder, "valid") for label, folder in runs.items()}
    panels = {"loss": "loss"}
    names = {name for run in (*valid.values(), *train.values()) for entry in run.values() for name in entry}
    for metric, title in (("l1_layer", "held-out L1"), ("cosine_layer", "held-out cosine")):
        if any(name.startswith(metric) for name in names):
            panels[metric] = title
    with chart(out, 5.2, 4.2, len(panels)) as axes:
        for axis, (metric, title) in zip(axes, panels.items(), strict=True):
            for index, label in enumerate(runs):
                shown = label.replace("$", r"\$").lstrip("_")  # matplotlib reads $ as mathematics, and hides _x
                _draw_run(axis, metric, shown, f"C{index}", train[label], valid[label])
            axis.set(title=title, xlabel="optimiser step")
            axis.legend(fontsize=8)
    return out


def _draw_run(axis: Any, metric: str, label: str, colour: str, train: Entries, valid: Entries) -> None:
    if metric == "loss":
        axis.plot(*_curve(train, "loss"), color=colour, alpha=0.4, label=f"{label}, train")
        axis.plot(*_curve(valid, "loss"), color=colour, marker="o", label=f"{label}, held out")
        return
    suffixes = {name.removeprefix(metric) for entry in valid.values() for name in entry if name.startswith(metric)}
    layers = sorted(int(suffix) for suffix in suffixes if suffix.isdecimal())
    for layer, style in zip(layers, ("-", "--", ":", "-.") * len(layers), strict=False):
        curve = _curve(valid, f"{metric}{layer}")
        axis.plot(*curve, style, color=colour, marker=".", label=f"{label}, layer {layer}")


def _curve(entries: Entries, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of the entries that hold a number under this name."""
    found = {step: entry[name] for step, entry in entries.items() if isinstance(entry.get(name), int | float)}
    return list(found), list(found.values())
