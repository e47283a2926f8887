"""Contextual knowledge distillation (arXiv 2109.08359): relations between frames and relations between layers.

With h_i the state of frame i in a layer, for teacher and student alike:

    pair      P_i = softmax_(j != i) cos(h_i, h_j) / tau           rows; loss KL(teacher's row || student's row)
    angle     psi(i; j, k) = cos of the angle at h_i               loss (psi^s - psi^t)^2
              between h_j - h_i and h_k - h_i

Word relations take i, j, k from the frames of one layer (pairs: all; angles: the window around i), layer relations from
the layers of one frame. Relations are scalars, so teacher and student may differ in width and no projection is needed.

The released code repeats edge frames, takes padding as neighbours, and counts triples with equal members; here i, j and
k are different real frames. Triples in which two of the teacher's frames are equal, as in silence, have no angle and do
not count.

Memory: angles are computed in float32 from centred products h_t . h_(t + lag) or Gram matrices, and never from the
neighbours' differences of width D. Word relations are computed layer by layer, layer relations utterance by utterance,
and intermediate results are computed again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from s3prl_gendistiller.config_objectives import CkdConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.units import float32_or_better

MASKED = -1e4  # far below every cosine over a temperature; -inf would give 0 * inf for masked columns
NO_DIRECTION = 1e-4  # share of the mean squared distance below which a teacher's distance has no direction
NORM_FLOOR = 1e-12  # relative to the mean squared norm; it matters only for a state that is exactly zero

Sums = tuple[Tensor, Tensor]  # sum and count


def build(config: CkdConfig, setting: Setting) -> nn.Module:
    return Ckd(config)


class Ckd(nn.Module):
    """The relation terms of `CkdConfig` that have a weight above 0."""

    def __init__(self, config: CkdConfig) -> None:
        super().__init__()
        self.config = config
        weights = {name: getattr(config, name) for name in ("word_pair", "word_angle", "layer_pair", "layer_angle")}
        self.terms = {f"ckd_{name}": config.weight * weight for name, weight in weights.items() if weight > 0.0}

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> dict[str, Sums]:
        """Sums and counts of the terms.

        Args:
            teacher: (B, L, T, D_t); gets no gradient.
            student: (B, L, T, D_s).
            frame_mask: (B, T), True = real frame.

        Returns:
            sum and count of each term: rows or pairs, and triples.

        Raises:
            ValueError: the stacks differ in more than their width.
        """
        if teacher.shape[:3] != student.shape[:3]:
            raise ValueError(f"teacher {tuple(teacher.shape)} and student {tuple(student.shape)} differ in B, L or T")
        padded = ~frame_mask[:, None, :, None]
        # the padding, which may hold infinities, is removed here and gets no gradient
        teacher = float32_or_better(teacher.detach()).masked_fill(padded, 0.0)
        student = float32_or_better(student).masked_fill(padded, 0.0)
        relations: dict[str, tuple[Callable[..., Sums], int]] = {
            "ckd_word_pair": (self._word_pair, 1),
            "ckd_word_angle": (self._word_angle, 1),
            "ckd_layer_pair": (self._layer_pair, 0),
            "ckd_layer_angle": (self._layer_angle, 0),
        }
        return {name: _one_after_another(*relations[name], teacher, student, frame_mask) for name in self.terms}

    def _word_pair(self, teacher: Tensor, student: Tensor, mask: Tensor) -> Sums:
        """Pair term of one layer: (B, T, D_t), (B, T, D_s), (B, T)."""
        of_teacher, of_student = _cosines(teacher, mask), _cosines(student, mask)  # (B, T, T)
        others = mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        return self._row_divergence(of_teacher, of_student, others & mask[:, :, None])

    def _layer_pair(self, teacher: Tensor, student: Tensor, mask: Tensor) -> Sums:
        """Pair term of one utterance: (L, T, D_t), (L, T, D_s), (T)."""
        real = mask[:, None].expand(-1, len(teacher))  # (T, L)
        of_teacher, of_student = (_cosines(states.transpose(0, 1), real) for states in (teacher, student))  # (T, L, L)
        others = ~torch.eye(len(teacher), dtype=torch.bool, device=mask.device)
        return self._row_divergence(of_teacher, of_student, others & mask[:, None, None])

    def _row_divergence(self, teacher: Tensor, student: Tensor, allowed: Tensor) -> Sums:
        """KL between the rows of two matrices (..., K, K) over the allowed columns."""
        temperature = self.config.relation_temperature
        target, row = (
            torch.log_softmax((matrix / temperature).masked_fill(~allowed, MASKED), dim=-1)
            for matrix in (teacher, student)
        )
        divergence = (target.exp() * (target - row)).masked_fill(~allowed, 0.0).sum()
        pairs = allowed.sum()
        return divergence, pairs if self.config.reduction == "pairs" else allowed.any(-1).sum()

    def _word_angle(self, teacher: Tensor, student: Tensor, mask: Tensor) -> Sums:
        """Angle term of one layer, inside a window: (B, T, D_t), (B, T, D_s), (B, T)."""
        window, dilation = self.config.window, self.config.dilation
        reach = min(window, (mask.shape[1] - 1) // dilation)
        offsets = [step * dilation for step in range(-reach, reach + 1) if step]
        if len(offsets) < 2:
            return _nothing(student)
        steps = torch.tensor(offsets).to(mask.device, non_blocking=True)
        place = steps + torch.arange(mask.shape[1], device=mask.device)[:, None]
        inside = (place >= 0) & (place < mask.shape[1])  # (T, W)
        near = mask[:, place.clamp(0, mask.shape[1] - 1)] & inside & mask[:, :, None]  # (B, T, W)
        of_teacher, of_student = (
            _window_products(_centred(states, mask), offsets, dilation) for states in (teacher, student)
        )
        return self._angle_error(of_teacher, of_student, near)

    def _layer_angle(self, teacher: Tensor, student: Tensor, mask: Tensor) -> Sums:
        """Angle term of one utterance: (L, T, D_t), (L, T, D_s), (T)."""
        layers = len(teacher)
        if layers < 3:
            return _nothing(student)
        others = ~torch.eye(layers, dtype=torch.bool, device=mask.device)
        of_teacher, of_student = (_layer_products(states.transpose(0, 1)) for states in (teacher, student))
        return self._angle_error(of_teacher, of_student, (others & mask[:, None, None])[None])

    def _angle_error(self, teacher: tuple[Tensor, Tensor], student: tuple[Tensor, Tensor], allowed: Tensor) -> Sums:
        """Squared difference of the angles' cosines.

        Args:
            teacher, student: products (h_j - h_i) . (h_k - h_i), (B, ..., K, K), and their diagonal, the squared
                distances (B, ..., K).
            allowed: (B, ..., K), the neighbours of each vertex.
        """
        reliable = allowed & (teacher[1] > NO_DIRECTION * _mean(teacher[1], allowed))
        triples = reliable[..., :, None] & reliable[..., None, :]
        triples = triples & ~torch.eye(allowed.shape[-1], dtype=torch.bool, device=allowed.device)
        angles = []
        for products, squared in (teacher, student):
            length = (squared + self.config.floor * _mean(squared, allowed)).clamp(min=1e-30).rsqrt()
            angles.append(products * length[..., :, None] * length[..., None, :])
        error = (angles[1] - angles[0]).square().masked_fill(~triples, 0.0).sum()
        return error, triples.sum()


def _one_after_another(
    relation: Callable[..., Sums], axis: int, teacher: Tensor, student: Tensor, mask: Tensor
) -> Sums:
    """The sum of a relation over the layers (axis 1, all with the same mask) or over the utterances (axis 0)."""
    masks = [mask] * teacher.shape[1] if axis == 1 else list(mask)
    sums = [
        checkpoint(relation, t, s, m, use_reentrant=False, preserve_rng_state=False)
        for t, s, m in zip(teacher.unbind(axis), student.unbind(axis), masks, strict=True)
    ]
    totals, counts = zip(*sums, strict=True)
    return torch.stack(totals).sum(), torch.stack(counts).sum()


def _cosines(states: Tensor, mask: Tensor) -> Tensor:
    """Cosines of all pairs, (..., K, K), from states (..., K, D) and a mask (..., K) of real ones."""
    squared = states.square().sum(-1)
    unit = states * (squared + NORM_FLOOR * _mean(squared, mask)).clamp(min=1e-30).rsqrt().unsqueeze(-1)
    return unit @ unit.transpose(-1, -2)


def _centred(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, D) minus the mean of its real frames, which leaves angles as they are and improves their precision."""
    count = mask.sum(-1).clamp(min=1)[:, None, None]
    return (states - states.sum(1, keepdim=True) / count).masked_fill(~mask.unsqueeze(-1), 0.0)


def _window_products(states: Tensor, offsets: list[int], dilation: int) -> tuple[Tensor, Tensor]:
    """(B, T, D) to the products (B, T, W, W) of the differences to the frames at `offsets`, and squared distances."""
    batch, frames, _ = states.shape
    reach = offsets[-1]
    lags = range(0, 2 * reach + 1, dilation)
    # product of frames t and t + lag at t, shifted so that no offset leads outside; (B, T + 2 reach, lags)
    bands = torch.stack([_lagged(states, lag, reach) for lag in lags], dim=-1)
    steps = torch.tensor([0, *offsets]).to(states.device, non_blocking=True)
    earlier = torch.minimum(steps[:, None], steps[None, :])  # earlier place of each pair in the window
    lag = (steps[:, None] - steps[None, :]).abs() // dilation
    rows = torch.arange(frames, device=states.device)[:, None, None] + reach + earlier  # (T, W + 1, W + 1)
    gram = bands.flatten(1)[:, rows * len(lags) + lag]  # (B, T, W + 1, W + 1), the vertex first
    return _differences(gram[..., 1:, 1:], gram[..., 0, 1:], gram[..., 0, 0])


def _lagged(states: Tensor, lag: int, reach: int) -> Tensor:
    """h_t . h_(t + lag) for t from -reach to T + reach, zero outside: (B, T + 2 reach)."""
    frames = states.shape[1]
    if lag >= frames:
        return states.new_zeros(len(states), frames + 2 * reach)
    product = torch.linalg.vecdot(states[:, : frames - lag], states[:, lag:])
    return nn.functional.pad(product, (reach, reach + lag))


def _layer_products(states: Tensor) -> tuple[Tensor, Tensor]:
    """(T, L, D) to the products (1, T, L, L, L) of the differences to each layer, and the squared distances."""
    centred = states - states.mean(1, keepdim=True)
    gram = (centred @ centred.transpose(1, 2))[None]  # (1, T, L, L)
    everywhere = gram.unsqueeze(2).expand(-1, -1, gram.shape[-1], -1, -1)  # the same for each vertex
    return _differences(everywhere, gram, gram.diagonal(dim1=-2, dim2=-1))


def _differences(gram: Tensor, to_vertex: Tensor, vertex: Tensor) -> tuple[Tensor, Tensor]:
    """The products (h_j - h_i) . (h_k - h_i), (..., K, K), and those with j = k, (..., K).

    Args:
        gram: h_j . h_k, (..., K, K); to_vertex: h_i . h_j, (..., K); vertex: h_i . h_i, (...).
    """
    products = gram - to_vertex[..., :, None] - to_vertex[..., None, :] + vertex[..., None, None]
    return products, products.diagonal(dim1=-2, dim2=-1).clamp(min=0.0)


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """The mean of each batch item over its real values, without gradient, in a shape that broadcasts."""
    axes = tuple(range(1, values.dim()))
    total = values.detach().masked_fill(~real, 0.0).sum(axes, keepdim=True)
    return total / real.expand_as(values).sum(axes, keepdim=True).clamp(min=1)


def _nothing(student: Tensor) -> Sums:
    return student.sum() * 0.0, torch.zeros((), dtype=torch.long, device=student.device)
