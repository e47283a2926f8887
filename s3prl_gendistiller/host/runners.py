"""Wrappers of the methods of s3prl's Runners; `mount` installs them.

A checkpoint stores an optimiser's options, with learning rate and schedule, beside its momentum. s3prl restores both.
Here only momentum and step counts are restored, so that options changed by `-o` take effect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from s3prl_gendistiller.distill.weights import check_weights, is_plain
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.failures import is_out_of_memory
from s3prl_gendistiller.host.process_group import lost_rank
from s3prl_gendistiller.host.training_guard import TrainingGuard

Method = Callable[..., Any]
HEADS = ("Featurizer", "Downstream")  # entries of every checkpoint of run_downstream.py
UNFIT = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_SHAPED = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "next_m", "next_v", "momentum_buffer", "square_avg", "sum")


def optimizer_getter(stock: Method, module: ModuleType, guard: TrainingGuard) -> Method:
    """`_get_optimizer` with the present options; starts the guard."""

    @functools.wraps(stock)
    def get(self: Any, model_params: Any) -> Any:
        self.config["runner"].update(guard.asked_steps)
        _count_epochs(self)
        task: Any = getattr(self, "upstream", None)
        if hasattr(task, "last_step"):
            task.last_step = self.config["runner"]["total_steps"]
        _prepare(self)
        if not self.init_ckpt:
            optimizer = stock(self, model_params)
        else:
            optimizer = _loaded("Optimizer", stock, self, model_params)
            _check_state(optimizer)
            runner, options = self.config["runner"], self.config["optimizer"]
            _put_options(optimizer, module.get_optimizer(model_params, runner["total_steps"], options))
        guard.begin(self, optimizer)
        return optimizer

    return get


def scheduler_getter(stock: Method) -> Method:
    """`_get_scheduler` that continues at the stored step with the present learning rate."""

    @functools.wraps(stock)
    def get(self: Any, optimizer: Any) -> Any:
        if not self.init_ckpt:
            return stock(self, optimizer)
        _check_scheduler(self.init_ckpt)
        scheduler = _loaded("Scheduler", stock, self, optimizer)
        _put_rates(scheduler, optimizer)
        return scheduler

    return get


def weight_loader(stock: Method) -> Method:
    """`_load_weight` of the downstream Runner that refuses weights which do not fit or are not finite."""

    @functools.wraps(stock)
    def load(self: Any, model: Any, name: str) -> None:
        path = self.args.init_ckpt
        if isinstance(model, nn.Module) and self.init_ckpt:
            if name in self.init_ckpt:
                check_weights(self.init_ckpt[name], model, path, f"the {name} of this run", "it")
            elif name in HEADS:
                raise UserError(f"{path}: found no {name} in it, expected a checkpoint of run_downstream.py")
        stock(self, model, name)

    return load


def ended(stock: Method, guard: TrainingGuard) -> Method:
    """A loop that ends with one message when memory runs out, or when another rank has ended."""

    @functools.wraps(stock)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        guard.config = self.config
        try:
            return stock(self, *args, **kwargs)
        except UserError as error:
            error.begun = guard.steps > 0
            raise
        except RuntimeError as error:
            if lost_rank(error):
                problem = guard.lost_rank(error)
            elif is_out_of_memory(error):
                problem = guard.out_of_memory("")
            else:
                raise
            problem.begun = guard.steps > 0
            raise problem from error

    return run


def trained(stock: Method, guard: TrainingGuard) -> Method:
    """A training loop that logs its skipped steps at the end.

    s3prl's loop begins with the assertion that `log_step` and `save_step` are less than the steps of the run, and reads
    both again in each step. The loop begins with zeros, and `optimizer_getter` puts the values back.
    """

    @functools.wraps(stock)
    def train(self: Any) -> None:
        guard.steps = 0
        section = self.config["runner"]
        guard.asked_steps = {name: section[name] for name in ("log_step", "save_step") if name in section}
        section.update(dict.fromkeys(guard.asked_steps, 0))
        try:
            stock(self)
        finally:
            section.update(guard.asked_steps)
        guard.report()

    return train


def _loaded(entry: str, stock: Method, runner: Any, *args: Any) -> Any:
    """Optimiser or scheduler that a Runner builds with its checkpoint's state; UserError if the state does not fit."""
    try:
        return stock(runner, *args)
    except UNFIT as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{runner.args.init_ckpt}: its {entry} does not fit the configuration ({reason}); leave "
            f"config.{entry.lower()} as the run began with, or begin another run with -n"
        ) from error


def _count_epochs(runner: Any) -> None:
    """Sets total_steps from n_epochs, so that the schedule ends with the epochs; s3prl would not."""
    section = runner.config["runner"]
    loader = getattr(getattr(runner, "upstream", None), "train_loader", None)
    if section.get("n_epochs", 0) > 0 and loader is not None:
        batches = section["n_epochs"] * len(loader.dataset)
        section["total_steps"] = int(batches / section["gradient_accumulate_steps"])


def _prepare(runner: Any) -> None:
    """Tells a task of this package how many batches are left, before the first of them."""
    begin = getattr(getattr(runner, "upstream", None), "before_training", None)
    if begin is not None:
        section = runner.config["runner"]
        steps = section["total_steps"] - (runner.init_ckpt or {}).get("Step", 0)
        begin(steps * section["gradient_accumulate_steps"])


def _put_options(optimizer: Any, fresh: Any) -> None:
    """Copies the options of a freshly built optimiser into one with a restored state."""
    for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group.pop("initial_lr", None)  # the scheduler sets it from lr
        group.update({name: value for name, value in new.items() if name != "params"})


def _put_rates(scheduler: Any, optimizer: Any) -> None:
    """Sets a restored scheduler to its step with the optimiser's present learning rate.

    All schedulers of s3prl are `LambdaLR`: the constructor sets the rate of step 0, and the stored state holds the rate
    that the run began with.
    """
    scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
    for group, base, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * factor(scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


def _check_state(optimizer: Any) -> None:
    """UserError if the restored momentum does not have the parameters' shapes, or is not finite."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                continue
            if not is_plain(value):
                raise UserError(f"-e: {name} in the checkpoint's Optimizer is no dense tensor; use an older checkpoint")
            fits = value.shape == parameter.shape if name in _SHAPED else value.numel() <= parameter.numel()
            if not fits or not bool(value.isfinite().all()):
                raise UserError(
                    f"-e: {name} in the checkpoint's Optimizer does not have its parameter's shape, or is not finite; "
                    "use an older checkpoint"
                )


def _check_scheduler(states: dict[str, Any]) -> None:
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
