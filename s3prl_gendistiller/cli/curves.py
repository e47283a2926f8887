"""`gendistiller curves`: the loss curves of one or several runs as a picture."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.outputs import check_writable


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "curves",
        help="draw the loss curves of runs as a PNG",
        description="Draw training and held-out curves of runs of run_pretrain.py, from their metrics.jsonl.",
        epilog="example: gendistiller curves result/pretrain/my_student result/pretrain/my_baseline --out curves.png",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run")
    parser.add_argument("--out", metavar="PNG", type=Path, default=Path("curves.png"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    check_writable(args.out, "--out", folder=False)
    print(draw(_labels(args.runs), args.out))
    return 0


def _labels(folders: Sequence[Path]) -> dict[str, Path]:
    """Each run by the last part of its path, or by as many as tell it from the others."""
    whole = list(dict.fromkeys(folder.resolve() for folder in folders))
    for parts in range(1, max(len(folder.parts) for folder in whole) + 1):
        found = {"/".join(folder.parts[-parts:]): folder for folder in whole}
        if len(found) == len(whole):
            break
    return found


def draw(runs: Mapping[str, Path], out: Path) -> Path:
    """Draws the loss and, per target layer, held-out L1 and cosine of all runs into one PNG.

    Args:
        runs: label to folder.
        out: the PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    train = {label: read_metrics(folder, "train") for label, folder in runs.items()}
    valid = {label: read_metrics(folder, "valid") for label, folder in runs.items()}
    panels = {"loss": "loss"}
    names = {name for run in (*valid.values(), *train.values()) for entry in run.values() for name in entry}
    for kind, title in (("l1_layer", "held-out L1"), ("cosine_layer", "held-out cosine")):
        if any(name.startswith(kind) for name in names):
            panels[kind] = title
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5.2 * len(panels), 4.2), layout="constrained")
    for axis, (kind, title) in zip(axes.flat if len(panels) > 1 else [axes], panels.items(), strict=True):
        for index, label in enumerate(runs):
            shown = label.replace("$", r"\$").lstrip("_")  # matplotlib would read mathematics, and leave _ out
            _draw_run(axis, kind, shown, f"C{index}", train[label], valid[label])
        axis.set(title=title, xlabel="optimiser step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    with replacing(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)
    return out


def _draw_run(
    axis: Any,
    kind: str,
    label: str,
    colour: str,
    train: Mapping[int, Mapping[str, float]],
    valid: Mapping[int, Mapping[str, float]],
) -> None:
    if kind == "loss":
        axis.plot(
            list(train),
            [entry.get("loss", math.nan) for entry in train.values()],
            color=colour,
            alpha=0.4,
            label=f"{label}, train",
        )
        axis.plot(
            list(valid),
            [entry.get("loss", math.nan) for entry in valid.values()],
            color=colour,
            marker="o",
            label=f"{label}, held out",
        )
        return
    layers = sorted(
        {
            int(match[1])
            for entry in valid.values()
            for name in entry
            if (match := re.fullmatch(rf"{kind}(\d{{1,3}})", name))
        }
    )
    for layer, style in zip(layers, ("-", "--", ":", "-.") * len(layers), strict=False):
        values = [entry.get(f"{kind}{layer}", math.nan) for entry in valid.values()]
        axis.plot(list(valid), values, style, color=colour, marker=".", label=f"{label}, layer {layer}")
