"""Log-mel features in place of HuBERT's convolutions: 80 bins of 25 ms windows, then convolutions to 20 ms frames.

With w the Hann window of `WINDOW` samples, x_m the samples of mel frame m (every `HOP` samples) and F the filters:

    E_m = log(F |DFT(w x_m)|^2 + `FLOOR`)          (bins,)     float32, whatever the precision around it
    n_m = (E_m - mean) / (deviation + eps)         (bins,)     statistics over the utterance's own mel frames
    f   = conv(... conv(n) ...)                    (T, C)      the last convolution has stride 2

An utterance of L samples has M = (L - 400) // 160 + 1 mel frames and (M - 1) // 2 + 1 = (L - 400) // 320 + 1 frames,
which is HuBERT's count for every length. No frame depends on the samples behind its utterance: mel frames that reach
beyond the end are left out, and each convolution reads zeros there.

The utterance's statistics enter in `normalise_frames` alone. A streaming form can put running statistics there, or use
the norm "none", whose frames depend on no other frame but those in the kernels of the convolutions.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from s3prl_gendistiller.config import BackboneConfig
from s3prl_gendistiller.models.front_end import frame_mask, num_frames, require_frames, scale_gradient
from s3prl_gendistiller.models.moments import Moments
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE

WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
FLOOR = 1e-6  # added to the energies, so that silence has a logarithm
KERNEL = 3  # of the convolutions
USUAL_MEAN, USUAL_DEVIATION = -6.0, 4.0  # of the logarithms, for speech between -1 and 1
FRAMES_EPS = 1e-5  # added to the variance of the logarithms
NORMS = ("utterance", "bin", "none")
LARGEST_FFT = 4096


def mel_filters(bins: int, fft: int) -> Tensor:
    """Triangles that are equally wide on the mel scale (HTK: 2595 log10(1 + f / 700)), from 0 Hz to 8 kHz.

    Args:
        bins: number of filters.
        fft: points of the Fourier transform.

    Returns:
        (fft // 2 + 1, bins), float32.
    """
    # on the CPU even where transformers builds a model without memory
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, fft // 2 + 1, dtype=torch.float64, device="cpu")
    highest = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, highest, bins + 2, dtype=torch.float64, device="cpu") / 2595) - 1)
    widths = corners.diff()
    distances = frequencies.unsqueeze(1) - corners  # (fft // 2 + 1, bins + 2)
    rising, falling = distances[:, :-2] / widths[:-1], -distances[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0).float()


def fft_points(bins: int) -> int | None:
    """Points of the shortest Fourier transform, a power of two from 512 on, that gives every filter a frequency.

    Returns:
        None where `LARGEST_FFT` points are too few: windows of 25 ms do not resolve so many bins.
    """
    fft = 512
    while fft <= LARGEST_FFT:
        if bool((mel_filters(bins, fft).sum(0) > 0).all()):
            return fft
        fft *= 2
    return None


class LogMel(nn.Module):
    """Logarithms of mel energies.

    Args:
        bins: number of mel filters.

    Attributes:
        by_convolution: compute the Fourier transform as a convolution with fixed weights. Exporters set it where a
            format has no transform. The energies agree to 1e-5 of the largest energy of their frame.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        fft = fft_points(bins)
        if fft is None:
            raise ValueError(f"found {bins} mel bins, expected fewer: windows of 25 ms do not resolve so many")
        self.bins, self.fft = bins, fft
        self.by_convolution = False
        self.register_buffer("window", torch.empty(WINDOW), persistent=False)
        self.register_buffer("filters", torch.empty(fft // 2 + 1, bins), persistent=False)
        self.fill()

    @torch.no_grad()
    def fill(self) -> None:
        """Computes window and filters, which no file stores."""
        self.window.copy_(torch.hann_window(WINDOW, periodic=True, device="cpu"))
        self.filters.copy_(mel_filters(self.bins, self.fft))

    def forward(self, wavs: Tensor) -> Tensor:
        """
        Args:
            wavs: (B, S) samples at 16 kHz, S >= `WINDOW`.

        Returns:
            (B, M, bins) float32.
        """
        with torch.autocast(wavs.device.type, enabled=False):
            wavs = wavs.float()
            power = self._power_by_convolution(wavs) if self.by_convolution else self._power(wavs)
            return (power @ self.filters.float() + FLOOR).log()

    def _power(self, wavs: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wavs.unfold(-1, WINDOW, HOP) * self.window.float(), n=self.fft)
        return spectrum.real.square() + spectrum.imag.square()  # (B, M, fft // 2 + 1)

    def _power_by_convolution(self, wavs: Tensor) -> Tensor:
        samples = torch.arange(WINDOW, dtype=torch.float64, device=wavs.device)
        points = torch.arange(self.fft // 2 + 1, dtype=torch.float64, device=wavs.device)
        angles = 2 * math.pi / self.fft * points.unsqueeze(1) * samples  # (fft // 2 + 1, WINDOW)
        kernels = torch.cat((angles.cos(), angles.sin())) * self.window.double()
        parts = nn.functional.conv1d(wavs.unsqueeze(1), kernels.float().unsqueeze(1), stride=HOP)
        real, imaginary = parts.chunk(2, dim=1)  # (B, fft // 2 + 1, M) each
        return (real.square() + imaginary.square()).transpose(1, 2)


def normalise_frames(x: Tensor, mask: Tensor, norm: str, statistics: Moments | None = None) -> Tensor:
    """Zero mean and unit variance of log-mel energies.

    Args:
        x: (B, M, bins).
        mask: (B, M), True = real mel frame.
        norm: "utterance" takes one mean and variance of all real frames and bins of an utterance, "bin" takes one of
            each bin over the real frames, "none" takes the same two constants for all speech.
        statistics: those of the whole utterances of which x is a part; None: x holds whole utterances.

    Returns:
        (B, M, bins); zero behind the real frames.
    """
    real = mask.unsqueeze(-1).to(x.dtype)
    if norm == "none":
        return (x - USUAL_MEAN) / USUAL_DEVIATION * real
    if statistics is not None:
        return statistics.normalise(x, FRAMES_EPS) * real
    over = (1, 2) if norm == "utterance" else (1,)
    count = real.sum(1, keepdim=True) * (x.shape[-1] if norm == "utterance" else 1)
    centred = (x - (x * real).sum(over, keepdim=True) / count) * real
    return centred / (centred.square().sum(over, keepdim=True) / count + FRAMES_EPS).sqrt()


class MelFrontEnd(nn.Module):
    """Log-mel energies and a few convolutions: 20 ms frames from 16 kHz samples.

    Args:
        channels: C, of every convolution.
        bins: mel filters.
        convolutions: how many, of kernel 3; the last one has stride 2.
        norm: of `NORMS`, see `normalise_frames`.
        dropout: behind each convolution.
        grad_mult: factor on the gradient that flows into the convolutions; 0 leaves them untrained.

    The attributes `margin_frames` and `normed_window` are those of `front_end.ConvFrontEnd`.
    """

    def __init__(
        self, channels: int, *, bins: int, convolutions: int, norm: str, dropout: float, grad_mult: float
    ) -> None:
        super().__init__()
        self.channels = channels
        self.mel = LogMel(bins)
        self.norm = norm
        self.normed_window = None if norm == "none" else (WINDOW, HOP)
        self.margin_frames = math.ceil(convolutions * (KERNEL // 2) / 2)  # two mel frames a frame
        self.grad_mult = grad_mult
        widths = [bins, *[channels] * convolutions]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, KERNEL, stride=2 if index == convolutions - 1 else 1, padding=KERNEL // 2)
            for index, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout)
        if grad_mult == 0.0:
            self.requires_grad_(False)

    def frames(self, lengths: Tensor) -> Tensor:
        """(B,) samples to (B,) frames."""
        return num_frames(lengths, [(1, WINDOW, HOP), (1, 1, 2)])

    def mask(self, lengths: Tensor, max_frames: int, device: torch.device) -> Tensor:
        """(B,) samples to the frame mask (B, T) on `device`; a ValueError if an item is too short for one frame."""
        frames = self.frames(lengths)
        require_frames(lengths, frames)
        return frame_mask(frames, max_frames, device)

    def moments(self, wavs: Tensor) -> Moments:
        """What the norm takes over unpadded samples (B, S): of all log-mel energies, or of those of each bin."""
        return Moments.of(self.mel(wavs), (0, 1, 2) if self.norm == "utterance" else (0, 1))

    def forward(self, wavs: Tensor, lengths: Tensor, statistics: Moments | None = None) -> tuple[Tensor, Tensor]:
        """
        Args:
            wavs: (B, S), zero after each item's end.
            lengths: (B,) samples.
            statistics: `moments` of the whole utterances of which `wavs` are a part; None: `wavs` are whole.

        Returns:
            features (B, T, C) and frame mask (B, T).

        Raises:
            ValueError: an item is too short for a single frame.
        """
        frames = num_frames(lengths, [(1, WINDOW, HOP)])  # (B,) mel frames
        require_frames(lengths, frames)
        x = self.mel(wavs)  # (B, M, bins)
        x = normalise_frames(x, frame_mask(frames, x.shape[1], x.device), self.norm, statistics).transpose(1, 2)
        for index, convolution in enumerate(self.convolutions, start=1):
            x = self.dropout(nn.functional.gelu(convolution(x)))  # (B, C, M')
            if index == len(self.convolutions):
                frames = num_frames(frames, [(1, 1, 2)])
            mask = frame_mask(frames, x.shape[-1], x.device)
            x = x * mask.unsqueeze(1)  # the next convolution reads zeros behind the utterance, as it does alone
        return scale_gradient(x, self.grad_mult).transpose(1, 2), mask


def build(config: BackboneConfig) -> MelFrontEnd:
    """The front end of the row `mel` of `front_ends.FRONT_ENDS`."""
    return MelFrontEnd(
        config.mel_channels,
        bins=config.mel_bins,
        convolutions=config.mel_convolutions,
        norm=config.mel_norm,
        dropout=config.extractor_dropout,
        grad_mult=config.feature_grad_mult,
    )
