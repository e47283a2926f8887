"""SUPERB's ten tasks: s3prl's name of each, its configurations, its metrics, and what else it needs.

Protocol: SUPERB (arXiv 2105.01051) and s3prl's downstream/docs/superb.md. The checkpoint that is best on dev is tested;
ASV has no dev set and reports the best of its checkpoints; ER is the mean of five folds; QbE trains nothing and takes
the layer that is best on dev.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from s3prl_gendistiller.errors import UserError

PRESETS = ("small", "official")


@dataclass(frozen=True)
class Metric:
    """One number of a task.

    Attributes:
        key: in results.json.
        label: in tables, with its unit.
        higher_is_better: the direction.
        printed: what stands between split and colon in s3prl's output; empty where `scores` computes it.
        factor: from what s3prl prints to the unit of `label`.
    """

    key: str
    label: str
    higher_is_better: bool
    printed: str = ""
    factor: float = 100.0


@dataclass(frozen=True)
class Task:
    """One of the ten.

    Attributes:
        name: SUPERB's, in lower case; also the extra of this package with what the task imports.
        title: in words.
        downstream: s3prl's ``-d``.
        configs: by preset, below downstream_runs/.
        metrics: the first one chooses learning rate (and layer) on dev.
        dev, test: s3prl's names of the splits.
        best: checkpoint that the expert saves when dev improves; empty for none.
        rates: by preset, the learning rates that a search tries; "official" decades of SUPERB's 1e-1 .. 1e-7 around
            those that are known to have won (s3prl issues 268, 360, 498, 578; LightHuBERT's issue 2).
        modules: imported by s3prl's expert beyond what this package requires.
        folds: the values of `test_fold`, each a run of its own.
        trained: whether anything is trained; if not, each layer of the student is looked at (``-l``).
        crops: presets in which it trains on random pieces of utterances, so that few are heard twice.
        cost: how long it takes, relative to the others: long ones start first.
    """

    name: str
    title: str
    downstream: str
    configs: tuple[str, str]
    metrics: tuple[Metric, ...]
    dev: str = "dev"
    test: str = "test"
    best: str = "dev-best.ckpt"
    rates: tuple[tuple[float, ...], tuple[float, ...]] = ((1e-2, 3e-3, 1e-3), (1e-1, 1e-2, 1e-3, 1e-4, 1e-5))
    modules: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    trained: bool = True
    crops: tuple[str, ...] = ()
    cost: int = 1

    def config(self, preset: str) -> str:
        """The configuration of a preset, below downstream_runs/."""
        return self.configs[PRESETS.index(preset)]

    def learning_rates(self, preset: str) -> tuple[float, ...]:
        """What a search tries."""
        return self.rates[PRESETS.index(preset)]


def _pair(folder: str) -> tuple[str, str]:
    return f"{folder}/small.yaml", f"{folder}/config.yaml"


_ACCURACY = (Metric("acc", "acc %", True, "acc"),)
_READING = ((1e-2, 3e-3, 1e-3), (1e-2, 1e-3, 1e-4, 1e-5))  # recurrent heads

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="pr",
            title="phoneme recognition",
            downstream="ctc",
            configs=("ctc/libriphone_small.yaml", "ctc/libriphone.yaml"),
            metrics=(Metric("per", "PER %", False, "per"),),
            cost=3,
        ),
        Task(
            name="asr",
            title="speech recognition",
            downstream="asr",
            configs=_pair("asr"),
            metrics=(Metric("wer", "WER %", False, "wer", 1.0), Metric("uer", "letter error %", False, "uer", 1.0)),
            dev="dev-clean",
            test="test-clean",
            best="dev-clean-best.ckpt",
            rates=_READING,
            cost=4,
        ),
        Task("ks", "keyword spotting", "speech_commands", _pair("speech_commands"), _ACCURACY),
        Task(
            name="qbe",
            title="query by example",
            downstream="quesst14_dtw",
            configs=_pair("quesst14_dtw"),
            metrics=(Metric("mtwv", "MTWV x100", True),),
            best="",
            modules=("dtw", "lxml", "scipy"),
            trained=False,
            cost=3,
        ),
        Task(
            "sid",
            "speaker identification",
            "voxceleb1",
            _pair("voxceleb1"),
            _ACCURACY,
            modules=("librosa",),
            crops=("official",),
            cost=2,
        ),
        Task(
            name="asv",
            title="speaker verification",
            downstream="sv_voxceleb1",
            configs=_pair("sv_voxceleb1"),
            metrics=(Metric("eer", "EER %", False, "EER"),),
            best="",
            rates=((3e-3, 1e-3, 3e-4), (1e-3, 1e-4, 1e-5)),  # s3prl's authors found 1e-4 to be always the best
            modules=("joblib", "librosa", "scipy", "sklearn", "sox"),
            crops=("official",),
            cost=3,
        ),
        Task(
            name="sd",
            title="speaker diarization",
            downstream="diarization",
            configs=_pair("diarization"),
            metrics=(Metric("der", "DER %", False),),
            best="best-states-dev.ckpt",
            rates=_READING,
            modules=("h5py", "scipy"),
            cost=3,
        ),
        Task("ic", "intent classification", "fluent_commands", _pair("fluent_commands"), _ACCURACY),
        Task(
            name="sf",
            title="slot filling",
            downstream="ctc",
            configs=("ctc/snips_small.yaml", "ctc/snips.yaml"),
            metrics=(
                Metric("f1", "slot F1 %", True, "slot_type_f1"),
                Metric("cer", "slot CER %", False, "slot_value_cer"),
            ),
            rates=_READING,
            cost=4,
        ),
        Task(
            name="er",
            title="emotion recognition",
            downstream="emotion",
            configs=_pair("emotion"),
            metrics=_ACCURACY,
            folds=tuple(f"fold{number}" for number in range(1, 6)),
            cost=5,
        ),
    )
}


def choose_tasks(names: Sequence[str]) -> list[Task]:
    """Tasks by name; "all" is the ten.

    Raises:
        UserError: a name is unknown; it says which is close.
    """
    chosen: dict[str, Task] = {}
    for name in names:
        if name.lower() == "all":
            chosen.update(TASKS)
            continue
        if name.lower() not in TASKS:
            raise UserError(f"--tasks: found {name!r}, expected {', '.join(TASKS)} or all{_suggestion(name)}")
        chosen[name.lower()] = TASKS[name.lower()]
    return list(chosen.values())


def require_packages(tasks: Sequence[Task]) -> None:
    """
    Raises:
        UserError: a task's expert imports what is not installed; it names the extras that bring it.
    """
    missing = {
        task.name: [module for module in task.modules if importlib.util.find_spec(module) is None] for task in tasks
    }
    lines = [f"{name} needs {', '.join(modules)}" for name, modules in missing.items() if modules]
    if lines:
        extras = ",".join(name for name, modules in missing.items() if modules)
        raise UserError(f'{"; ".join(lines)}; install: pip install "s3prl-gendistiller[{extras}]"')


def _suggestion(name: str) -> str:
    words = {alias: task.name for task in TASKS.values() for alias in (task.name, task.title, task.downstream)}
    close = difflib.get_close_matches(name.lower(), words, n=1, cutoff=0.5)
    return f"; did you mean {words[close[0]]} ({TASKS[words[close[0]]].title})?" if close else ""
