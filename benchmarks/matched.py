"""The matched table: GenDistiller beside DistilHuBERT, their teacher, the teacher with random weights, and FBANK.

    gendistiller corpus data/medium --size medium --seed 100
    gendistiller corpus data/small --size small
    python benchmarks/matched.py --speech data/medium/LibriSpeech --data data/small --out result/matched

Both students have one recipe: teacher, speech, batches, crops, steps. The learning rate of the distillation is searched
once for each kind of student: the one with the lowest held-out loss with the first seed. With --lr-search, the learning
rates of the ten tasks are chosen on dev, also once for each kind. Then all seeds are distilled and evaluated. A
repeated command continues an interrupted one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miniature.ablation import tables
from miniature.control import over_seeds
from miniature.forms import CONTENDERS
from miniature.recipe import Miniature, add_arguments, from_arguments
from miniature.scores import Form
from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.superb.suite.table import markdown

RATES = (2e-3, 4e-3, 8e-3)


def distil(place: Miniature, steps: int, seeds: list[int], rates: list[float]) -> dict[str, dict[int, Path]]:
    """Kind -> seed -> the run's folder."""
    best = searched_rates(place, steps, seeds[0], rates)
    turns = [
        (place.experiment(f"seed{seed}", CONTENDERS, lr=best[kind], seed=seed, steps=steps), kind)
        for seed, kind in itertools.product(seeds, CONTENDERS)
    ]
    place.distil(turns)
    runs: dict[str, dict[int, Path]] = {kind: {} for kind in CONTENDERS}
    for experiment, kind in turns:
        runs[kind][experiment.recipe.seed] = experiment.folder / kind
    return runs


def searched_rates(place: Miniature, steps: int, seed: int, rates: list[float]) -> dict[str, float]:
    """For each kind of student the learning rate with the lowest held-out loss after a quarter of the steps."""
    if len(rates) == 1:
        return dict.fromkeys(CONTENDERS, rates[0])
    steps = max(steps // 4, 24)
    experiments = {lr: place.experiment(f"search/lr{lr:g}", CONTENDERS, lr=lr, seed=seed, steps=steps) for lr in rates}
    place.distil([(experiment, kind) for experiment in experiments.values() for kind in CONTENDERS])
    best = {}
    for kind in CONTENDERS:
        found = {lr: held_out({kind: {0: e.folder / kind}})[kind]["loss"][0] for lr, e in experiments.items()}
        best[kind] = min(found, key=lambda lr: found[lr])
        print(f"{kind}: held-out loss by learning rate {found}; {best[kind]:g} is taken", flush=True)
    return best


def held_out(runs: Mapping[str, Mapping[int, Path]]) -> dict[str, dict[str, list[float]]]:
    """Kind -> measure -> value of each seed, on held-out speech."""
    found: dict[str, dict[str, list[float]]] = {}
    for kind, seeds in runs.items():
        for run in seeds.values():
            last = list(read_metrics(run, "valid").values())[-1]
            for name, value in last.items():
                if name.startswith(("loss", "l1_layer", "cosine_layer")):
                    found.setdefault(kind, {}).setdefault(name, []).append(value)
    return found


def comparison(
    results: Mapping[str, Any], suite: Path, seeds: Sequence[int], distance: Mapping[str, Mapping[str, list[float]]]
) -> str:
    """The two kinds of student: their distances on held-out speech, then the tables of an ablation.

    Args:
        results: content of results.json of the folder `suite`.
        distance: as `held_out` returns it, over these seeds.
    """
    first, control = CONTENDERS
    rows = [["measure", "seeds", first, control, "difference", f"{first} is"]]
    for name, ours in distance[first].items():
        arrow = "↑" if name.startswith("cosine") else "↓"
        rows.append([f"{name} {arrow}", *over_seeds(ours, distance[control][name], 3)])
    forms = {kind: Form([f"{kind}.{seed}" for seed in seeds], distance[kind]["loss"]) for kind in CONTENDERS}
    return f"{markdown(rows)}\n{tables(results, suite, forms, control)}"


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "result/matched")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=RATES,
        help="learning rates to search; a single one is taken as it is",
    )
    parser.add_argument("--features", nargs="+", default=["weighted", "last"])
    args = parser.parse_args(argv)
    compat.apply()
    place = from_arguments(args)
    runs = distil(place, args.steps, args.seeds, list(args.rates))
    for seed in args.seeds:
        draw({kind: seeds[seed] for kind, seeds in runs.items()}, args.out / f"seed{seed}.png")
    students = [f"{kind}.{seed}={run}" for kind, seeds in runs.items() for seed, run in seeds.items()]
    for features in args.features:
        folder = f"superb_{features}"
        results = place.suite(students, folder, features)
        text = comparison(results, args.out / folder, args.seeds, held_out(runs))
        (args.out / f"comparison_{features}.md").write_text(text, encoding="utf-8")
        print(f"\n{features}\n{text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
