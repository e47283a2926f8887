"""Waveforms as a person in Python has them, checked and padded to a batch (B, S).

This module travels with an exported student, which needs torch and no numpy. Arrays of numpy are therefore recognised
by their methods.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import frame_mask

SAMPLE_RATE = 16_000  # Hz
LOUDEST = 100.0  # far above floats that clip, and below all but the faintest samples of 16 bits
MIN_SAMPLES = 400  # samples of the first frame of 25 ms; shorter audio has no frame
FORMS = "one waveform (S,), a list of them, or a padded batch (B, S) with its lengths"

# The largest sample of each format of PCM, by which a reader of floats divides.
_FULL_SCALE = {"int16": "wavs / 32768", "int32": "wavs / 2147483648", "uint8": "wavs / 128.0 - 1"}


class WaveformError(UserError, ValueError):
    """Audio in memory that a student cannot take."""


def to_batch(wavs: Any, lengths: Any = None, sample_rate: Any = None) -> tuple[Tensor, Tensor]:
    """Audio at 16 kHz as a batch.

    Args:
        wavs: one waveform (S,), a list or tuple of them, or a batch (B, S); tensors or numpy arrays of floats.
        lengths: (B,) samples of each utterance of a padded batch; None for all samples.
        sample_rate: the rate of the audio in Hz, if the caller knows it.

    Returns:
        (B, S) float32 with zeros behind each utterance, and (B,) samples, both on the device of `wavs`.

    Raises:
        WaveformError: says what was found, what was expected and what to do.
    """
    _check_rate(sample_rate)
    if isinstance(wavs, list | tuple):
        return _joined(wavs, lengths)
    batch = floats(wavs, "wavs")
    if batch.dim() == 1:
        if lengths is not None:
            raise WaveformError("lengths: found beside one waveform, expected None; cut the waveform to its length")
        return _joined([batch], None)
    if batch.dim() != 2:
        raise WaveformError(f"wavs: found the shape {tuple(batch.shape)}, expected {FORMS}; {_remedy(batch)}")
    count, samples = batch.shape
    if not count:
        raise WaveformError(f"wavs: found a batch of no waveform, shape {tuple(batch.shape)}; expected {FORMS}")
    if samples < MIN_SAMPLES < count:
        raise WaveformError(
            f"wavs: found the shape {tuple(batch.shape)}, which is {count} utterances of {samples} samples, expected "
            f"(B, S); for one recording of {samples} channels give wavs.mean(1)"
        )
    numbers = _counts(lengths, count, samples)
    real = frame_mask(numbers.to(batch.device), samples)
    if not bool(real.all()):
        batch = batch.masked_fill(~real, 0.0)
    for index, number in enumerate(numbers.tolist()):
        _check_samples(batch[index, :number], f"wavs[{index}]" if count > 1 else "wavs")
    return batch, numbers.to(batch.device)


def _joined(wavs: Any, lengths: Any) -> tuple[Tensor, Tensor]:
    """The batch of unpadded waveforms."""
    if not wavs:
        raise WaveformError(f"wavs: found an empty {type(wavs).__name__}, expected {FORMS}")
    if lengths is not None:
        raise WaveformError("lengths: found beside a list, expected None; each waveform of a list has its own length")
    items = []
    for index, wav in enumerate(wavs):
        name = f"wavs[{index}]" if len(wavs) > 1 else "wavs"
        item = floats(wav, name)
        if item.dim() != 1:
            raise WaveformError(f"{name}: found the shape {tuple(item.shape)}, expected (S,); {_remedy(item)}")
        _check_samples(item, name)
        items.append(item)
    devices = {item.device for item in items}
    if len(devices) > 1:
        raise WaveformError(f"wavs: found waveforms on {', '.join(sorted(map(str, devices)))}, expected one device")
    return pad_sequence(items, batch_first=True), torch.tensor([len(item) for item in items], device=items[0].device)


def floats(value: Any, name: str) -> Tensor:
    """A tensor of float32; a tensor of another precision, or an array of numpy, is converted. Else a WaveformError."""
    if not isinstance(value, Tensor):
        if not (hasattr(value, "__array__") and hasattr(getattr(value, "dtype", None), "kind")):
            raise WaveformError(
                f"{name}: found {type(value).__name__}, expected a tensor or a numpy array; load_student(...).generate "
                f"takes {FORMS}; read a file with soundfile.read(path, dtype='float32')"
            )
        if value.dtype.kind != "f":
            raise _not_floats(str(value.dtype), name)
        # float32 in the order of this machine, which torch takes; a memory map may be read-only
        value = torch.from_numpy(value.__array__().astype("float32", order="C", copy=True))
    if not value.is_floating_point():
        raise _not_floats(str(value.dtype).removeprefix("torch."), name)
    return value.float()


def _not_floats(found: str, name: str) -> WaveformError:
    scale = _FULL_SCALE.get(found)
    remedy = f"give {scale}" if scale else "give the samples as floats"
    return WaveformError(f"{name}: found samples of type {found}, expected floats between -1 and 1; {remedy}")


def _remedy(wav: Tensor) -> str:
    """The way from an array of another rank to one waveform."""
    if wav.dim() == 0:
        return "found a single number"
    if wav.dim() == 2:
        axis = 0 if wav.shape[0] <= wav.shape[1] else 1
        return f"for one recording of {wav.shape[axis]} channel(s) give wav.mean({axis})"
    return "average channels, such as with wavs.mean(1), or give the waveforms as a list"


def _counts(lengths: Any, count: int, samples: int) -> Tensor:
    """(B,) lengths of a batch as whole numbers."""
    if lengths is None:
        return torch.full((count,), samples)
    try:
        numbers = lengths if isinstance(lengths, Tensor) else torch.tensor([*map(_whole, lengths)])
    except (TypeError, ValueError):
        numbers = torch.zeros(0)
    if numbers.shape != (count,) or numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise WaveformError(
            f"lengths: found {_short(lengths)}, expected {count} whole numbers, the samples of each waveform of wavs"
        )
    wrong = [number for number in numbers.tolist() if not 0 <= number <= samples]
    if wrong:
        raise WaveformError(f"lengths: found {wrong[0]}, expected 0 to {samples}, the samples of a row of wavs")
    return numbers.to(torch.int64)


def _whole(number: Any) -> int:
    if isinstance(number, bool) or int(number) != number:
        raise ValueError(number)
    return int(number)


def _short(value: Any) -> str:
    return f"the shape {tuple(value.shape)}" if hasattr(value, "shape") and len(value.shape) != 1 else str(value)[:80]


def _check_samples(wav: Tensor, name: str) -> None:
    if len(wav) < MIN_SAMPLES:
        raise WaveformError(
            f"{name}: found {len(wav)} samples, expected at least {MIN_SAMPLES} (25 ms at 16 kHz), the length of one "
            "frame; leave the waveform out, or pad it with zeros"
        )
    check_numbers(wav, name)


def check_numbers(wav: Tensor, name: str) -> None:
    """WaveformError if samples (S,) are not finite, or so loud that they are of another scale."""
    if not bool(torch.isfinite(wav).all()):
        first = int((~torch.isfinite(wav)).nonzero()[0])
        raise WaveformError(
            f"{name}: found {wav[first].item()} at sample {first}, expected finite numbers; repair or leave it out"
        )
    if (loudest := float(wav.abs().max())) > LOUDEST:
        raise WaveformError(
            f"{name}: found samples up to {loudest:g}, expected floats between -1 and 1; for samples of 16 bits give "
            f"{_FULL_SCALE['int16']}"
        )


def _check_rate(rate: Any) -> None:
    if rate is None or (not isinstance(rate, bool | str) and rate == SAMPLE_RATE):
        return
    raise WaveformError(
        f"sample_rate: found {str(rate)[:40]}, expected {SAMPLE_RATE}; resample first, such as with "
        f"soxr.resample(wav, {str(rate)[:40]}, {SAMPLE_RATE}) for a numpy array"
    )
