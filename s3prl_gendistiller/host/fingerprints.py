"""Whether a run goes on with what it began with: teacher, speech, and its place in both."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from s3prl_gendistiller.config_runner import DataConfig
from s3prl_gendistiller.errors import UserError

SPEECH = ("sets", "file_path", "libri_root")

logger = logging.getLogger(__name__)


def check_same_source(states: Mapping[str, Any], present: Mapping[str, str], data: DataConfig) -> None:
    """Compares a checkpoint's fingerprints, if it has any, with those of what was loaded.

    Args:
        present: "teacher" and "data", 16 hexadecimal digits each.
        data: other `sets` than the run began with are asked for by ``-o``, and no mistake.

    Raises:
        UserError: says what has changed.
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
    changed = [name for name, value in now.items() if value != _comparable(before.get(name))]
    if not changed:
        raise UserError(
            f"-e: the manifests {', '.join(data.sets)} have changed since this run began (they were {stored['data']}, "
            f"now {present['data']}); put those back. To go on with other speech, give its manifest another name and "
            "add -o config.pretrain_expert.datarc.sets=['NAME']"
        )
    logger.warning("the run goes on with other speech than it began with (%s)", ", ".join(changed))


def batches_done(progress: Mapping[str, Any], epoch_batches: int) -> int:
    """Where the run stands, in batches of today: at the same share of an epoch if an epoch has more or fewer now.

    Raises:
        UserError: there is no such count.
    """
    counts = [progress.get("batches_done"), progress.get("epoch_batches", epoch_batches)]
    if not all(isinstance(count, int) and 0 <= count < 2**40 for count in counts) or not counts[1]:
        raise UserError(f"-e: found {dict(progress)} as Progress, expected counts of batches; use an older checkpoint")
    done, before = counts
    return done if before == epoch_batches else round(done * epoch_batches / before)


def random_state(stored: Any) -> dict[str, Any] | None:
    """What `torch.set_rng_state` takes.

    Raises:
        UserError: it is not of this kind.
    """
    if stored is None:
        return None
    states = [stored.get("cpu"), *(stored.get("cuda") or [])]
    plain = all(isinstance(state, torch.Tensor) and state.dtype == torch.uint8 and state.dim() == 1 for state in states)
    if not plain or states[0].shape != torch.get_rng_state().shape:
        raise UserError("-e: found no state of torch's random numbers as RNG; use an older checkpoint")
    return dict(stored)


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
