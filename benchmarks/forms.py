"""Forms of the student under one recipe: held-out distance of each, and scores if tasks are named.

    gendistiller corpus data/medium --size medium --seed 100
    gendistiller corpus data/small --size small
    python benchmarks/forms.py --speech data/medium/LibriSpeech --data data/small --forms gendistiller recur history_all

A form is `gendistiller` or `distilhubert` as in benchmarks/matched.py, or ablations of pretrain_configs/ and YAML files
that state a difference, joined by +. Distances are those of the layerwise objective, whatever objective a form was
trained with. A repeated command continues an interrupted one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from miniature.forms import form, form_name
from miniature.recipe import TARGETS, Miniature, add_arguments, from_arguments
from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.models import find_models
from s3prl_gendistiller.superb.suite.table import COST_HEADER, markdown, mean_and_spread

Runs = dict[str, dict[int, Path]]  # form -> seed -> the run's folder


def distil(place: Miniature, texts: list[str], steps: int, seeds: list[int], rates: list[float]) -> Runs:
    """Distils every form with every seed, and at every learning rate if there are several."""
    forms = {form_name(text): form(text) for text in texts}
    experiments = {
        (lr, seed): place.experiment(f"steps{steps}_lr{lr:g}_seed{seed}", forms, lr=lr, seed=seed, steps=steps)
        for lr, seed in itertools.product(rates, seeds)
    }
    place.distil([(experiment, name) for experiment in experiments.values() for name in forms])
    return {
        f"{name}-lr{lr:g}" if len(rates) > 1 else name: {seed: experiments[lr, seed].folder / name for seed in seeds}
        for name, lr in itertools.product(forms, rates)
    }


def distances(place: Miniature, runs: Runs) -> str:
    """The table: L1 and cosine of each layer that all forms have as target, means over the seeds with their spread."""
    rows = []
    for name, seeds in runs.items():
        found = [place.distance(run) for run in seeds.values()]
        parameters, gmacs = multiply_adds.size(find_models([f"{name}={next(iter(seeds.values()))}"])[0])
        row = [name, f"{parameters:,}", f"{gmacs:.3f}"]
        for measure in (*(f"l1_layer{layer}" for layer in TARGETS), *(f"cosine_layer{layer}" for layer in TARGETS)):
            row.append(mean_and_spread([values[measure] for values in found if measure in values], 4))
        of_targets = [
            sum(values[f"{part}_layer{layer}"] for part in ("l1", "cosine_loss") for layer in TARGETS) / len(TARGETS)
            for values in found
            if all(f"l1_layer{layer}" in values for layer in TARGETS)
        ]
        rows.append([*row, mean_and_spread(of_targets, 4)])
    header = ["form", *COST_HEADER[:2], *(f"{kind}, layer {layer}" for kind in ("L1", "cosine") for layer in TARGETS)]
    return markdown([[*header, "layerwise loss"], *rows])


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "result/forms")
    parser.add_argument("--forms", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rates", type=float, nargs="+", default=[4e-3], help="of the distillation")
    args = parser.parse_args(argv)
    compat.apply()
    place = from_arguments(args)
    runs = distil(place, args.forms, args.steps, args.seeds, args.rates)
    text = distances(place, runs)
    (args.out / "forms.md").write_text(text, encoding="utf-8")
    print(text, flush=True)
    draw({name: next(iter(seeds.values())) for name, seeds in runs.items()}, args.out / "forms.png")
    if args.tasks:
        place.suite([f"{name}.{seed}={run}" for name, seeds in runs.items() for seed, run in seeds.items()], "superb")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
