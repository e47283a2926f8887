"""Effects of a recording on speech: a room, a microphone, noise, a change of speed.

espeak-ng speaks a word always in the same way. Without these effects a constant would identify each speaker, and a
template each word. Random choices follow from keys (texts), so a recording depends on its key alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr

from s3prl_gendistiller.distill.audio import SAMPLE_RATE

_DIRECT_SAMPLES = 40  # echoes start 2.5 ms after the direct sound
_LOWEST_HZ = 40.0


@dataclass(frozen=True)
class Scene:
    """Effects on the recordings of a corpus; ranges are (lowest, highest), drawn evenly."""

    snr_db: tuple[float, float] | None = None  # speech over noise; None for no noise
    room_share: float = 0.0  # share of the recordings that have echoes
    decay_s: tuple[float, float] = (0.1, 0.4)  # time in which the echoes fall by 60 dB
    tilt_db: tuple[float, float] = (0.0, 0.0)  # slope of the microphone per octave around 1 kHz
    high_hz: tuple[float, float] = (8000.0, 8000.0)  # highest frequency of the microphone
    speed: tuple[float, float] = (1.0, 1.0)  # speed of playback, which shifts pitch and formants as well


QUIET = Scene()  # a scene without effects
INDOORS = Scene(snr_db=(8, 30), room_share=0.5, tilt_db=(-1.0, 1.0), high_hz=(5000, 8000), speed=(0.96, 1.04))
"""The scene of most corpora here, in which people understand the speech without effort."""


@dataclass(frozen=True)
class Place:
    """One room with one microphone and one kind of noise, which recordings of one session share."""

    room: str
    decay_s: float
    tilt_db: float
    high_hz: float
    noise_slope: float  # slope of the spectrum: 0 white, 1 pink, 2 brown
    snr_db: float | None


def generator(key: str) -> np.random.Generator:
    """A random number generator whose seed is a text."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


def draw_place(scene: Scene, key: str) -> Place | None:
    """A place of the scene, always the same for a key; None if the scene changes nothing but the speed."""
    if scene == Scene(speed=scene.speed):
        return None
    rng = generator(f"place/{key}")
    decay_s = float(rng.uniform(*scene.decay_s)) if rng.random() < scene.room_share else 0.0
    tilt_db, high_hz = float(rng.uniform(*scene.tilt_db)), float(rng.uniform(*scene.high_hz))
    snr_db = None if scene.snr_db is None else float(rng.uniform(*scene.snr_db))
    return Place(key, decay_s, tilt_db, high_hz, float(rng.uniform(0, 2)), snr_db)


def at_16_khz(wav: np.ndarray, rate_hz: int, speed: float = 1.0) -> np.ndarray:
    """(samples,) of any scale at `rate_hz`, played `speed` times as fast -> float32 at 16 kHz."""
    return soxr.resample(wav.astype(np.float32), round(rate_hz * speed), SAMPLE_RATE)


def trimmed(wav: np.ndarray, threshold: float = 0.02) -> np.ndarray:
    """The speech without silence before and after it; `threshold` is a share of the peak."""
    loud = np.flatnonzero(np.abs(wav) > threshold * np.abs(wav).max(initial=0))
    return wav[loud[0] : loud[-1] + 1] if len(loud) else wav


def in_room(wav: np.ndarray, place: Place) -> np.ndarray:
    """Speech through the place's room and microphone, without noise: same length and loudness."""
    if not len(wav):
        return wav
    echo = _room_response(place.room, place.decay_s)
    size = 1 << (len(wav) + len(echo) - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(wav, size) * np.fft.rfft(echo, size) * _microphone(place, size), size)[: len(wav)]
    return (heard * (_power(wav) / max(_power(heard), 1e-12)) ** 0.5).astype(np.float32)


def noise(samples: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Steady noise of unit power, (samples,) float32."""
    size = 1 << max(samples - 1, 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    hz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), _LOWEST_HZ)
    shaped = np.fft.irfft(spectrum * hz ** (-slope / 2), size)[:samples]
    return (shaped / max(_power(shaped) ** 0.5, 1e-9)).astype(np.float32)


def with_noise(wav: np.ndarray, place: Place, key: str) -> np.ndarray:
    """Speech with the place's noise; silence in `wav` does not count for the power of the speech."""
    if place.snr_db is None:
        return wav
    loud = np.abs(wav) > 0.02 * np.abs(wav).max(initial=0)
    power = _power(wav[loud]) if loud.any() else 0.0
    level = (power * 10 ** (-place.snr_db / 10)) ** 0.5
    return wav + np.float32(level) * noise(len(wav), place.noise_slope, generator(f"noise/{place.room}/{key}"))


@lru_cache(maxsize=64)
def _room_response(room: str, decay_s: float) -> np.ndarray:
    """Direct sound, then noise that falls by 60 dB in `decay_s`: (samples,) float64."""
    response = np.zeros(_DIRECT_SAMPLES + round(decay_s * SAMPLE_RATE))
    if decay_s:
        rng = generator(f"room/{room}")
        time_s = np.arange(len(response) - _DIRECT_SAMPLES) / SAMPLE_RATE
        tail = rng.standard_normal(len(time_s)) * np.exp(-6.9 * time_s / decay_s)
        response[_DIRECT_SAMPLES:] = tail * (rng.uniform(0.3, 0.8) / np.linalg.norm(tail))
    response[0] = 1.0
    return response


def _microphone(place: Place, size: int) -> np.ndarray:
    """Amplitude at each frequency of an FFT of `size`."""
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    octaves = np.clip(np.log2(np.maximum(hz, 1.0) / 1000), -4, 3)
    stop = 1 / np.sqrt(1 + (hz / place.high_hz) ** 12) if place.high_hz < SAMPLE_RATE / 2 else 1.0
    return 10 ** (place.tilt_db * octaves / 20) * stop


def _power(wav: np.ndarray) -> float:
    return float(np.mean(np.square(wav, dtype=np.float64)))
