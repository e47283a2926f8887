"""One run: trained, also in parts, evaluated, and written down.

A run is an experiment folder of s3prl with two files more: `superb.json`, written whole after each finished part, and
the output of its commands. A run that was killed while it trained goes on from its newest whole checkpoint. A search
that trains in parts adds ``stages`` to the record: steps -> what was reached on dev, and the seconds it took.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from s3prl_gendistiller.superb.checks import AMOUNT, MAPPING, NUMBER, NUMBERS, TEXT, or_null, shown, unquoted, wrong
from s3prl_gendistiller.superb.suite.suite import RUNS, Run, Suite
from s3prl_gendistiller.superb.tasks import printed as metrics

RECORD = "superb.json"
TRAIN_LOG, TEST_LOG = "superb_train.log", "superb_test.log"
DEV_TRIALS = "dev_trials.txt"
_EVALUATED = ("tested", "dev", "tested_lm")

logger = logging.getLogger(__name__)

Launch = Callable[[Sequence[str], Path], None]
"""Runs run_downstream.py with arguments and writes its output to a file; raises UserError if it fails."""


def train(run: Run, launch: Launch) -> dict[str, Any]:
    """Trains a run to its end, from wherever it stands, and returns its record."""
    record = read_record(run)
    if "trained" in record:
        return record
    # what a search has begun would take its own, smaller number of steps from the checkpoint
    total = run.suite.content(run.task)["runner"]["total_steps"] if "stages" in record else None
    at_end = "seconds" in record.get("stages", {}).get(str(total), {})
    seconds = 0.0 if at_end else _train(run, launch, record, total)
    dev = metrics.best_on_dev(run.task, _text(run, TRAIN_LOG))
    return _write_record(run, {**record, "trained": {"dev": _finite(dev), "seconds": seconds}})


def dev_value(run: Run, launch: Launch) -> float:
    """What a run reaches on dev, trained to its end; NaN if that was never a number."""
    record = train(run, launch)
    value = record["trained"]["dev"]
    if value is None and not run.task.best:  # ASV: s3prl evaluates nothing on dev
        try:
            value = test(run, launch, write_dev_trials(run), part="dev")["dev"]["values"][run.task.metrics[0].key]
        except metrics.NoNumber:
            return math.nan
    evaluated = metrics.best_on_dev(run.task, _text(run, TRAIN_LOG)) if value is None else value
    return _known(run, evaluated)


def dev_value_after(run: Run, launch: Launch, steps: int) -> float:
    """What a run reaches on dev within a number of steps, at which s3prl saves a checkpoint; NaN if no number."""
    record = read_record(run)
    stages = record.get("stages", {})
    stage = dict(stages.get(str(steps), {}))
    if "dev" in stage:
        return _read(stage["dev"])
    if "trained" not in record and "seconds" not in stage:
        # `stages` stands there before the training begins: see `train`
        stage["seconds"] = _train(run, launch, {**record, "stages": stages}, steps)
        record = _write_record(run, {**record, "stages": {**stages, str(steps): stage}})
    evaluations = steps // run.suite.content(run.task)["runner"]["eval_step"] if "trained" in record else None
    value = metrics.best_on_dev(run.task, _text(run, TRAIN_LOG), evaluations)
    if value is None and not run.task.best:
        checkpoint = run.folder / f"states-{steps}.ckpt"
        chosen = checkpoint if checkpoint.is_file() else _whole_checkpoint(run)
        try:
            values, seconds = _evaluate(run, launch, chosen, run.task.test, write_dev_trials(run))
            value, stage["seconds"] = values[run.task.metrics[0].key], round(stage.get("seconds", 0.0) + seconds, 1)
        except metrics.NoNumber:
            value = math.nan
    found = _known(run, value)
    stage["dev"] = _finite(found)
    _write_record(run, {**record, "stages": {**record.get("stages", {}), str(steps): stage}})
    return found


def test(
    run: Run, launch: Launch, trials: Path | None = None, part: str = "tested", lm: Path | None = None
) -> dict[str, Any]:
    """Evaluates a run and returns its record; of several checkpoints without a best one (ASV) the best counts.

    Args:
        trials: list of ASV to take instead of the test set's.
        part: of the record, what is found goes there.
        lm: folder of a language model that ASR decodes with.
    """
    record = read_record(run)
    if part in record:
        return record
    checkpoints, fallback = _checkpoints(run)
    metric = run.task.metrics[0]
    found = []
    for checkpoint in checkpoints:
        try:
            values, taken = _evaluate(run, launch, checkpoint, run.split or run.task.test, trials, lm)
        except metrics.NoNumber:
            if found or checkpoint != checkpoints[-1]:
                continue  # another one has a number, or may have
            raise
        found.append((values, taken, checkpoint, _predictions(run.folder) if len(checkpoints) > 1 else {}))
    choose = max if metric.higher_is_better else min
    values, _, checkpoint, predictions = choose(found, key=lambda one: one[0][metric.key])
    for path, content in predictions.items():  # each test writes over those of the one before
        with replacing(path) as partial:
            partial.write_bytes(content)
    tested = {"values": values, "seconds": round(sum(one[1] for one in found), 1), "fallback": fallback}
    tested["checkpoint"] = None if checkpoint is None else checkpoint.name
    return _write_record(run, {**record, part: tested})


def read_record(run: Run) -> dict[str, Any]:
    """What is finished of a run; its settings alone for a new one.

    Raises:
        UserError: the folder's record is broken, or it was made with other settings.
    """
    path = run.folder / RECORD
    settings = run.settings()
    return checked_record(path, settings) if path.is_file() else {"settings": settings}


def checked_record(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A record, of which every number is one, that was made with these settings.

    Raises:
        UserError: as `read_record`.
    """
    try:
        record = read_json(path)
        problems = list(_problems(record))
    except UserError as error:
        raise UserError(f"{error}. Remove {path.parent} to run it again") from error
    if problems:
        raise UserError(f"{path}: not readable ({problems[0]}); remove {path.parent} to run it again")
    before = record["settings"]
    changed = [key for key in settings if before.get(key) != settings[key]]
    if changed:
        raise UserError(
            f"{path.parent}: was made with another {changed[0]} (found {unquoted(before.get(changed[0]))}, now "
            f"{unquoted(settings[changed[0]])}); give another --out or another name to the student, or remove that "
            "folder"
        )
    return dict(record)


def require_own_folders(suite: Suite) -> None:
    """Before anything is done: what a suite's folder holds of its students is theirs, and made as asked for.

    Raises:
        UserError: as `read_record`, of the first folder that is not.
    """
    for student in suite.students:
        own: dict[str, Any] = {"student": student.fingerprint()}
        for path in sorted((suite.out / RUNS / student.name).glob(f"*/{RECORD}")):
            task = next((task for task in suite.tasks if path.parent.name.split("-")[0] == task.name), None)
            settings = own if task is None else {**Run(suite, student, task).settings(), "task": path.parent.name}
            checked_record(path, settings)


def _problems(record: Any) -> Iterator[str]:
    """Of the entries that are read."""
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        yield "found no settings in it"
        return
    yield from wrong(record, "", trained=MAPPING, stages=MAPPING, tested=MAPPING, dev=MAPPING, tested_lm=MAPPING)
    parts = {name: part for name, part in record.items() if name != "settings" and isinstance(part, dict)}
    stages = {f"stages.{unquoted(steps)}": stage for steps, stage in parts.pop("stages", {}).items()}
    for name, part in {**parts, **stages}.items():
        if not isinstance(part, dict):
            yield f"{name}: found {shown(part)}, expected a mapping"
            continue
        yield from wrong(part, name, seconds=AMOUNT, dev=or_null(NUMBER), fallback=or_null(TEXT), values=NUMBERS)
        if name in _EVALUATED and not {"values", "seconds", "fallback"} <= part.keys():
            yield f"{name}: found {', '.join(map(shown, part)) or 'nothing'}, expected values, seconds and fallback"
    if "trained" in parts and not {"dev", "seconds"} <= parts["trained"].keys():
        yield "trained: found no dev or no seconds in it"


def write_dev_trials(run: Run) -> Path:
    """`Task.dev_trials` as a file in the run's folder.

    Raises:
        UserError: the corpus has no such list.
    """
    text = run.task.dev_trials(run.suite.config(run.task)["downstream_expert"])
    path = run.folder / DEV_TRIALS
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def seconds_of(record: dict[str, Any]) -> float:
    """That all finished parts of a run took."""
    parts = [part for part in record.values() if isinstance(part, dict)]
    return sum(part["seconds"] for part in [*parts, *record.get("stages", {}).values()] if "seconds" in part)


def _train(run: Run, launch: Launch, record: dict[str, Any], steps: int | None) -> float:
    found = sorted(run.folder.glob("states-*.ckpt"))
    if found and newest_checkpoint(run.folder) is None:
        if len(found) > 1:  # a kill breaks the one that is being written, and no other
            raise UserError(
                f"{run.folder}: was left with {len(found)} checkpoints and none of them is whole ({found[-1].name}); "
                "remove the folder to train it again; other runs are not touched"
            )
        logger.warning("%s: was killed while it wrote its only checkpoint; it begins again", run.folder)
        for path in (found[0], run.folder / TRAIN_LOG):  # the log holds what the killed run reached on dev
            path.unlink(missing_ok=True)
    _write_record(run, record)  # before it starts: what a killed run leaves is this student's and no other's
    return _timed(launch, run.train_command(steps), run.folder / TRAIN_LOG)


def _evaluate(
    run: Run, launch: Launch, checkpoint: Path | None, split: str, trials: Path | None = None, lm: Path | None = None
) -> tuple[dict[str, float], float]:
    """One checkpoint's metrics, and the seconds that they took."""
    log = run.folder / TEST_LOG
    log.unlink(missing_ok=True)
    seconds = _timed(launch, run.test_command(checkpoint, split, trials, lm), log)
    config = run.suite.config(run.task)
    return metrics.evaluated(run.task, run.folder, _text(run, TEST_LOG), config, split), seconds


def _checkpoints(run: Run) -> tuple[Sequence[Path | None], str | None]:
    if not run.task.trained:
        return [None], None
    if run.task.best and (run.folder / run.task.best).is_file():
        return [run.folder / run.task.best], None
    newest = _whole_checkpoint(run)
    if run.task.best:  # s3prl saves none as long as dev is not better than nothing at all
        return [newest], f"dev never became better than nothing, so {newest.name} was tested"
    return sorted(run.folder.glob("states-*.ckpt")), None


def _predictions(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("test_*.txt")}


def _whole_checkpoint(run: Run) -> Path:
    newest = newest_checkpoint(run.folder)
    if newest is None:
        raise UserError(f"{run.folder}: holds no whole checkpoint to test; remove the folder to train it again")
    return newest


def _finite(value: float | None) -> float | None:
    """As JSON has it, which knows no NaN."""
    return None if value is None or not math.isfinite(value) else value


def _read(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _known(run: Run, value: float | None) -> float:
    if value is None:
        raise UserError(f"{run.folder}: nothing was evaluated on {run.task.dev} while it trained; look at {TRAIN_LOG}")
    return float(value)


def _write_record(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    with replacing(run.folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return record


def _text(run: Run, log: str) -> str:
    return (run.folder / log).read_text(encoding="utf-8", errors="replace")


def _timed(launch: Launch, arguments: Sequence[str], log: Path) -> float:
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    launch(arguments, log)
    return round(time.monotonic() - started, 1)
