"""Speech as one long row of samples in memory, and batches of crops from anywhere in it.

A crop may hold the end of one utterance and the start of the next. All crops of a batch have one length and no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hubert.frames import frames_of, samples_of
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, read_audio
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.errors import UserError

_READERS = 16


class Crops(NamedTuple):
    """A batch.

    Attributes:
        clean: (B, S) samples in float32, as the guide reads them.
        noisy: (B, S) the same with noise or another voice in some rows, as the model reads them.
    """

    clean: Tensor
    noisy: Tensor


class Stream:
    """Samples (N,) in int16 on a device."""

    def __init__(self, samples: Tensor) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    @classmethod
    def read(cls, utterances: Sequence[Utterance], device: torch.device, seed: int, about: str) -> Stream:
        """All utterances one after another, in random order; a UserError if a file cannot be read."""
        order = np.random.default_rng(seed).permutation(len(utterances))
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(_in_16_bits, (utterances[i].path for i in order))
            parts = list(tqdm(found, total=len(order), desc=about, unit="file"))
        return cls(torch.from_numpy(np.concatenate(parts or [np.zeros(0, np.int16)])).to(device))

    def crops(self, starts: Tensor, samples: int) -> Tensor:
        """(B, S) float32 from `starts` (B,)."""
        places = starts.to(self.samples.device).unsqueeze(1) + torch.arange(samples, device=self.samples.device)
        return self.samples[places].float() / 32768


def _in_16_bits(path: Path) -> np.ndarray:
    wav = read_audio(path).numpy()
    return np.round(wav.clip(-1, 1) * 32767).astype(np.int16)


class CropSampler:
    """Draws batches; each is a pure function of the seed and of its number.

    Args:
        streams: each with the share of the crops that come from it.

    Raises:
        UserError: a stream is not longer than the longest crop.
    """

    def __init__(
        self,
        streams: Sequence[tuple[Stream, float]],
        *,
        crop_seconds: Sequence[float],
        batch_seconds: float,
        noise_share: float,
        noise_db: tuple[float, float],
        mix_share: float = 0.0,
        mix_db: tuple[float, float] = (0.0, 0.0),
        seed: int,
    ) -> None:
        self.lengths = [samples_of(int(frames_of(round(seconds * SAMPLE_RATE)))) for seconds in crop_seconds]
        self.streams = [(stream, share) for stream, share in streams if share > 0]
        short = [len(stream) for stream, _ in self.streams if len(stream) <= max(self.lengths)]
        if short or not self.streams:
            raise UserError(
                f"{min(short, default=0)} samples of speech; expected more than a crop of {max(self.lengths)}"
            )
        self.batch_samples = batch_seconds * SAMPLE_RATE
        self.noise_share, self.noise_db, self.seed = noise_share, noise_db, seed
        self.mix_share, self.mix_db = mix_share, mix_db

    def batch(self, number: int) -> Crops:
        """The batch of a number, on the device of the streams."""
        rng = np.random.default_rng((self.seed, number))
        samples = int(rng.choice(self.lengths))
        rows = max(1, int(self.batch_samples / samples))
        shares = np.array([share for _, share in self.streams])
        of = np.sort(rng.choice(len(self.streams), rows, p=shares / shares.sum()))
        parts = []
        for index, (stream, _) in enumerate(self.streams):
            starts = rng.integers(0, len(stream) - samples, int((of == index).sum()))
            parts.append(stream.crops(torch.from_numpy(starts), samples))
        clean = torch.cat(parts)
        levels = torch.from_numpy(rng.uniform(*self.noise_db, rows)).float()
        slopes = torch.from_numpy(rng.uniform(0, 2, rows)).float()
        touched = torch.from_numpy(rng.random(rows) < self.noise_share)
        generator = torch.Generator(clean.device).manual_seed(int(rng.integers(1 << 62)))
        heard = self._mixed(clean, np.random.default_rng((self.seed, number, 1))) if self.mix_share else clean
        return Crops(clean, add_noise(heard, levels, slopes, touched, generator))

    def _mixed(self, clean: Tensor, rng: np.random.Generator) -> Tensor:
        rows = len(clean)
        levels, starts = rng.uniform(*self.mix_db, rows), rng.uniform(0, 0.5, rows)
        chosen = rng.random(rows) < self.mix_share
        return add_voice(clean, *(torch.from_numpy(value).to(clean.device) for value in (levels, starts, chosen)))


def add_voice(wavs: Tensor, level_db: Tensor, start: Tensor, touched: Tensor) -> Tensor:
    """The row before, at a lower level and over half of the time, in some rows, as in WavLM (arXiv 2110.13900).

    Args:
        wavs: (B, S).
        level_db: (B,) power of the row over that of the other one.
        start: (B,) share of the row before the other voice begins, at most 0.5.
        touched: (B,) bool, rows that get the other voice.

    Returns:
        (B, S), the same values in rows that are not touched.
    """
    samples = wavs.shape[1]
    place = torch.arange(samples, device=wavs.device) / samples - start.unsqueeze(1)
    other = wavs.roll(1, 0) * ((place >= 0) & (place < 0.5))
    power = wavs.square().mean(1) * 10 ** (-level_db / 10) * touched
    gain = (power / wavs.roll(1, 0).square().mean(1).clamp(min=1e-6)).sqrt()
    return wavs + other * gain.unsqueeze(1).to(wavs.dtype)


def add_noise(wavs: Tensor, level_db: Tensor, slope: Tensor, touched: Tensor, generator: torch.Generator) -> Tensor:
    """Noise in some rows.

    Args:
        wavs: (B, S).
        level_db: (B,) power of the row's speech over that of the noise.
        slope: (B,) of the noise's spectrum: 0 white, 1 pink, 2 brown.
        touched: (B,) bool, rows that get noise.
        generator: on the device of `wavs`.

    Returns:
        (B, S), the same values in rows that are not touched.
    """
    level_db, slope, touched = (value.to(wavs.device) for value in (level_db, slope, touched))
    spectrum = torch.fft.rfft(torch.randn(wavs.shape, generator=generator, device=wavs.device))
    hz = torch.fft.rfftfreq(wavs.shape[1], 1 / SAMPLE_RATE, device=wavs.device).clamp(min=40.0)
    noise = torch.fft.irfft(spectrum * hz ** (-slope.unsqueeze(1) / 2), wavs.shape[1])
    power = wavs.square().mean(1) * 10 ** (-level_db / 10) * touched
    return wavs + noise * (power / noise.square().mean(1).clamp(min=1e-12)).sqrt().unsqueeze(1)
