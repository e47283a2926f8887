"""What all trainings of a HuBERT share: the schedule of the learning rate, and the state from which a run goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s3prl_gendistiller.outputs import replacing

STATE, WEIGHTS = "state.ckpt", "weights.ckpt"


class Steps:
    """AdamW over weights, with a linear rise of the learning rate and a linear fall to zero.

    Args:
        folder: holds the state of a run that was interrupted.
        steps: number of steps of the run.
        warmup: share of the steps in which the learning rate rises.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        steps: int,
        *,
        lr: float,
        warmup: float,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        self.model, self.path = model, folder / STATE
        self.learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.clip_norm = clip_norm
        self.optimizer = torch.optim.AdamW(self.learning, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: _rate(step, steps, warmup))

    def take(self, loss: torch.Tensor) -> None:
        """One step on a loss, a scalar."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, self.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)

    def save(self, step: int) -> None:
        """Writes the state after a step."""
        write(self.path, {"step": step, **{name: part.state_dict() for name, part in self._parts()}})

    def resume(self, device: torch.device | str = "cpu") -> int:
        """Number of finished steps, after the saved state is loaded; 0 where none was saved."""
        if not self.path.is_file():
            return 0
        state = read(self.path, device)
        for name, part in self._parts():
            part.load_state_dict(state[name])
        return int(state["step"])

    def finish(self) -> None:
        """Writes the weights beside the state, and removes the state."""
        write(self.path.with_name(WEIGHTS), self.model.state_dict())
        self.path.unlink(missing_ok=True)

    def _parts(self) -> Iterable[tuple[str, Any]]:
        return (("model", self.model), ("optimizer", self.optimizer), ("schedule", self.schedule))


def write(path: Path, content: Any) -> None:
    with replacing(path) as part:
        torch.save(content, part)


def read(path: Path, device: torch.device | str = "cpu") -> Any:
    return torch.load(path, map_location=device, weights_only=True)


def _rate(step: int, steps: int, warmup: float) -> float:
    """Share of the highest learning rate at a step: a linear rise, then a linear fall."""
    rise = max(1, round(warmup * steps))
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))
