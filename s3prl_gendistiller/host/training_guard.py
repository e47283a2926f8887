"""Two checks that s3prl's training loops lack: for numbers that are not finite, and for repeated shortage of memory.

Without them both Runners train on with weights of NaN, or repeat the same step without end.
"""

from __future__ import annotations

import builtins
import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.weights import is_finite
from s3prl_gendistiller.documents import leaves
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import meeting
from s3prl_gendistiller.host.saving import named_by_step, save_checkpoint, way_on

NON_FINITE_IN_A_ROW = 5
OVERFLOWS_IN_A_ROW = 25
"""With fp16, gradients overflow until the scaler has halved its factor, at first 65536, often enough."""
OUT_OF_MEMORY_IN_A_ROW = 5
EVERY = 1_000_000
MEAN_OF = 100
OUT_OF_MEMORY = "[Runner] - CUDA out of memory"

logger = logging.getLogger(__name__)


class TrainingGuard:
    """The guard of one training loop; `mount` puts its methods in place of torch's functions and of `print`.

    Each step reads two scalars: the loss, and whether the norm of the gradient is finite. Both are read where the
    Runner has already waited for the device: it reads the loss itself, and clipping computes the norm anyway. Weights
    are checked when they are saved. `steps` counts the optimiser steps that this process has done or skipped,
    `skipped` the steps whose update would have made weights not finite. `recent_losses` are those of the last
    `log_step` batches, at most `MEAN_OF`.
    """

    def __init__(self) -> None:
        self.steps = self.skipped = self._first = 0
        self.config: Mapping[str, Any] = {}
        self.asked_steps: Mapping[str, int] = {}
        self.recent_losses: deque[float] = deque()
        self._unread: list[Tensor] = []
        self.task: nn.Module | None = None
        self._folder = Path()

    def begin(self, runner: Any, optimizer: Any) -> None:
        """Starts the guard at the beginning of a Runner's loop, after its optimiser is built."""
        self.steps = self.skipped = 0
        self._unread.clear()
        self._losses = self._row = self._memory = 0
        self.config, self._optimizer = runner.config, optimizer
        self._folder = Path(runner.args.expdir)
        self._first = runner.init_ckpt.get("Step", 0)
        self._bad_loss = False
        section = runner.config["runner"]
        self._scaled = bool(section.get("fp16")) and torch.cuda.is_available()
        if self._first >= section["total_steps"]:
            longer = "n_epochs" if section.get("n_epochs", -1) > 0 else "total_steps"
            finished = "step %d of %d is done, the run is finished; config.runner.%s makes it longer"
            logger.info(finished, self._first, section["total_steps"], longer)
        self.recent_losses = deque(maxlen=min(section.get("log_step", 1), MEAN_OF))
        self.task = runner.downstream.model if hasattr(runner, "downstream") else runner.upstream
        self.task.register_forward_hook(self.check_loss)

    @property
    def step(self) -> int:
        """The number of the present step, or of the last one."""
        return self._first + self.steps

    def check_loss(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Makes a loss that is not finite NaN, because some gradients of an infinite loss are finite."""
        loss = output[0] if isinstance(output, tuple) else output
        if not module.training or not isinstance(loss, Tensor):
            return None
        mean = loss.detach().float().mean()  # of the GPUs; not finite if one is not
        self._unread.append(mean)
        checked = loss * torch.where(mean.isfinite(), 1.0, torch.nan)  # a factor, so that gradients are NaN, too
        return (checked, *output[1:]) if isinstance(output, tuple) else checked

    def clip_grad_norm_(self, parameters: Iterable[Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """`clip_grad_norm_` of torch, which a Runner calls before each optimiser step.

        Skips a step that is not finite; UserError if several steps in a row were not.
        """
        self._read_losses()
        parameters = list(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, *args, **kwargs)
        self.steps += 1
        self._memory = 0
        if bool(torch.isfinite(norm)):
            self._row = self._losses = 0
            return norm
        for parameter in parameters:
            parameter.grad = None  # every optimiser skips such a parameter, also when a scaler calls it
        self.skipped += 1
        self._row += 1
        self._losses = self._losses + 1 if self._bad_loss else 0
        self._bad_loss = False
        counted = max(self._losses, 0 if self._scaled else self._row)
        if counted >= NON_FINITE_IN_A_ROW or self._row >= OVERFLOWS_IN_A_ROW:
            raise self._not_finite(f"the loss or its gradient was not finite {self._row} times in a row")
        return norm

    def _read_losses(self) -> None:
        for loss in map(float, self._unread):
            if math.isfinite(loss):
                self.recent_losses.append(loss)
            else:
                self._bad_loss = True
        self._unread.clear()

    def save(self, states: Mapping[str, Any], path: str) -> None:
        """`torch.save` of a Runner; UserError if a weight is not finite, or the file cannot be written.

        All ranks check the weights, and rank 0 writes.
        """
        trained = [value for group in self._optimizer.param_groups for value in group["params"]]
        if not all(map(is_finite, trained)) or any(bool(value.isnan().any()) for value in _tensors(states)):
            raise self._not_finite(f"the weights are not finite, so {Path(path).name} was not written")
        if ranks.rank():
            return
        # weights may be ruined and still finite: while steps are skipped, no older checkpoint is deleted
        keep = EVERY if self._row else int(states["Config"]["runner"]["max_keep"])
        save_checkpoint(states, Path(named_by_step(path, self.step)), keep)

    def say(self, *values: Any, **options: Any) -> None:
        """`print` of a Runner, called when the Runner skips a batch for lack of memory; UserError if several follow."""
        builtins.print(*values, **options)
        if values and str(values[0]).startswith(OUT_OF_MEMORY):
            self._memory += 1
            if ranks.world() > 1:
                raise self.out_of_memory(f" on rank {ranks.rank()}, and a rank cannot skip a batch alone")
            if self._memory >= OUT_OF_MEMORY_IN_A_ROW:
                raise self.out_of_memory(f" {self._memory} times in a row")

    def out_of_memory(self, often: str) -> UserError:
        """The error that names the keys to lower."""
        sizes = [f"{key} ({value})" for key, value in leaves(self.config, "config") if _is_size(key, value)]
        return UserError(
            f"step {self.step + 1}: out of memory{often}; lower {' or '.join(sizes) or 'the batch size'}, or leave "
            "other programs off the device. config.runner.gradient_accumulate_steps, raised by the same factor, keeps "
            f"the batch of an optimiser step as large as it was; {way_on(self._folder)}"
        )

    def lost_rank(self, error: RuntimeError) -> UserError:
        """The error of a rank whose connection to another one has ended."""
        reason = " ".join(str(error).split())[:120]
        return UserError(
            f"step {self.step + 1}: another rank has ended, so rank {ranks.rank()} cannot go on ({reason}); "
            f"{meeting.again() or way_on(self._folder)}"
        )

    def report(self) -> None:
        """Logs the number of skipped steps at the end of the loop."""
        if self.skipped:
            logger.warning(
                "%d of %d steps were skipped, because their loss or gradient was not finite", self.skipped, self.steps
            )

    def _not_finite(self, problem: str) -> UserError:
        rate, asked = self._rate(), self.config["optimizer"].get("lr")
        lower = f"{float(asked) / 10:g}" if isinstance(asked, int | float) else "RATE"
        options = f" -o config.optimizer.lr={lower}"
        return UserError(
            f"step {self.step}: {problem}, at learning rate {rate:g} (config.optimizer.lr {asked}); expected finite "
            f"numbers. The saved checkpoints stay; {way_on(self._folder, options)}; a "
            "checkpoint in place of the folder resumes the run at that checkpoint"
        )

    def _rate(self) -> float:
        rates = self._optimizer.get_lr() if hasattr(self._optimizer, "get_lr") else []
        return float(rates[0] if rates else self._optimizer.param_groups[0]["lr"])


def _tensors(states: Mapping[str, Any]) -> Iterator[Tensor]:
    """Floating-point tensors of all modules in a checkpoint. Untrained ones may hold inf on purpose, as a mask does."""
    for value in states.values():
        if isinstance(value, Mapping) and value and all(isinstance(item, Tensor) for item in value.values()):
            yield from (item for item in value.values() if item.is_floating_point())


def _is_size(key: str, value: Any) -> bool:
    """Whether a key of a configuration sets the size of a batch, and could be lowered."""
    name = key.rpartition(".")[2]
    sized = ("batch" in name and "size" in name) or name == "crop_samples"
    return sized and isinstance(value, int) and not isinstance(value, bool) and value > 1
