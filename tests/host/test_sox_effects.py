"""The effects against SoX v14.4.2.

Lengths and samples were measured with ``sox -D in.wav -e floating-point -b 32 out.wav EFFECTS``, where
in.wav is the signal below as 32-bit floats. Samples are those of the last channel at 0, 1, a third, half and
the end.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import sox_effects

ASV = "channels 1 rate 16000 gain -3.0 silence 1 0.1 0.1% -1 0.1 0.1%"
MEASURED = [
    ("tone", 16000, 2, "channels 1", (1, 1600), [0.21037, 0.44978, -0.15203, 0.21037, -0.03531]),
    ("tone", 16000, 1, "channels 2", (2, 1600), [0.0, 0.2623, -0.13259, 0.0, -0.2623]),
    ("tone", 16000, 3, "channels 2", (2, 1600), [0.42074, 0.63725, -0.17147, 0.42074, 0.19169]),
    ("tone", 16000, 2, "gain -3.0", (2, 1600), [0.29786, 0.45114, -0.12139, 0.29786, 0.1357]),
    ("tone", 16000, 2, "gain 6", (2, 1600), [0.83948, 1.0, -0.34213, 0.83948, 0.38247]),
    ("tone", 16000, 2, "gain -n -1", (2, 1600), [0.47751, 0.72324, -0.19461, 0.47751, 0.21755]),
    ("tone", 16000, 2, "norm", (2, 1600), [0.53577, 0.81149, -0.21835, 0.53577, 0.2441]),
    ("tone", 16000, 2, "norm -3", (2, 1600), [0.3793, 0.57449, -0.15458, 0.3793, 0.17281]),
    ("tone", 8000, 1, "rate 16000", (1, 1600), [0.02223, 0.26806, -0.59424, 0.0, -0.26806]),
    ("tone", 48000, 1, "rate 16000", (1, 1600), [0.02556, 0.08427, -0.4179, 0.0, -0.08427]),
    ("tone", 44100, 1, "rate 16000", (1, 1600), [0.02646, 0.08415, -0.4179, 0.0, -0.08402]),
    ("tone", 22050, 1, "rate 16000", (1, 1600), [0.07217, 0.06068, -0.4179, 0.0, -0.06024]),
    ("tone", 11025, 1, "rate 16000", (1, 1599), [0.02691, 0.29966, -0.58162, 0.21015, 0.0017]),
    ("tone", 24000, 1, "rate 16000", (1, 1600), [0.05943, 0.07071, -0.4179, 0.0, -0.07071]),
    ("tone", 96000, 1, "rate 16000", (1, 1600), [0.01832, 0.08452, -0.4179, 0.0, -0.08478]),
    ("tone", 8000, 2, ASV[:31], (1, 1600), [0.16114, 0.34485, -0.43445, 0.14893, -0.1064]),
    ("tone", 44100, 2, "gain 6 rate 16k norm -1", (2, 1600), [0.54701, 0.87796, -0.80296, 0.75867, 0.7388]),
    ("bursts", 16000, 1, "silence 1 0.1 0.1%", (1, 35199), [0.2623, -0.11595, -0.63521, 0.0, 0.0]),
    ("bursts", 16000, 1, "silence 2 0.1 -40d", (1, 33599), [0.2623, -0.11595, 0.0, 0.0, 0.0]),
    ("bursts", 16000, 1, "silence 0 2 800 0.1%", (1, 800), [0.0, 0.0, 0.0, 0.0, 0.0]),
    (
        "bursts", 16000, 1, "silence 1 0.1 0.1% 1 0.02 0.1%",
        (1, 8318), [0.2623, -0.11595, 0.78476, 0.29389, 0.0],
    ),
    (
        "bursts", 16000, 1, "silence 1 0.1 0.1% -1 0.1 0.1%",
        (1, 23036), [0.2623, -0.11595, 0.26555, -0.67135, 0.0],
    ),
    (
        "bursts", 16000, 2, "silence 1 0.1 0.1% -1 0.1 0.1%",
        (2, 23040), [0.42074, 0.63725, 0.38694, -0.12691, 0.0],
    ),
    (
        "bursts", 16000, 1, "silence 1 0.1 0.1% -1 0.02 5%",
        (1, 22539), [0.2623, -0.11595, -0.55139, 0.17038, 0.0],
    ),
    ("bursts", 16000, 2, ASV, (1, 23038), [0.14893, 0.31842, 0.18578, -0.37374, 0.0]),
    ("bursts", 44100, 2, ASV, (1, 23040), [0.11831, 0.20517, 0.30529, -0.21325, 0.0]),
]  # fmt: skip


def tone(rate_hz: int, seconds: float, channels: int) -> np.ndarray:
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    high = 0.3 * np.sin(2 * np.pi * 0.4 * rate_hz * time)
    return np.stack([0.5 * np.sin(2 * np.pi * 440 * time + c) + high for c in range(channels)]).astype(np.float32)


def bursts(rate_hz: int, channels: int) -> np.ndarray:
    """Sound from 0.3 to 0.8, 0.85 to 1.2 and 1.6 to 2.1 s of 2.5 s."""
    time = np.arange(int(2.5 * rate_hz)) / rate_hz
    gate = ((time >= 0.3) & (time < 0.8)) | ((time >= 0.85) & (time < 1.2)) | ((time >= 1.6) & (time < 2.1))
    return (tone(rate_hz, 2.5, channels) * gate).astype(np.float32)


def chain(written: str) -> list[list[str]]:
    effects: list[list[str]] = []
    for word in written.split():
        if word in sox_effects.EFFECTS:
            effects.append([])
        effects[-1].append(word)
    return effects


@pytest.mark.parametrize(("kind", "rate_hz", "channels", "written", "shape", "samples"), MEASURED)
def test_effects_give_the_samples_of_the_sox_program(kind, rate_hz, channels, written, shape, samples):
    made = tone(rate_hz, 0.1, channels) if kind == "tone" else bursts(rate_hz, channels)
    waveform, to_hz = sox_effects.apply_effects(torch.from_numpy(made), rate_hz, chain(written))
    assert tuple(waveform.shape) == shape
    assert waveform.dtype == torch.float32
    assert to_hz == (16000 if "rate" in written else rate_hz)
    last = waveform[-1, [0, 1, shape[1] // 3, shape[1] // 2, shape[1] - 1]]
    assert torch.allclose(last, torch.tensor(samples), atol=1e-4)


def test_silent_and_empty_audio_pass_through_every_effect():
    for waveform in (torch.zeros(1, 8000), torch.zeros(1, 0)):
        loud, _ = sox_effects.apply_effects(waveform, 8000, chain("norm rate 16000 gain -3 channels 2"))
        assert loud.shape == (2, 2 * waveform.shape[1])
        assert not loud.any()
        assert sox_effects.apply_effects(waveform, 16000, chain(ASV))[0].shape == (1, 0)


def test_a_silence_shorter_than_the_duration_stays():
    waveform = torch.from_numpy(bursts(16000, 1))
    cut, _ = sox_effects.apply_effects(waveform, 16000, chain("silence 1 0.1 0.1% -1 0.1 0.1%"))
    first = waveform[:, 4801:19200]  # with the 0.05 s pause inside
    assert torch.equal(cut[:, :14000], first[:, :14000])


@pytest.mark.parametrize(
    ("effect", "told"),
    [
        (["reverb", "50"], "expected one of channels, rate, gain, norm, silence"),
        (["gain", "loud"], "expected 'gain [-n] DECIBELS'"),
        (["channels", "0"], "expected 'channels COUNT'"),
        (["channels"], "expected 'channels COUNT'"),
        (["rate", "-8000"], "expected 'rate HZ'"),
        (["silence", "1", "0.1"], "expected 'silence PERIODS"),
        (["silence", "1", "0.1", "101%"], "expected 'silence PERIODS"),
        (["silence", "0", "-1", "0.1", "0.1%"], "expected 'silence PERIODS"),
    ],
)
def test_an_effect_that_cannot_be_applied_is_refused_in_one_line(effect, told):
    with pytest.raises(UserError) as refused:
        sox_effects.apply_effects(torch.zeros(1, 100), 16000, [effect])
    assert " ".join(effect) in str(refused.value)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_integer_samples_are_refused():
    with pytest.raises(UserError, match="expected \\(channels, samples\\) of floats"):
        sox_effects.apply_effects(torch.zeros(1, 100, dtype=torch.int16), 16000, [["norm"]])


@pytest.mark.parametrize("rate_hz", [16000, 44100, 22050, 11025, 8000])
@pytest.mark.parametrize("samples", [0, 1, 5, 319, 320, 800])
def test_short_signals_are_processed_as_any_other(rate_hz: int, samples: int) -> None:
    effects = [effect.split() for effect in ("channels 1", "rate 16000", "gain -3", "silence 1 0.1 0.1% -1 0.1 0.1%")]
    cut, _ = sox_effects.apply_effects(torch.full((2, samples), 0.5), rate_hz, effects)
    assert cut.shape[0] == 1 and cut.shape[1] <= 1600
    kept, _ = sox_effects.apply_effects(torch.full((1, 319), 0.5), 16000, [["silence", "1", "0.01", "0.1%"]])
    assert kept.shape[1] > 150


def test_a_fault_in_the_computation_is_not_taken_for_one_in_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> torch.Tensor:
        raise IndexError("ours")

    monkeypatch.setattr(sox_effects, "cut_silence", broken)
    with pytest.raises(IndexError, match="ours"):
        sox_effects.apply_effects(torch.zeros(1, 800), 16000, [["silence", "1", "0.1", "0.1%"]])


@pytest.mark.parametrize("written", ["gain nan", "rate inf", "norm -inf"])
def test_numbers_that_are_none_are_refused(written: str) -> None:
    with pytest.raises(UserError, match="cannot be read; expected"):
        sox_effects.apply_effects(torch.zeros(1, 800), 16000, [written.split()])
