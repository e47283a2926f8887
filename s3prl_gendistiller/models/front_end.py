"""From samples to frames: HuBERT's convolutions and its convolutional position (arXiv 2106.07447)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from s3prl_gendistiller.config import BackboneConfig
from s3prl_gendistiller.models.exporting import is_exporting
from s3prl_gendistiller.models.moments import Moments, Statistics

ConvShape = tuple[int, int, int]  # channels, kernel, stride
T = TypeVar("T", bound="ConvFrontEnd")
SAMPLES_EPS = 1e-7  # added to the variance of samples, as wav2vec 2.0 does


def num_frames(lengths: Tensor, conv_layers: Sequence[ConvShape]) -> Tensor:
    """(B,) samples to (B,) frames after the convolutions; fewer than the receptive field (400 for HuBERT) give 0."""
    for _, kernel, stride in conv_layers:
        lengths = (lengths - kernel) // stride + 1
    return lengths.clamp(min=0)


def require_frames(lengths: Tensor, frames: Tensor) -> None:
    """ValueError if an utterance of (B,) samples has none of its (B,) frames, both on the CPU."""
    if not is_exporting() and int(frames.min()) < 1:
        shortest = int(lengths.min())
        raise ValueError(f"found an utterance of {shortest} samples, expected at least one frame (400 samples)")


def frame_mask(frames: Tensor, max_frames: int, device: torch.device | None = None) -> Tensor:
    """(B,) frame counts to a (B, T) mask, True = real frame, on `device` or where the counts are."""
    frames = frames.to(device=device, non_blocking=True)
    return torch.arange(max_frames, device=frames.device) < frames.unsqueeze(1)


def normalise_samples(wavs: Tensor, mask: Tensor, statistics: Moments | None = None) -> Tensor:
    """(B, S) with zero mean and unit variance over the real samples of each utterance (True in the mask), else zero.

    `statistics` are those of the whole utterances of which the samples are a part; None: the samples are whole.
    """
    if statistics is not None:
        return statistics.normalise(wavs, SAMPLES_EPS) * mask
    count = mask.sum(1, keepdim=True)
    mean = (wavs * mask).sum(1, keepdim=True) / count
    centred = (wavs - mean) * mask
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + SAMPLES_EPS).sqrt()


class ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by `factor`: wav2vec 2.0 trains the CNN more slowly in this way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`ScaleGradient` for factors between 0 and 1; `x` itself for 0, where nothing before it is trained, and for 1."""
    scaled: Tensor = ScaleGradient.apply(x, factor) if 0.0 < factor < 1.0 and not is_exporting() else x
    return scaled


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, T), frame by frame, so that padding has no influence."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class UtteranceGroupNorm(nn.GroupNorm):
    """GroupNorm with one group per channel of (B, C, T) and statistics over each utterance's own frames.

    HuBERT Base computes its statistics over the padding too, so that the features of a short utterance depend on the
    longest utterance of the batch: the features change by a third beside an utterance of twice the length
    (benchmarks/RESULTS.md).
    """

    def forward(self, x: Tensor, frames: Tensor | None = None, statistics: Moments | None = None) -> Tensor:
        """(B, C, T) -> (B, C, T), zero behind the (B,) real frames; None for all frames.

        `statistics` are those of the whole utterances of which x is a part; None: x holds whole utterances.
        """
        total = x.shape[-1]
        if statistics is not None:
            weight, bias = self.weight.unsqueeze(-1), self.bias.unsqueeze(-1)  # (C, 1)
            normed = statistics.normalise(x, self.eps, 1) * weight + bias
            return normed if frames is None else normed * frame_mask(frames, total, x.device).unsqueeze(1)
        if frames is None:
            return super().forward(x)
        if is_exporting():
            return self.normed(x, frames)
        if int(frames.min()) >= total:
            return super().forward(x)
        return self._one_by_one(x, frames) if x.device.type == "cpu" else self.all_at_once(x, frames)

    def _one_by_one(self, x: Tensor, frames: Tensor) -> Tensor:
        """torch's own group norm of each utterance, which is the fastest way on a CPU."""
        norm, total = super().forward, x.shape[-1]
        cut = (norm(x[i : i + 1, :, :count]) for i, count in enumerate(frames.tolist()))
        return torch.cat([nn.functional.pad(item, (0, total - item.shape[-1])) for item in cut])

    def all_at_once(self, x: Tensor, frames: Tensor) -> Tensor:
        """The whole batch in a few kernels: a GPU waits for no count, and runs no kernel for a single utterance."""
        return self.normed(x, frames.to(device=x.device, non_blocking=True))

    def normed(self, x: Tensor, frames: Tensor) -> Tensor:
        """The computation of `all_at_once`, with the (B,) frames on the device of (B, C, T)."""
        with torch.autocast(x.device.type, enabled=False):
            padded = ~frame_mask(frames, x.shape[-1]).unsqueeze(1)  # (B, 1, T)
            count = frames.to(torch.float32).view(-1, 1, 1)
            wide = x.float().masked_fill(padded, 0.0)
            centred = (wide - wide.sum(-1, keepdim=True) / count).masked_fill(padded, 0.0)  # two passes, as torch
            scale = (centred.square().sum(-1, keepdim=True) / count + self.eps).rsqrt()
            normed = centred * (scale * self.weight.float().unsqueeze(-1)) + self.bias.float().unsqueeze(-1)
            return normed.masked_fill(padded, 0.0).to(x.dtype)


class ConvBlock(nn.Module):
    """One convolution without bias, its optional norm, dropout and GELU."""

    def __init__(self, in_channels: int, shape: ConvShape, norm: nn.Module | None, dropout: float) -> None:
        super().__init__()
        channels, kernel, stride = shape
        self.conv = nn.Conv1d(in_channels, channels, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.dropout = nn.Dropout(dropout)
        self.norm = norm

    def forward(self, x: Tensor, frames: Tensor, statistics: Moments | None = None) -> Tensor:
        """(B, C_in, S) -> (B, C, S'); frames (B,) of the result; statistics as of `UtteranceGroupNorm`."""
        x = self.dropout(self.conv(x))
        if isinstance(self.norm, UtteranceGroupNorm):
            x = self.norm(x, frames, statistics)
        elif self.norm is not None:
            x = self.norm(x)
        return nn.functional.gelu(x)


class ConvFrontEnd(nn.Module):
    """HuBERT's convolutional feature extractor: 20 ms frames from 16 kHz samples.

    Args:
        conv_layers: ``(channels, kernel, stride)`` per layer.
        mode: "default" puts a GroupNorm with one group per channel after the first layer, see `UtteranceGroupNorm`;
            "layer_norm" normalises channels in every layer. With either, no frame depends on padding.
        grad_mult: factor on the gradient that flows into the convolutions; 0 leaves them untrained.

    Attributes:
        margin_frames: frames before and behind a frame that enter it beside its own samples.
        normed_window: samples of each frame that the norm over the utterance reads, and samples from one to the next;
            None where no norm spans the utterance.
    """

    margin_frames = 0

    def __init__(self, conv_layers: Sequence[ConvShape], *, mode: str, dropout: float, grad_mult: float) -> None:
        super().__init__()
        self.conv_layers = tuple(conv_layers)
        self.channels = self.conv_layers[-1][0]
        self.grad_mult = grad_mult
        channels_in = [1, *(channels for channels, _, _ in self.conv_layers)]
        self.layers = nn.ModuleList(
            ConvBlock(channels_in[index], shape, _conv_norm(mode, index, shape[0]), dropout)
            for index, shape in enumerate(self.conv_layers)
        )
        self.normed_window = self.conv_layers[0][1:] if mode == "default" else None
        if grad_mult == 0.0:
            self.requires_grad_(False)

    @classmethod
    def of(cls: type[T], config: BackboneConfig, conv_layers: Sequence[ConvShape]) -> T:
        """The convolutions `conv_layers` with the other keys of a configuration."""
        return cls(
            conv_layers,
            mode=config.extractor_mode,
            dropout=config.extractor_dropout,
            grad_mult=config.feature_grad_mult,
        )

    def frames(self, lengths: Tensor) -> Tensor:
        """(B,) samples to (B,) frames."""
        return num_frames(lengths, self.conv_layers)

    def moments(self, wavs: Tensor) -> Moments:
        """What the group norm takes over unpadded samples (B, S), of each channel of the first convolution."""
        return Moments.of(self.layers[0].conv(wavs.unsqueeze(1)), (0, 2))  # type: ignore[operator]

    def forward(self, wavs: Tensor, lengths: Tensor, statistics: Moments | None = None) -> tuple[Tensor, Tensor]:
        """Features of the frames.

        Args:
            wavs: (B, S), zero after each item's end.
            lengths: (B,) samples, on the CPU: a decision on lengths elsewhere would wait for the device.
            statistics: `moments` of the whole utterances of which `wavs` are a part; None: `wavs` are whole.

        Returns:
            features (B, T, C) and frame mask (B, T).

        Raises:
            ValueError: an item is too short for a single frame.
        """
        frames = self.frames(lengths)
        require_frames(lengths, frames)
        x = wavs.unsqueeze(1)  # (B, 1, S)
        for index, layer in enumerate(self.layers):
            x = layer(x, num_frames(lengths, self.conv_layers[: index + 1]), statistics)
        x = scale_gradient(x, self.grad_mult).transpose(1, 2)  # (B, T, C)
        return x, frame_mask(frames, x.shape[1], x.device)

    def mask(self, lengths: Tensor, max_frames: int, device: torch.device) -> Tensor:
        """(B,) samples to the frame mask (B, T) on `device`; a ValueError if an item is too short for one frame."""
        frames = self.frames(lengths)
        require_frames(lengths, frames)
        return frame_mask(frames, max_frames, device)


@dataclass(frozen=True)
class Front:
    """All that a student does between samples and features.

    Attributes:
        front_end: of a row of `front_ends`.
        normalises: whether the samples of each utterance are normalised before.
    """

    front_end: Any
    normalises: bool = False

    def __call__(self, wavs: Tensor, lengths: Tensor, statistics: Statistics | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T, C) and frame mask (B, T) of wavs (B, S) with lengths (B,).

        `statistics` are those of the whole utterances of which `wavs` are a part; None: `wavs` are whole.
        """
        given = statistics or Statistics()
        if self.normalises:
            wavs = normalise_samples(wavs, frame_mask(lengths, wavs.shape[1], wavs.device), given.samples)
        if given.frames is None:
            return self.front_end(wavs, lengths)
        return self.front_end(wavs, lengths, given.frames)


def build(config: BackboneConfig) -> ConvFrontEnd:
    """The front end of the row `conv` of `front_ends.FRONT_ENDS`."""
    return ConvFrontEnd.of(config, config.extractor_conv_feature_layers)


class ConvPosition(nn.Module):
    """Position from a grouped, weight-normed convolution over time, added to its input by the caller.

    Args:
        width: D.
        kernel: 128 frames in HuBERT; an even kernel gives one frame too many, which is cut off at the end.
    """

    def __init__(self, width: int, *, kernel: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(conv.weight, std=(4.0 / (kernel * width)) ** 0.5)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = weight_norm(conv, dim=2)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        y = self.conv(x.transpose(1, 2))[..., : x.shape[1]]
        return nn.functional.gelu(y).transpose(1, 2)


def _conv_norm(mode: str, index: int, channels: int) -> nn.Module | None:
    if mode == "layer_norm":
        return ChannelLayerNorm(channels)
    return UtteranceGroupNorm(channels, channels) if index == 0 else None
