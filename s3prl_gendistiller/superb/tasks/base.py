"""The base of SUPERB's tasks: the attributes and methods that the suite, the check of corpora and the entry use.

A new task is a file beside this one with a subclass of `Task`, an instance of it named `TASK`, and a line in
`superb/tasks/__init__.py`; its configurations in downstream_runs/, its corpus in corpora/, its extra in setup.py.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.superb.corpus.sizes import Corpus, Speech
from s3prl_gendistiller.superb.tasks.items import Items, paired_lines, right_or_wrong
from s3prl_gendistiller.superb.tasks.needs import Config, Files, Listing, Need, Sources
from s3prl_gendistiller.superb.tasks.predictions import Expected, Submission
from s3prl_gendistiller.superb.tasks.statistics import Statistic

PRESETS = ("small", "mini", "official")
"""small: short trainings on small corpora. official: SUPERB's settings and corpora. mini: some of SUPERB's tasks on its
corpora, with a tenth of the steps."""
PUBLISHED_CORPORA = PRESETS[1:]
"""Presets for SUPERB's own corpora."""
WIDTH = 768
"""Width of the features in an estimate of a head's size: that of HuBERT Base. The width changes the estimate little."""
_BATCH_KEYS = ("train_batch_size", "train_batchsize", "batch_size")


@dataclass(frozen=True)
class Metric:
    """One number of a task.

    Attributes:
        key: name in results.json.
        label: name in tables, with the unit.
        printed: the word between split and colon in s3prl's output; empty where `Task.values` computes the number.
        factor: multiplier from the number that s3prl prints to the unit of `label`.
        references: the values that score 0 and 1000 on the leaderboard, in the unit of `label`; None for no part in it.
    """

    key: str
    label: str
    higher_is_better: bool
    printed: str = ""
    factor: float = 100.0
    references: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    Attributes:
        name: SUPERB's name in lower case; also the extra of this package with the packages that the task imports.
        downstream: s3prl's ``-d``, and the folder of the files `configs` and `mini` below downstream_runs/.
        metrics: the first one chooses learning rate (and layer) on dev.
        corpus: the corpus that the task reads.
        speech: seconds of audio that the task reads, of a small corpus and of SUPERB's.
        configs: the configurations of the presets small and official.
        mini: the configuration of the preset mini; empty for a task outside of this preset.
        submissions: the folders of the task in the leaderboard's archive.
        dev, test: s3prl's names of the splits.
        best: the checkpoint that the expert saves when dev improves; empty for none.
        dev_printed: the metric that a training prints on dev, where that is not the first one of `metrics`.
        rates: learning rates that a search tries, on small corpora and on SUPERB's; the second are decades of SUPERB's
            1e-1 .. 1e-7 around the rates that were best in published searches (s3prl issues 268, 360, 498, 578;
            LightHuBERT's issue 2).
        modules: the modules that s3prl's expert imports and this package does not require.
        folds: the values of `test_fold`, each a run of its own.
        trained: whether anything is trained; if not, each layer of the student is evaluated (``-l``).
        crops: presets in which a training reads random pieces of utterances, few of them twice.
        shared: a name for the utterances where several tasks read the same ones unchanged; empty for `name`.
        lm_metric: the metric of decoding with a language model; None for a task without such decoding.
        statistics: the metrics that `items` can give again, by `Metric.key`.
        cost: duration relative to the other tasks: long tasks start first.
    """

    name: str
    title: str
    downstream: str
    metrics: tuple[Metric, ...]
    corpus: Corpus
    speech: tuple[Speech, Speech]
    configs: tuple[str, str] = ("small.yaml", "config.yaml")
    mini: str = ""
    submissions: tuple[Submission, ...] = ()
    dev: str = "dev"
    test: str = "test"
    best: str = "dev-best.ckpt"
    dev_printed: Metric | None = None
    rates: tuple[tuple[float, ...], tuple[float, ...]] = ((1e-2, 3e-3, 1e-3), (1e-1, 1e-2, 1e-3, 1e-4, 1e-5))
    modules: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    trained: bool = True
    crops: tuple[str, ...] = ()
    shared: str = ""
    lm_metric: Metric | None = None
    statistics: Mapping[str, Statistic] = field(default_factory=dict)
    cost: int = 1

    @property
    def presets(self) -> tuple[str, ...]:
        """The presets that have this task."""
        return tuple(preset for preset in PRESETS if preset != "mini" or self.mini)

    def config(self, preset: str) -> str:
        """The configuration of a preset of `presets`, below downstream_runs/."""
        small, official = self.configs
        return Path(self.downstream, {"small": small, "mini": self.mini, "official": official}[preset]).as_posix()

    def learning_rates(self, preset: str) -> tuple[float, ...]:
        return self.rates[preset in PUBLISHED_CORPORA]

    def speech_of(self, preset: str) -> Speech:
        return self.speech[preset in PUBLISHED_CORPORA]

    @property
    def counted(self) -> tuple[str, ...]:
        """Keys of the metrics that count in the leaderboard's score; none for a task that the leaderboard lacks."""
        return tuple(metric.key for metric in self.metrics if metric.references is not None)

    @property
    def dev_metric(self) -> Metric:
        return self.dev_printed or self.metrics[0]

    def is_configured_by(self, config: Config) -> bool:
        """Whether a configuration of the downstream is one of this task, and not of another that shares it."""
        return True

    def need(self, config: Config) -> Need:
        """Audio and lists that a run with this configuration reads from disk.

        Raises:
            KeyError, TypeError, AttributeError: the configuration lacks a key of SUPERB's.
        """
        raise NotImplementedError

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        """Faults of present lists and folders, by what s3prl's loaders do; UserError for an unreadable list."""
        return iter(())

    def make(self, need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
        """Writes lists that are missing, all of one folder; yields one line each. Lacking sources are a UserError."""
        return iter(())

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """The ids of the test set, in the order of s3prl's loader; `fold` is of `Submission.fold`.

        Where a loader takes files in the order of the file system, ids may change places within a rank.

        Raises:
            OSError, LookupError, ValueError, TypeError, AttributeError, UserError: the corpus is not as s3prl reads it.
        """
        raise NotImplementedError

    def values(self, folder: Path, text: str, config: Config, split: str) -> dict[str, float]:
        """Metric -> number in the unit of its label, of an evaluated run; UserError if a number is not there.

        Args:
            folder: the folder of the run.
            text: the output of the evaluation.
            split: s3prl's name of the evaluated split.
        """
        found = {metric: printed_values(text, split, metric.printed) for metric in self.metrics}
        for metric, values in found.items():
            if not values:
                raise UserError(f"{self.name}: the evaluation printed no {split} {metric.printed}")
        return {metric.key: values[-1] * metric.factor for metric, values in found.items()}

    def items(self, folder: Path, config: Config) -> Items:
        """The items of an evaluated run's test, from what s3prl's expert wrote; by default those of a classifier.

        Raises:
            UserError: a file is missing or holds something else, or the task keeps no items.
            OSError, LookupError, ValueError, TypeError: as in `test_set`.
        """
        known = [one for one in self.submissions if one.truth]
        if not self.statistics or not known:
            raise UserError(f"{self.name}: keeps no items of its test")
        written = next((one for one in known if (folder / one.source).is_file()), known[0])
        separator = "," if written.source.endswith(".csv") else " "
        return right_or_wrong(paired_lines(folder / written.source, folder / written.truth, separator))

    def dev_trials(self, config: Config) -> str:
        """A list of trials on dev, where s3prl evaluates on the test set alone; UserError if the corpus has none."""
        raise NotImplementedError

    def head_parameters(self, config: Config) -> int:
        """Weights in the matrices of s3prl's head on features `WIDTH` wide, without biases and a small last layer."""
        model = config.get("modelrc") or config["model"]
        width = model.get("project_dim") or model["projector_dim"]
        parameters = WIDTH * width
        for dim in model["RNNs"]["dim"] if model.get("select") == "RNNs" else ():
            parameters += 2 * 4 * dim * (width + dim)
            width = 2 * dim
        return int(parameters)

    def batch_utterances(self, config: Config) -> int:
        sections: list[Mapping[str, int]] = [config.get(name, {}) for name in ("datarc", "loaderrc", "corpus")]
        return int(next(section[key] for section in sections for key in _BATCH_KEYS if key in section))

    def splits(self, section: Config) -> list[str]:
        """The folders of training, dev and test set in a section of the configuration that lists them by split."""
        return [split for key in ("train", self.dev, self.test) for split in section[key]]


def require_packages(tasks: Sequence[Task]) -> None:
    """UserError if a module that s3prl's expert of a task imports is not installed; names the extras that bring it."""
    missing = {}
    for task in tasks:
        if modules := [module for module in task.modules if importlib.util.find_spec(module) is None]:
            missing[task.name] = f"{task.name} needs {', '.join(modules)}"
    if missing:
        command = f'pip install "s3prl-gendistiller[{",".join(missing)}]"'
        raise UserError(f"{'; '.join(missing.values())}; install: {command}")
