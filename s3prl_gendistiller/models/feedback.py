"""The history of a step in training: whose layer it is, its noise, and its gradient.

In use a step receives the layer that the step before generated, and nothing here has an effect.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from s3prl_gendistiller.config_gendistiller import GenerationTargetsConfig

SLOWEST = 0.01  # share of the newest batch in the running mean; larger in the first batches


class Feedback(nn.Module):
    """Replaces generated layers by the teacher's as the section `distill` says.

    With `feedback_noise`, the teacher's layers get noise of the size of the student's own error. The error's mean
    square of each layer and channel is a running mean over batches: channels of a HuBERT differ tenfold in size, so one
    number for a layer would drown the small channels and leave the large ones as they are.

    Args:
        targets: the section `distill`.
        num_steps: N, the number of layers that the student generates; the last one is no history.
        width: D.
    """

    mean_square: Tensor
    batches: Tensor

    def __init__(self, targets: GenerationTargetsConfig, num_steps: int = 1, width: int = 1) -> None:
        super().__init__()
        self.targets = targets
        if self.noisy:
            self.register_buffer("mean_square", torch.zeros(num_steps - 1, width))
            self.register_buffer("batches", torch.zeros(num_steps - 1, 1))

    @property
    def noisy(self) -> bool:
        return self.targets.feedback_noise > 0.0

    def known_ahead(self, probability: float) -> bool:
        """Whether the history is the teacher's alone, so that it does not depend on the steps before."""
        return probability >= 1.0 and self.targets.feedback_gradient != "through"

    def teacher(self, index: int, layer: Tensor) -> Tensor:
        """The teacher's layer `index` (B, T', D) as history, with noise if the student trains with noise."""
        if not (self.noisy and self.training):
            return layer
        scale = self.targets.feedback_noise * self.mean_square[index].sqrt()  # (D,)
        return layer + scale * torch.randn(layer.shape, device=layer.device)

    def history(self, index: int, own: Tensor, teacher: Tensor | None, probability: float) -> Tensor:
        """The history that follows layer `index`.

        Args:
            own: (B, T, D), the generated layer.
            teacher: (B, N, T', D), the teacher's target layers; None: free running.
            probability: probability that the teacher's layer replaces the own one, for each utterance or frame.
        """
        gradient = self.targets.feedback_gradient
        kept = own.detach() if gradient == "cut" else own
        if teacher is None or probability <= 0.0:
            return kept
        frames = min(own.shape[1], teacher.shape[2])
        given = self.teacher(index, teacher[:, index, :frames]).to(own.dtype)
        if gradient == "through":
            given = given + (own - own.detach())[:, :frames]  # adds zero, and passes the gradient on
        forced = torch.cat((given, kept[:, frames:]), dim=1)
        if probability >= 1.0:
            return forced
        drawn = own.shape[1] if self.targets.feedback_by == "frame" else 1
        chosen = torch.rand(len(own), drawn, 1, device=own.device) < probability
        return torch.where(chosen, forced, kept)

    def carried(self, hidden: Tensor) -> Tensor:
        """The hidden state of the step before, (B, T, D)."""
        return hidden if self.targets.carried_gradient else hidden.detach()

    @torch.no_grad()
    def observe(self, generated: Sequence[Tensor], teacher: Tensor | None, mask: Tensor) -> None:
        """Adds the error of a batch to the running mean; a batch whose error is not finite is left out.

        Args:
            generated: k layers, each (B, T, D).
            teacher: (B, N, T', D), N >= k.
            mask: (B, T), True = real frame.
        """
        count = min(len(generated), len(self.mean_square)) if self.noisy and self.training else 0
        if teacher is None or count == 0:
            return
        frames = min(mask.shape[1], teacher.shape[2])
        real = mask[:, None, :frames, None]
        own = torch.stack([layer[:, :frames] for layer in generated[:count]], dim=1).float()
        error = (own - teacher[:, :count, :frames].float()).masked_fill(~real, 0.0)
        found = error.square().sum((0, 2)) / real.sum().clamp(min=1)  # (k, D)
        known, seen = self.mean_square[:count], self.batches[:count]
        known.lerp_(torch.where(found.isfinite(), found, known), (1.0 / (seen + 1.0)).clamp(min=SLOWEST))
        seen.add_(1.0)
