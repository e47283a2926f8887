"""Rooms, microphones and noise: as strong as they say, and always the same for a key."""

from __future__ import annotations

import numpy as np
import pytest

from s3prl_gendistiller.corpora.augment import (
    INDOORS,
    QUIET,
    Place,
    Scene,
    at_16_khz,
    draw_place,
    generator,
    in_room,
    noise,
    trimmed,
    with_noise,
)
from s3prl_gendistiller.corpora.clips import Hush, Spoken
from s3prl_gendistiller.corpora.espeak import Espeak

TONE = np.sin(2 * np.pi * 300 * np.arange(16000) / 16000).astype(np.float32)


def place(**changes: object) -> Place:
    fields = {"room": "r", "decay_s": 0.0, "tilt_db": 0.0, "high_hz": 8000.0, "noise_slope": 0.0, "snr_db": None}
    return Place(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_noise_has_the_ratio_asked_for(snr_db: float) -> None:
    added = with_noise(TONE, place(snr_db=snr_db, noise_slope=1.0), "key") - TONE
    assert 10 * np.log10(np.mean(TONE**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.5)


def test_silence_around_speech_does_not_count_for_the_ratio() -> None:
    padded = np.pad(TONE, 16000)
    added = with_noise(padded, place(snr_db=10.0), "key") - padded
    assert np.mean(added**2) == pytest.approx(0.05, rel=0.1)


def test_slope_makes_noise_darker() -> None:
    def share_above_2_khz(slope: float) -> float:
        power = np.abs(np.fft.rfft(noise(16000, slope, generator("x")))) ** 2
        return float(power[2000:].sum() / power.sum())

    shares = [share_above_2_khz(slope) for slope in (0.0, 1.0, 2.0)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.7 and shares[2] < 0.1


def test_room_keeps_length_and_loudness_and_rings() -> None:
    click = np.zeros(16000, np.float32)
    click[100] = 1.0
    heard = in_room(click, place(decay_s=0.3))
    assert len(heard) == 16000
    assert np.mean(heard**2) == pytest.approx(np.mean(click**2), rel=1e-3)
    assert np.abs(heard[200:2000]).max() > 10 * np.abs(heard[8000:]).max() > 0


def test_microphone_takes_away_what_is_above_its_limit() -> None:
    white = noise(16000, 0.0, generator("x"))
    power = np.abs(np.fft.rfft(in_room(white, place(high_hz=3000.0)))) ** 2
    assert power[6000:].mean() < 1e-2 * power[500:2000].mean()


def test_quiet_scene_has_no_place_and_draws_depend_on_the_key() -> None:
    assert draw_place(QUIET, "a") is None
    assert draw_place(Scene(speed=(0.9, 1.1)), "a") is None
    assert draw_place(INDOORS, "a") == draw_place(INDOORS, "a") != draw_place(INDOORS, "b")


def test_speed_shortens_and_trimming_takes_the_quiet_ends() -> None:
    assert len(at_16_khz(TONE, 22050)) == pytest.approx(16000 * 16000 / 22050, abs=1)
    assert len(at_16_khz(TONE, 16000, 1.25)) == pytest.approx(12800, abs=1)
    assert len(trimmed(np.pad(TONE, 500))) == pytest.approx(16000, abs=4)
    assert len(trimmed(np.zeros(10, np.float32))) == 10


def test_clip_of_fixed_length_holds_the_whole_word_somewhere() -> None:
    engine = Espeak()
    clips = [Spoken("a.wav", "en-us+m3", "seven", samples=16000, key=str(i)).record(engine).wav for i in range(4)]
    assert {len(wav) for wav in clips} == {16000}
    starts = {int(np.flatnonzero(np.abs(wav) > 0.01)[0]) for wav in clips}
    assert len(starts) == 4
    assert len(Spoken("a.wav", "en-us+m3", "seven " * 9, samples=16000).record(engine).wav) == 16000


@pytest.mark.parametrize("kind", [{}, {"change_hz": 2.0}, {"hum_hz": 50.0}])
def test_noise_without_speech_stays_within_range(kind: dict[str, float]) -> None:
    wav = Hush("a.wav", 2.0, 1.0, level=0.5, **kind).record(Espeak()).wav
    assert len(wav) == 32000
    assert 0.05 < np.abs(wav).max() < 0.991
