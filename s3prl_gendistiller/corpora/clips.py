"""Audio files of a corpus as plain values, which a worker process can turn into sound.

Every clip holds its path below the corpus folder and everything that decides its samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from s3prl_gendistiller.corpora.augment import Place, at_16_khz, generator, in_room, noise, trimmed, with_noise
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.formats.rttm import Turn

PEAK = 0.5


class Recording(NamedTuple):
    """The sound of a clip."""

    wav: np.ndarray  # (samples,) float32 at 16 kHz, within -1 to 1
    turns: tuple[Turn, ...] = ()  # empty for recordings of one speaker


class Clip(Protocol):
    """Content of one audio file."""

    @property
    def path(self) -> str:
        """Path below the corpus folder, `/` between the parts; the suffix decides the format."""

    def record(self, engine: Espeak) -> Recording:
        """The sound, the same in every call."""


@dataclass(frozen=True)
class Spoken:
    """One utterance."""

    path: str
    voice: str
    text: str
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int | None = None
    gain: float = 1.0  # peak, as a share of `PEAK`
    effort_db: float = 0.0  # slope per octave of a loud (positive) or soft voice
    speed: float = 1.0
    place: Place | None = None
    samples: int | None = None  # exact length, with the speech at a random place; None for the length of the speech
    key: str = ""  # decides the noise, together with the place

    def record(self, engine: Espeak) -> Recording:
        wav = self.heard(engine)
        if self.place is not None:
            wav = with_noise(wav, self.place, self.key)
        return Recording(within_range(wav))

    def heard(self, engine: Espeak) -> np.ndarray:
        """The speech in its room, without noise."""
        speech = engine.speak(
            self.text.lower(), self.voice, rate_wpm=self.rate_wpm, pitch=self.pitch, pitch_range=self.pitch_range
        )
        wav = at_16_khz(speech.wav, speech.rate_hz, self.speed)
        if self.effort_db:
            wav = in_room(wav, Place("", 0.0, self.effort_db, SAMPLE_RATE, 0.0, None))
        if self.samples is not None:
            wav = _placed(trimmed(wav), self.samples, self.key)
        if self.place is not None:
            wav = in_room(wav, self.place)
        wav *= self.gain * PEAK / max(1.0, float(np.abs(wav).max(initial=0)))
        return wav


class DialogTurn(NamedTuple):
    """A turn of a conversation, which starts `gap_s` after the end of the turn before; negative gaps overlap."""

    speaker: str
    spoken: Spoken
    gap_s: float


@dataclass(frozen=True)
class Conversation:
    """Several speakers in one place. Different speakers may talk at once; the turns of one speaker never overlap."""

    path: str
    parts: tuple[DialogTurn, ...]
    place: Place

    def record(self, engine: Espeak) -> Recording:
        pieces: list[tuple[int, np.ndarray]] = []
        turns: list[Turn] = []
        free: dict[str, int] = {}
        before = 0
        for part in self.parts:
            wav = trimmed(part.spoken.heard(engine))
            start = max(before + round(part.gap_s * SAMPLE_RATE), free.get(part.speaker, 0), 0)
            before = free[part.speaker] = start + len(wav)
            pieces.append((start, wav))
            turns.append(Turn(part.speaker, start / SAMPLE_RATE, before / SAMPLE_RATE))
        mixed = np.zeros(max(start + len(wav) for start, wav in pieces), np.float32)
        for start, wav in pieces:
            mixed[start : start + len(wav)] += wav
        noisy = with_noise(in_room(mixed, self.place), self.place, self.path)
        return Recording(within_range(noisy), tuple(turns))


@dataclass(frozen=True)
class Hush:
    """A recording without speech: noise of steady or changing loudness, or hum."""

    path: str
    seconds: float
    slope: float
    level: float = 0.05
    change_hz: float = 0.0  # frequency at which the loudness changes; 0 for steady noise
    hum_hz: float = 0.0
    seed: int = 0

    def record(self, engine: Espeak) -> Recording:
        samples = round(self.seconds * SAMPLE_RATE)
        rng = generator(f"hush/{self.seed}/{self.path}")
        wav = noise(samples, self.slope, rng)
        time_s = np.arange(samples) / SAMPLE_RATE
        if self.change_hz:
            wav *= 0.2 + np.abs(np.sin(np.pi * self.change_hz * time_s + rng.uniform(0, 3))) ** 3
        if self.hum_hz:
            wav = 0.3 * wav + sum(np.sin(2 * np.pi * self.hum_hz * n * time_s) / n for n in (1, 2, 3, 5))
        return Recording(within_range(self.level * wav.astype(np.float32)))


def within_range(wav: np.ndarray) -> np.ndarray:
    """The waveform, scaled down as a whole if a sample would be clipped."""
    return wav / max(1.0, float(np.abs(wav).max(initial=0)) / 0.99)


def _placed(wav: np.ndarray, samples: int, key: str) -> np.ndarray:
    """The waveform at a random place in a clip of exactly `samples`; a longer one is cut at both ends."""
    spare = samples - len(wav)
    if spare < 0:
        return wav[-spare // 2 : -spare // 2 + samples]
    start = int(generator(f"start/{key}").integers(0, spare + 1))
    return np.pad(wav, (start, spare - start))
