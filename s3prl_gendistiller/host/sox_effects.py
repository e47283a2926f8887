"""The sox effects that SUPERB tasks use, as pure functions: `channels`, `rate`, `gain`, `norm`, `silence`.

torchaudio 2.9 removed `torchaudio.sox_effects`. These functions give the samples of the sox program (SoX
v14.4.2) and need neither the program nor its library. Effects act in the given order; nothing is
appended, reordered or dithered. A sox sample cannot leave [-1, 1], so every effect clips.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.shims import sox_rate
from s3prl_gendistiller.host.shims.sox_silence import Periods, cut_silence

Signal = tuple[torch.Tensor, int]  # (C, S) and its rate in Hz
Effect = Callable[[torch.Tensor], Signal]


def apply_effects(waveform: torch.Tensor, rate_hz: int, effects: Sequence[Sequence[str]]) -> Signal:
    """Applies effects in the spelling of the sox program, e.g. ``[["rate", "16000"], ["gain", "-3.0"]]``.

    float32 (C, S) in [-1, 1] -> float32 (C', S') and its rate in Hz. UserError: an effect is not in `EFFECTS`, or its
    arguments are wrong.
    """
    if waveform.ndim != 2 or not waveform.is_floating_point():
        found = f"{tuple(waveform.shape)} {waveform.dtype}"
        raise UserError(f"sox effects: found a waveform {found}, expected (channels, samples) of floats")
    signal = (waveform, rate_hz)
    for name, *arguments in effects:
        written = " ".join([name, *arguments])
        if name not in EFFECTS:
            raise UserError(f"sox effect '{written}': not supported; expected one of {', '.join(EFFECTS)}")
        read, usage = EFFECTS[name]
        try:
            effect = read(arguments, signal[1])
        except (ValueError, IndexError, OverflowError) as problem:
            raise UserError(f"sox effect '{written}': cannot be read; expected '{usage}'") from problem
        signal = effect(signal[0])
    return signal


def _clip(waveform: torch.Tensor) -> torch.Tensor:
    return waveform.clamp(-1.0, 1.0)


def _channels(arguments: list[str], rate_hz: int) -> Effect:
    """Mixes down or repeats channels; (C, S) -> (count, S).

    Output j is the mean of the inputs j, j + count, ...; outputs beyond the inputs repeat these in order.
    """
    (count,) = (_positive(int(argument)) for argument in arguments)

    def mixed(waveform: torch.Tensor) -> Signal:
        present = waveform.shape[0]
        sources = [list(range(j, present, count)) or [j % present] for j in range(count)]
        return _clip(torch.stack([waveform[chosen].mean(dim=0) for chosen in sources])), rate_hz

    return mixed


def _rate(arguments: list[str], rate_hz: int) -> Effect:
    """Resamples at sox's default quality; (C, S) -> (C, round(S * to_hz / from_hz))."""
    if not arguments:  # sox: to the rate of the output, which in torchaudio is that of the input
        return lambda waveform: (waveform, rate_hz)
    (written,) = arguments
    to_hz = float(written[:-1]) * 1000 if written.endswith("k") else float(written)
    if to_hz != int(to_hz):
        raise ValueError(written)
    wanted = _positive(int(to_hz))
    return lambda wave: (_clip(sox_rate.resample(wave.double(), rate_hz, wanted)).to(wave.dtype), wanted)


def _gain(arguments: list[str], rate_hz: int) -> Effect:
    """Amplifies, or attenuates where the decibels are negative; (C, S) -> (C, S)."""
    if arguments[:1] == ["-n"]:
        return _norm(arguments[1:], rate_hz)
    factor = _factor(arguments)
    return lambda waveform: (_clip(waveform * factor), rate_hz)


def _norm(arguments: list[str], rate_hz: int) -> Effect:
    """Brings the highest peak of all channels to the decibels of full scale; (C, S) -> (C, S)."""
    factor = _factor(arguments)

    def normed(waveform: torch.Tensor) -> Signal:
        peak = float(waveform.abs().max()) if waveform.numel() else 0.0
        return (_clip(waveform * (factor / peak)) if peak > 0 else waveform), rate_hz

    return normed


def _factor(arguments: list[str]) -> float:
    (decibels,) = (float(argument) for argument in arguments or ["0"])
    if not math.isfinite(decibels):
        raise ValueError(decibels)
    return 10.0 ** (decibels / 20)


def _silence(arguments: list[str], rate_hz: int) -> Effect:
    above, rest = _periods(arguments, rate_hz)
    below, rest = _periods(rest, rate_hz) if rest else (None, rest)
    if rest or above.count < 0 or (below is not None and (below.count == 0 or below.count < above.count == 0)):
        raise ValueError(arguments)  # "0 -1 ...": no task uses it, and SoX's result is irregular
    return lambda waveform: (cut_silence(waveform, rate_hz, above, below), rate_hz)


def _periods(arguments: list[str], rate_hz: int) -> tuple[Periods, list[str]]:
    """Reads ``count duration threshold`` from the front; a count of 0 has nothing behind it."""
    count = int(arguments[0])
    if count == 0:
        return Periods(0, 0, 0.0), arguments[1:]
    return Periods(count, _duration(arguments[1], rate_hz), _percent(arguments[2])), arguments[3:]


def _duration(written: str, rate_hz: int) -> int:
    """Samples of a duration; sox reads a plain integer as samples, a number with a point as seconds."""
    if re.fullmatch(r"\d+s?", written):
        return int(written.rstrip("s"))
    if not re.fullmatch(r"\d*\.\d*t?|\d+t", written):
        raise ValueError(written)
    return int(float(written.rstrip("t")) * rate_hz + 0.5)


def _percent(written: str) -> float:
    """A threshold in percent of full scale, from ``0.1%``, ``0.1`` or ``-60d`` (decibels)."""
    percent = 100 * 10.0 ** (float(written[:-1]) / 20) if written.endswith("d") else float(written.rstrip("%"))
    if not 0 <= percent <= 100:
        raise ValueError(written)
    return percent


def _positive(number: int) -> int:
    if number < 1:
        raise ValueError(number)
    return number


EFFECTS: dict[str, tuple[Callable[[list[str], int], Effect], str]] = {
    "channels": (_channels, "channels COUNT"),
    "rate": (_rate, "rate HZ"),
    "gain": (_gain, "gain [-n] DECIBELS"),
    "norm": (_norm, "norm [DECIBELS]"),
    "silence": (_silence, "silence PERIODS DURATION THRESHOLD [PERIODS DURATION THRESHOLD]"),
}
"""Effects by name: the function that reads an effect's arguments at a rate in Hz, and the usage for messages."""
