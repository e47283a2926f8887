"""Learning rate and schedule of a run that goes on: those of its present configuration.

A checkpoint stores an optimiser's options, with learning rate and schedule, beside its momentum. s3prl restores both.
Here only momentum and step counts are restored, so that options changed by `-o` take effect.
"""

from __future__ import annotations

from typing import Any

import torch

from s3prl_gendistiller.distill.weights import is_plain
from s3prl_gendistiller.errors import UserError

SHAPED = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "next_m", "next_v", "momentum_buffer", "square_avg", "sum")


def put_options(optimizer: Any, fresh: Any) -> None:
    """Copies the options of a freshly built optimiser into one with a restored state."""
    for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group.pop("initial_lr", None)  # the scheduler sets it from lr
        group.update({name: value for name, value in new.items() if name != "params"})


def put_rates(scheduler: Any, optimizer: Any) -> None:
    """Sets a restored scheduler to its step with the optimiser's present learning rate.

    All schedulers of s3prl are `LambdaLR`: the constructor sets the rate of step 0, and the stored state holds the rate
    that the run began with.
    """
    scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
    for group, base, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * factor(scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


def check_state(optimizer: Any) -> None:
    """UserError if the restored momentum does not have the parameters' shapes, or is not finite."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                continue
            if not is_plain(value):
                raise UserError(f"-e: {name} in the checkpoint's Optimizer is no dense tensor; use an older checkpoint")
            fits = value.shape == parameter.shape if name in SHAPED else value.numel() <= parameter.numel()
            if not fits or not bool(value.isfinite().all()):
                raise UserError(
                    f"-e: {name} in the checkpoint's Optimizer does not have its parameter's shape, or is not finite; "
                    "use an older checkpoint"
                )


def check_scheduler(states: dict[str, Any]) -> None:
    """Drops entries that no scheduler of s3prl stores.

    UserError: the run began without a scheduler, or the stored count of steps is invalid.
    """
    stored = states.get("Scheduler")
    if stored is None:
        raise UserError(
            "config.scheduler: found one, but the run began without; leave it out, or begin another run with -n"
        )
    step = stored.get("last_epoch")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise UserError(f"-e: found last_epoch {step!r} in the checkpoint's Scheduler, expected a count of steps")
    known = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "lr_lambdas", "verbose", "_get_lr_called_within_step")
    states["Scheduler"] = {name: stored[name] for name in known if name in stored}
