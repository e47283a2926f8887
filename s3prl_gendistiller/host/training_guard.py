"""What s3prl's training loops leave unwatched: numbers that are not finite, and memory that never suffices.

Both Runners go on as if nothing had happened: with weights that are NaN, or with the same step again for ever.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.weights import is_finite
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.saving import save_checkpoint, way_on

NON_FINITE_IN_A_ROW = 5
OVERFLOWS_IN_A_ROW = 25
"""With fp16 gradients overflow until the scaler has halved its factor, at first 65536, often enough."""
OUT_OF_MEMORY_IN_A_ROW = 5
EVERY = 1_000_000
OUT_OF_MEMORY = "[Runner] - CUDA out of memory"

logger = logging.getLogger(__name__)


class TrainingGuard:
    """Over one training loop; `mount` hands its methods to a Runner in place of torch's and of `print`.

    Attributes:
        steps: optimiser steps that this process has done or skipped.
        skipped: those of them that would have put numbers that are not finite into the weights.
        config: of the Runner.
    """

    def __init__(self) -> None:
        self.steps = self.skipped = self._first = 0
        self.config: Mapping[str, Any] = {}
        self._folder = Path()

    def begin(self, runner: Any, optimizer: Any) -> None:
        """At the beginning of a Runner's loop, when its optimiser has been built."""
        self.steps = self.skipped = 0
        self._losses = self._row = self._memory = 0
        self.config, self._optimizer = runner.config, optimizer
        self._folder = Path(runner.args.expdir)
        self._first = runner.init_ckpt.get("Step", 0)
        self._bad_loss = False
        self._scaled = bool(runner.config["runner"].get("fp16")) and torch.cuda.is_available()
        total = runner.config["runner"]["total_steps"]
        if self._first >= total:
            longer = "n_epochs" if runner.config["runner"].get("n_epochs", -1) > 0 else "total_steps"
            logger.info(
                "step %d of %d is done, nothing is left; config.runner.%s makes it longer", self._first, total, longer
            )
        model = runner.downstream.model if hasattr(runner, "downstream") else runner.upstream
        model.register_forward_hook(self.check_loss)

    @property
    def step(self) -> int:
        """The step that is, or was last, being done."""
        return self._first + self.steps

    def check_loss(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Makes a loss that is not finite NaN, so that no gradient of it is finite either: of inf some are."""
        loss = output[0] if isinstance(output, tuple) else output
        if not module.training or not isinstance(loss, Tensor) or bool(loss.detach().isfinite().all()):
            return None
        self._bad_loss = True
        return (loss * torch.nan, *output[1:]) if isinstance(output, tuple) else loss * torch.nan

    def clip_grad_norm_(self, parameters: Iterable[Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """torch's, which a Runner calls once before each optimiser step; a step that is not finite does nothing.

        Raises:
            UserError: it was so a few times in a row.
        """
        parameters = list(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, *args, **kwargs)
        self.steps += 1
        self._memory = 0
        if bool(torch.isfinite(norm)):
            self._row = self._losses = 0
            return norm
        for parameter in parameters:
            parameter.grad = None  # what every optimiser passes over, also one that a scaler or the Runner calls
        self.skipped += 1
        self._row += 1
        self._losses = self._losses + 1 if self._bad_loss else 0
        self._bad_loss = False
        if (
            max(self._losses, 0 if self._scaled else self._row) >= NON_FINITE_IN_A_ROW
            or self._row >= OVERFLOWS_IN_A_ROW
        ):
            raise self._not_finite(f"the loss or its gradient was not finite {self._row} times in a row")
        return norm

    def save(self, states: Mapping[str, Any], path: str) -> None:
        """`torch.save` of a Runner.

        Raises:
            UserError: a weight is not finite, or the file cannot be written.
        """
        trained = [value for group in self._optimizer.param_groups for value in group["params"]]
        if not all(map(is_finite, trained)) or any(bool(value.isnan().any()) for value in _tensors(states)):
            raise self._not_finite(f"the weights are not finite, so {Path(path).name} was not written")
        # weights may be ruined and finite: as long as steps are skipped, nothing older is deleted for their sake
        keep = EVERY if self._row else int(states["Config"]["runner"]["max_keep"])
        save_checkpoint(states, Path(path), keep)

    def say(self, *values: Any, **options: Any) -> None:
        """`print` of a Runner, which says so before it passes over a batch that has no room.

        Raises:
            UserError: it passed over a few in a row.
        """
        builtins.print(*values, **options)
        if values and str(values[0]).startswith(OUT_OF_MEMORY):
            self._memory += 1
            if self._memory >= OUT_OF_MEMORY_IN_A_ROW:
                raise self.out_of_memory(f" {self._memory} times in a row")

    def out_of_memory(self, often: str) -> UserError:
        """What to lower."""
        sizes = [f"{key} ({value})" for key, value in _sizes(self.config, "config")]
        return UserError(
            f"step {self.step + 1}: out of memory{often}; lower {' or '.join(sizes) or 'the batch size'}, or leave "
            "other programs off the device. config.runner.gradient_accumulate_steps, raised by the same factor, keeps "
            f"the batch of an optimiser step as large as it was. {way_on(self._folder)}"
        )

    def report(self) -> None:
        """At the end of the loop."""
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
            f"numbers. What was saved before stays. {way_on(self._folder, options)}; a "
            "checkpoint in place of the folder goes on from there"
        )

    def _rate(self) -> float:
        """Of the step that is being done."""
        rates = self._optimizer.get_lr() if hasattr(self._optimizer, "get_lr") else []
        return float(rates[0] if rates else self._optimizer.param_groups[0]["lr"])


def _tensors(states: Mapping[str, Any]) -> Iterator[Tensor]:
    """Of the modules in a checkpoint, also what is not trained: of that, inf may be meant, as in a mask."""
    for value in states.values():
        if isinstance(value, Mapping) and value and all(isinstance(item, Tensor) for item in value.values()):
            yield from (item for item in value.values() if item.is_floating_point())


def _sizes(config: Any, name: str) -> Iterator[tuple[str, int]]:
    """Every number in a configuration that says how much is computed at a time."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from _sizes(value, f"{name}.{key}")
    elif isinstance(config, int) and not isinstance(config, bool) and config > 1:
        key = name.rpartition(".")[2]
        if ("batch" in key and "size" in key) or key == "crop_samples":
            yield name, config
