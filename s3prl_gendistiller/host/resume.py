"""Checks of a run that goes on: the keys that `-o` may change, and whether teacher, speech and position in the data
are those of the checkpoint.

Each change by `-o` takes effect, or is refused before anything is loaded.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.config_optimizer import IGNORED, OptimizedConfig
from s3prl_gendistiller.config_runner import DataConfig, RunnerConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import student_kind
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.host.students import check_size
from s3prl_gendistiller.schema import check_present, from_dict
from s3prl_gendistiller.spellings import ROOT, other_name
from s3prl_gendistiller.student_kinds import kind_of_weights, read_model_config

ANOTHER = "leave it out, or begin another run with -n"
ARGUMENTS = ("device", "expdir", "multi_gpu")
"""Arguments that pretraining reads after those of the checkpoint have replaced the command's."""
HEAD = ("modelrc", "model", "text")  # sections that decide the shape of a downstream head
SPEECH = ("sets", "file_path", ROOT)

logger = logging.getLogger(__name__)


def check_changes(stored: dict[str, Any], checkpoint: Path, overrides: Overrides) -> None:
    """UserError that names each change by ``-o`` which a run that goes on from a checkpoint cannot make.

    `stored` is the content of `checkpoint`, of either Runner.
    """
    check_sections(stored, checkpoint)
    before: dict[str, Any] = stored["Config"]
    after = overrides.apply(before)
    if kind_of_weights(stored) is not None:
        kind = student_kind(stored, checkpoint)
        check_size(read_model_config(kind.name, stored["Upstream_Config"]).student, stored[kind.weights], checkpoint)
        sections = {field.name for field in dataclasses.fields(RunnerConfig)}  # a baseline's Config holds more
        content = {name: value for name, value in after.items() if name in sections or name not in before}
        from_dict(RunnerConfig, content, f"{checkpoint} with -o")
    else:
        trained = {name: after[name] for name in ("optimizer", "scheduler") if name in after}
        check_present(OptimizedConfig, trained, f"{checkpoint} with -o")
    if not (overrides.flags or overrides.keys):
        return
    problems = [*_loop_problems(before, after, stored["Step"]), *_optimizer_problems(before, after)]
    if "Downstream" in stored:
        old, new = (config.get("downstream_expert", {}) for config in (before, after))
        changed = [part for part in HEAD if old.get(part) != new.get(part)]
        problems += [f"config.downstream_expert.{part}: the head was made with it; {ANOTHER}" for part in changed]
    else:
        unread = [name for name in overrides.flags if name not in ARGUMENTS]
        problems += [f"args.{name}: a run that goes on takes it from its checkpoint; {ANOTHER}" for name in unread]
    if problems:
        raise UserError("\n  ".join([f"-o cannot be applied to {checkpoint}:", *problems]))


def check_sections(stored: Mapping[str, Any], checkpoint: Path) -> None:
    """UserError if the configuration of a downstream run lacks a required section."""
    sections = ("runner", "optimizer", "downstream_expert") if "Downstream" in stored else ()
    missing = [name for name in sections if not isinstance(stored["Config"].get(name), dict)]
    if missing:
        raise UserError(
            f"{checkpoint}: found no section {', '.join(missing)} in its Config, expected those of run_downstream.py; "
            "use another file"
        )


def _loop_problems(before: Mapping[str, Any], after: Mapping[str, Any], step: int) -> Iterator[str]:
    old, new = before.get("runner", {}), after.get("runner", {})
    changed = old.get("total_steps") != new.get("total_steps")
    epochs = new.get("n_epochs", -1)
    if step >= old.get("total_steps", step + 1) and not changed and epochs <= old.get("n_epochs", -1):
        longer = f"n_epochs above {epochs}" if epochs > 0 else f"total_steps above {step}"
        yield f"the run is finished, at step {step}, and would not be changed; add config.runner.{longer}"
    if new.get("n_epochs", -1) > 0 and changed:
        yield f"config.runner.total_steps: the run counts {new['n_epochs']} epochs; change config.runner.n_epochs"
    elif changed and new["total_steps"] < step:
        yield f"config.runner.total_steps: found {new['total_steps']}, but step {step} is done; give more"
    if after.get("scheduler") and not before.get("scheduler"):
        yield f"config.scheduler: the run began without one; {ANOTHER}"


def _optimizer_problems(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Refuses another optimiser, which cannot use the stored momentum, and keys that s3prl's builder ignores."""
    old, new = before.get("optimizer", {}), after.get("optimizer", {})
    changed = [key for key in new if new[key] != old.get(key)]
    renamed = [key for key in changed if key in ("name", "torch_optim_name")]
    yield from (f"config.optimizer.{key}: the stored momentum is of {old.get(key)}; {ANOTHER}" for key in renamed)
    if not renamed:
        ignored = [key for key in changed if key in IGNORED.get(new["name"], ())]
        yield from (f"config.optimizer.{key}: s3prl's {new['name']} ignores it; leave it out" for key in ignored)


def check_fingerprints(states: Mapping[str, Any], present: Mapping[str, str], data: DataConfig) -> None:
    """Compares the fingerprints in a checkpoint, if there are any, with those of the loaded teacher and speech.

    UserError names what has changed. Other `sets` in `data` than the run began with come from ``-o`` and are allowed.
    """
    stored = states.get("Fingerprints", {})
    if stored.get("teacher", present["teacher"]) != present["teacher"]:
        raise UserError(
            f"-e: the teacher's weights have changed since this run began (fingerprint {stored['teacher']}, now "
            f"{present['teacher']}); put those back, or begin another run with -n"
        )
    if stored.get("data", present["data"]) == present["data"]:
        return
    before = states.get("Config", {}).get("pretrain_expert", {}).get("datarc", {})
    now = {name: getattr(data, name) for name in SPEECH}
    changed = [
        name for name, value in now.items() if value != _as_tuple(before.get(name, before.get(other_name(name))))
    ]
    if not changed:
        raise UserError(
            f"-e: the manifests {', '.join(data.sets)} have changed since this run began (they were {stored['data']}, "
            f"now {present['data']}); put those back. To go on with other speech, give its manifest another name and "
            "add -o config.pretrain_expert.datarc.sets=['NAME']"
        )
    logger.warning("the run goes on with other speech than it began with (%s)", ", ".join(changed))


def batches_done(progress: Mapping[str, Any], epoch_batches: int) -> int:
    """Batches that a run has done, scaled to the same share of an epoch if an epoch has more or fewer batches now."""
    counts = [progress.get("batches_done"), progress.get("epoch_batches", epoch_batches)]
    if not all(isinstance(count, int) and 0 <= count < 2**40 for count in counts) or not counts[1]:
        raise UserError(f"-e: found {dict(progress)} as Progress, expected counts of batches; use an older checkpoint")
    done, before = counts
    return done if before == epoch_batches else round(done * epoch_batches / before)


def random_state(stored: Any) -> dict[str, Any] | None:
    """The stored states of torch's random generators; None if nothing is stored, UserError for anything else."""
    if stored is None:
        return None
    states = [stored.get("cpu"), *(stored.get("cuda") or [])]
    plain = all(isinstance(state, torch.Tensor) and state.dtype == torch.uint8 and state.dim() == 1 for state in states)
    if not plain or states[0].shape != torch.get_rng_state().shape:
        raise UserError("-e: found no state of torch's random numbers as RNG; use an older checkpoint")
    return dict(stored)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
