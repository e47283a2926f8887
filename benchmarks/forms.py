"""Forms of the student under one recipe: held-out distance of each, and scores if tasks are named.

    gendistiller corpus data/medium --size medium --seed 100
    gendistiller corpus data/small --size small
    python benchmarks/forms.py --speech data/medium/LibriSpeech --data data/small --forms gendistiller recur history_all

A form is `gendistiller` or `distilhubert` as in benchmarks/matched.py, or ablations of pretrain_configs/ and YAML files
that state a difference, joined by +. Distances are those of the layerwise objective, whatever objective a form was
trained with. A repeated command continues an interrupted one.

With --tasks, the scores follow in a second file beside the same distances, with the rank correlation of the two, and
with the tasks on which each form is better than a control form, worse or level, by the intervals and p values of
`gendistiller superb --compare`. The same students can be evaluated again, with other --features or on other --data,
under another name of the suite:

    python benchmarks/forms.py --speech data/medium/LibriSpeech --data data/small --forms gendistiller mel \\
        --seeds 1 2 3 --tasks pr asr ks sid --features last --suite superb_last
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from miniature.ablation import tables
from miniature.forms import form, form_name
from miniature.recipe import TARGETS, Miniature, add_arguments, from_arguments
from miniature.scores import DISTANCE, Form
from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.models import FEATURES, NAME, find_models
from s3prl_gendistiller.superb.suite.table import COST_HEADER, markdown, mean_and_spread

Runs = dict[str, dict[int, Path]]  # form -> seed -> the run's folder
Distances = dict[str, list[dict[str, float]]]  # form -> for each seed, measure -> value


def distil(place: Miniature, texts: list[str], steps: int, seeds: list[int], rates: list[float]) -> Runs:
    """Distils every form with every seed, and at every learning rate if there are several."""
    forms = {form_name(text): form(text) for text in texts}
    experiments = {
        (lr, seed): place.experiment(f"steps{steps}_lr{lr:g}_seed{seed}", forms, lr=lr, seed=seed, steps=steps)
        for lr, seed in itertools.product(rates, seeds)
    }
    place.distil([(experiment, name) for experiment in experiments.values() for name in forms])
    return {
        run_name(text, lr, rates): {seed: experiments[lr, seed].folder / form_name(text) for seed in seeds}
        for text, lr in itertools.product(texts, rates)
    }


def run_name(text: str, rate: float, rates: Sequence[float]) -> str:
    """Name of a form in the tables: with its learning rate if there are several."""
    return f"{form_name(text)}-lr{rate:g}" if len(rates) > 1 else form_name(text)


def layerwise_losses(found: Sequence[dict[str, float]]) -> list[float]:
    """Layerwise loss over the layers that all forms have as target, of those seeds that have them all."""
    return [
        sum(values[f"{part}_layer{layer}"] for part in ("l1", "cosine_loss") for layer in TARGETS) / len(TARGETS)
        for values in found
        if all(f"l1_layer{layer}" in values for layer in TARGETS)
    ]


def distance_table(runs: Runs, distances: Distances) -> str:
    """The table: L1 and cosine of each layer that all forms have as target, means over the seeds with their spread."""
    rows = []
    for name, seeds in runs.items():
        parameters, gmacs = multiply_adds.size(find_models([f"{name}={next(iter(seeds.values()))}"])[0])
        row = [name, f"{parameters:,}", f"{gmacs:.3f}"]
        for measure in (*(f"l1_layer{layer}" for layer in TARGETS), *(f"cosine_layer{layer}" for layer in TARGETS)):
            row.append(mean_and_spread([values[measure] for values in distances[name] if measure in values], 4))
        rows.append([*row, mean_and_spread(layerwise_losses(distances[name]), 4)])
    header = ["form", *COST_HEADER[:2], *(f"{kind}, layer {layer}" for kind in ("L1", "cosine") for layer in TARGETS)]
    return markdown([[*header, DISTANCE], *rows])


def checked_control(args: argparse.Namespace) -> str:
    """The name of the control form, the first one if none is named.

    Raises:
        UserError: no form of the command has that name, two have the same, or the suite's name is no name of a folder.
    """
    names = [run_name(text, rate, args.rates) for text in args.forms for rate in args.rates]
    control = names[0] if args.control is None else form_name(args.control)
    taken = sorted({name for name in names if names.count(name) > 1})
    problems = [f"--forms: found {name} more than once, expected a name of its own for each form" for name in taken]
    if control not in names:
        problems.append(f"--control: found {args.control}, expected one of {', '.join(names)}")
    if not NAME.fullmatch(args.suite):
        problems.append(f"--suite: found {args.suite!r}, expected a name of letters, digits and . + - _")
    if problems:
        raise UserError("\n".join(problems))
    return control


def tasks(place: Miniature, runs: Runs, distances: Distances, args: argparse.Namespace, control: str) -> str:
    """Evaluates all runs on the tasks; the tables of the ablation."""
    students = {f"{name}.{seed}": run for name, seeds in runs.items() for seed, run in seeds.items()}
    results = place.suite([f"{name}={run}" for name, run in students.items()], args.suite, args.features)
    forms = {
        name: Form([f"{name}.{seed}" for seed in seeds], layerwise_losses(distances[name]))
        for name, seeds in runs.items()
    }
    return tables(results, place.out / args.suite, forms, control)


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "result/forms")
    parser.add_argument("--forms", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rates", type=float, nargs="+", default=[4e-3], help="of the distillation")
    parser.add_argument("--features", choices=FEATURES, default=FEATURES[0], help="as gendistiller superb")
    parser.add_argument(
        "--suite", default="superb", help="folder of the suite below --out; another one for other --features or --data"
    )
    parser.add_argument("--control", metavar="FORM", help="form with which the others are compared; default: the first")
    args = parser.parse_args(argv)
    control = checked_control(args)
    compat.apply()
    place = from_arguments(args)
    runs = distil(place, args.forms, args.steps, args.seeds, args.rates)
    distances = {name: [place.distance(run) for run in seeds.values()] for name, seeds in runs.items()}
    text = distance_table(runs, distances)
    (args.out / "forms.md").write_text(text, encoding="utf-8")
    print(text, flush=True)
    draw({name: next(iter(seeds.values())) for name, seeds in runs.items()}, args.out / "forms.png")
    if args.tasks:
        text = tasks(place, runs, distances, args, control)
        (args.out / f"tasks_{args.suite}.md").write_text(text, encoding="utf-8")
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
