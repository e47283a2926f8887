"""Recordings as people have them: a folder for each speaker, files of several formats, rates and spellings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from s3prl_gendistiller.corpora.espeak import Espeak

SPEAKERS = {"Anna Kay": "en-us+f2", "bert": "en-gb-scotland+m3", "Çelik": "en-029+f4", "Dan": "en-us-nyc+m7"}
KINDS = ((8_000, "wav"), (44_100, "mp3"), (44_100, "WAV"), (8_000, "MP3"))
_PHRASES = ("yellow river", "the captain sold a lantern", "seven years", "my brother found the bridge")


def write_recordings(folder: Path, each: int = 10) -> list[Path]:
    """Writes `each` recordings of one to two seconds for each speaker; every third one is stereo."""
    engine, written = Espeak(), []
    for speaker, voice in SPEAKERS.items():
        (folder / speaker).mkdir(parents=True)
        for number in range(each):
            text = f"{_PHRASES[number % 4]}. {_PHRASES[(number * 3 + 1) % 4]}."
            speech = engine.speak(text, voice, rate_wpm=150 + 5 * number, pitch=45 + number)
            rate_hz, suffix = KINDS[number % 4]  # alike for all speakers, so that no rate tells who speaks
            wav = soxr.resample(speech.wav / 32_768, speech.rate_hz, rate_hz)
            if number % 3 == 2:
                wav = np.stack([wav, wav / 2], axis=1)
            path = folder / speaker / f"call {number + 1:02d}.{suffix}"
            soundfile.write(path, wav, rate_hz, format=suffix.upper())
            written.append(path)
    return written
