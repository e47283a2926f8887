"""The matched table: GenDistiller beside DistilHuBERT, their teacher, the teacher with random weights, and FBANK.

    gendistiller corpus data/medium --size medium --seed 100
    gendistiller corpus data/small --size small
    python benchmarks/matched.py --speech data/medium/LibriSpeech --data data/small --out result/matched

One recipe for both students: teacher, speech, batches, crops, steps. The learning rate of the distillation is the one
that reaches the lowest held-out loss with the first seed, searched once for each kind; with --lr-search those of the
ten tasks are chosen on dev, also once for each kind. Then all seeds. The command goes on where it was stopped and
repeats nothing.

With --screen it distils forms of the student instead, and compares their held-out distance: `gendistiller`,
`distilhubert`, names of pretrain_configs/ablations/, or YAML files that state a difference; with --tasks too, also on
these tasks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.cli.experiment import Contender, Experiment, Recipe, contender
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.distill.random_teacher import write_random_like
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.table import markdown, mean_and_spread
from s3prl_gendistiller.superb.tasks import TASKS

# The shipped configurations but for two things that the screening found (RESULTS.md): the teacher's second layer is the
# better start for GenDistiller's shared one, and the baseline, too, is better without dropout.
CONTENDERS = {
    "gendistiller": contender("warm_layer_2"),
    "distilhubert": contender("distilhubert_no_dropout"),
}
TARGETS = (2, 4, 6)
RATES = (2e-3, 4e-3, 8e-3)


class Matched:
    """Everything below one folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out: Path = args.out.absolute()
        self.teacher = shipped_folder("teachers") / "hubert_mini"
        self.random = self.out / "random_teacher"
        self.threads = max(1, (os.cpu_count() or 1) // args.jobs)

    def recipe(self, lr: float, seed: int, steps: int) -> Recipe:
        speech = str(self.args.speech.absolute())
        datarc: dict[str, Any] = {
            **{"libri_root": speech, "file_path": f"{speech}/len_for_bucket"},
            **{"sets": ["train-clean-100"], "valid_sets": ["dev-clean"]},
            **{"train_batch_size": 8, "num_workers": 0, "crop_samples": 48_000, "valid_step": max(steps // 3, 1)},
        }
        return Recipe(self.args.data, self.teacher, TARGETS, datarc, steps, lr, 0, seed)

    def experiment(
        self, lr: float, seed: int, steps: int, folder: Path, contenders: dict[str, Contender] = CONTENDERS
    ) -> Experiment:
        return Experiment(self.recipe(lr, seed, steps), contenders, folder, self.threads)

    def distil(self) -> dict[str, dict[int, Path]]:
        """Kind -> seed -> the run's folder."""
        rates = self.searched_rates()
        turns = [
            (self.experiment(rates[kind], seed, self.args.steps, self.out / f"seed{seed}"), kind)
            for seed, kind in itertools.product(self.args.seeds, CONTENDERS)
        ]
        self.distil_all(turns)
        runs: dict[str, dict[int, Path]] = {kind: {} for kind in CONTENDERS}
        for experiment, kind in turns:
            runs[kind][experiment.recipe.seed] = experiment.folder / kind
        return runs

    def searched_rates(self) -> dict[str, float]:
        """For each kind the learning rate with the lowest held-out loss after a quarter of the steps."""
        if len(self.args.rates) == 1:
            return dict.fromkeys(CONTENDERS, float(self.args.rates[0]))
        seed, steps = self.args.seeds[0], max(self.args.steps // 4, 24)
        experiments = {
            lr: self.experiment(lr, seed, steps, self.out / "search" / f"lr{lr:g}") for lr in self.args.rates
        }
        self.distil_all([(experiment, kind) for experiment in experiments.values() for kind in CONTENDERS])
        best = {}
        for kind in CONTENDERS:
            found = {lr: held_out({kind: {0: e.folder / kind}})[kind]["loss"][0] for lr, e in experiments.items()}
            best[kind] = float(min(found, key=lambda lr: found[lr]))
            print(f"{kind}: held-out loss by learning rate {found}; {best[kind]:g} is taken", flush=True)
        return best

    def distil_all(self, turns: Sequence[tuple[Experiment, str]]) -> None:
        """`--jobs` at a time, which share the cores: small steps leave most of a second core idle."""
        with ThreadPoolExecutor(self.args.jobs) as pool:
            list(pool.map(lambda turn: turn[0].distil(turn[1]), turns))

    def screen(self, forms: Sequence[str]) -> str:
        """Distils every form at every learning rate with every seed; the table of their held-out distances."""
        contenders = {Path(form).stem: CONTENDERS.get(form) or contender(form) for form in forms}
        experiments = {
            (lr, seed): self.experiment(
                lr, seed, self.args.steps, self.out / "screen" / f"lr{lr:g}_seed{seed}", contenders
            )
            for lr, seed in itertools.product(self.args.rates, self.args.seeds)
        }
        self.distil_all([(experiment, name) for experiment in experiments.values() for name in contenders])
        several = len(self.args.rates) > 1
        runs = {
            f"{name}-lr{lr:g}" if several else name: {
                seed: experiments[lr, seed].folder / name for seed in self.args.seeds
            }
            for name, lr in itertools.product(contenders, self.args.rates)
        }
        rows: list[list[str]] = []
        for name, seeds in runs.items():
            distance = held_out({name: seeds})[name]
            student = load_student(newest_checkpoint(next(iter(seeds.values()))) or "")
            parameters = sum(parameter.numel() for parameter in student.parameters())
            rows.append([name, f"{parameters:,}", *(mean_and_spread(values, 4) for values in distance.values())])
        draw({name: next(iter(seeds.values())) for name, seeds in runs.items()}, self.out / "screen.png")
        if self.args.tasks:
            for features in self.args.features:
                self.suite(runs, features)
        return markdown([["form", "parameters", *distance], *rows])

    def suite(self, runs: dict[str, dict[int, Path]], features: str) -> dict[str, Any]:
        """`gendistiller superb` over everything; its results."""
        out = self.out / f"superb_{features}"
        if not self.random.exists():
            write_random_like(self.teacher, self.random)
        students = ["fbank", f"teacher={self.teacher}", f"random={self.random}"]
        students += [f"{kind}.{seed}={run}" for kind, seeds in runs.items() for seed, run in seeds.items()]
        command = ["superb", "--out", str(out), "--features", features]
        command += [part for student in students for part in ("--student", student)]
        command += ["--tasks", *(self.args.tasks or ["all"]), *(["--lr-search"] if self.args.lr_search else [])]
        command += [part for rates in self.args.task_lr for part in ("--lr", rates)]
        if self.args.cache_features is not None:
            command += ["--cache-features", str(self.args.cache_features)]
        os.environ["SUPERB_DATA"] = str(self.args.data.absolute())
        print(f"$ gendistiller {' '.join(command)}", flush=True)
        if main(command):
            raise UserError(f"{out}: the suite is not complete; the same command goes on from there")
        return dict(json.loads((out / "results.json").read_text(encoding="utf-8")))


def held_out(runs: Mapping[str, Mapping[int, Path]]) -> dict[str, dict[str, list[float]]]:
    """Kind -> measure -> value of each seed, on speech that no student was distilled on."""
    found: dict[str, dict[str, list[float]]] = {}
    for kind, seeds in runs.items():
        for run in seeds.values():
            last = list(read_metrics(run, "valid").values())[-1]
            for name, value in last.items():
                if name.startswith(("loss", "l1_layer", "cosine_layer")):
                    found.setdefault(kind, {}).setdefault(name, []).append(value)
    return found


def comparison(results: dict[str, Any], distance: dict[str, dict[str, list[float]]]) -> str:
    """The two kinds: means, standard deviations, and whether every seed of one beats every seed of the other."""
    rows = [["measure", *CONTENDERS, "better", "seeds apart"]]
    for name in distance["gendistiller"]:
        rows.append(_compared(name, [distance[kind][name] for kind in CONTENDERS], name.startswith("cosine"), 3))
    for task in TASKS.values():
        for metric in task.metrics:
            values = [
                [
                    student["tasks"][task.name]["values"][metric.key]
                    for student in results["students"].values()
                    if student["kind"] == kind and task.name in student["tasks"]
                ]
                for kind in CONTENDERS
            ]
            if all(values):
                rows.append(_compared(f"{task.name.upper()} {metric.label}", values, metric.higher_is_better, 2))
    return markdown(rows)


def _compared(name: str, values: list[list[float]], higher: bool, decimals: int) -> list[str]:
    means = [statistics.fmean(part) for part in values]
    cells = [mean_and_spread(part, decimals) for part in values]
    ours, theirs = values if higher else ([-value for value in part] for part in values)
    apart = min(ours) > max(theirs) or max(ours) < min(theirs)
    better = "=" if means[0] == means[1] else list(CONTENDERS)[0 if (means[0] > means[1]) == higher else 1]
    return [name, *cells, better, "yes" if apart else "no"]


def run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="LibriSpeech folder to distil on")
    parser.add_argument("--data", type=Path, required=True, help="what SUPERB_DATA is to name: the ten tasks")
    parser.add_argument("--out", type=Path, default=Path("result/matched"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--rates", type=float, nargs="+", default=RATES, help="of the distillation; one needs no search"
    )
    parser.add_argument("--tasks", nargs="+", help="default: all; with --screen none")
    parser.add_argument("--features", nargs="+", default=["weighted", "last"])
    parser.add_argument("--lr-search", action="store_true", help="of the tasks")
    parser.add_argument(
        "--task-lr", nargs="+", default=[], metavar="TASK=RATE[,RATE...]", help="of tasks, as gendistiller superb --lr"
    )
    parser.add_argument("--cache-features", metavar="DIR", type=Path, help="as gendistiller superb")
    parser.add_argument("--screen", nargs="+", metavar="FORM", help="distil these forms instead")
    parser.add_argument("--jobs", type=int, default=2, help="distillations at a time")
    args = parser.parse_args(argv)
    compat.apply()
    matched = Matched(args)
    if args.screen:
        text = matched.screen(args.screen)
        (matched.out / "screen.md").write_text(text, encoding="utf-8")
        print(text)
        return 0
    runs = matched.distil()
    for seed in args.seeds:
        draw({kind: seeds[seed] for kind, seeds in runs.items()}, matched.out / f"seed{seed}.png")
    for features in args.features:
        text = comparison(matched.suite(runs, features), held_out(runs))
        (matched.out / f"comparison_{features}.md").write_text(text, encoding="utf-8")
        print(f"\n{features}\n{text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda argv: run(list(argv)), None))
