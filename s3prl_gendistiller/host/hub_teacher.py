"""Teachers from s3prl.hub: any upstream by name, with an optional checkpoint."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.teacher import EncoderLayout, Teacher
from s3prl_gendistiller.distill.transformers_teacher import LayersUpTo, load_transformers_teacher
from s3prl_gendistiller.distill.weights import check_finite
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_cache import listed_states
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import (
    FOLDERS_ENTRY,
    NEEDS_CHECKPOINT,
    TEACHER,
    Door,
    building,
    family_of,
    reads_checkpoint,
    require_upstream,
    upstreams,
)

_ALL = 10**6  # more layers than any encoder has
# s3prl's experts collect hidden states in one list, which all replicas of DataParallel share.
_ONE_AT_A_TIME = threading.Lock()

logger = logging.getLogger(__name__)


def load_hub_teacher(name: str, checkpoint: str | None = None) -> Teacher:
    """A frozen teacher from s3prl.

    Args:
        name: an entry of s3prl.hub, such as hubert_base, wavlm_base_plus, or hubert_local with a checkpoint.
        checkpoint: path or URL. An entry that downloads its own checkpoint (hubert_base) is replaced by the entry of
            its family that reads this one (hubert_local).

    Raises:
        UserError: no such entry, no network or checkpoint to load it from, or hidden states of several widths.
    """
    entry_name = check_hub_teacher(name, checkpoint)
    family = family_of(entry_name)
    if checkpoint is not None and (family.startswith("hf_") or entry_name == FOLDERS_ENTRY):
        logger.info("teacher %s: loaded in the same way as teacher.folder", entry_name)
        return load_transformers_teacher(checkpoint)
    with torch.random.fork_rng(devices=[]):
        with building(entry_name, checkpoint, TEACHER):
            expert = require_upstream(entry_name, TEACHER)(**({} if checkpoint is None else {"ckpt": checkpoint}))
        _turn_off_layerdrop(expert)
        check_finite(expert.state_dict(), f"teacher.upstream: {name}")
        num_layers, width = _probe(expert.eval(), name)
        _limit_layers(expert)
    return Teacher(
        name,
        expert,
        _encode,
        num_layers=num_layers,
        width=width,
        model_type=family,
        naming=_naming(getattr(expert, "model", None)),
        prefix="model.",
        layout=_layout(expert),
    )


def check_hub_teacher(name: str, checkpoint: str | None, door: Door = TEACHER) -> str:
    """The entry of s3prl.hub that loads a teacher; nothing is built or downloaded.

    UserError: there is no such upstream, or the upstream does not read the checkpoint.
    """
    require_upstream(name, door)
    entry_name = _entry_for(name, checkpoint, door)
    if checkpoint is not None:
        check_file(entry_name, checkpoint, door)
    return entry_name


def _layout(expert: Any) -> EncoderLayout | None:
    """The layout of one of s3prl's fairseq-style experts; None if it is not known."""
    layers: Any = getattr(getattr(getattr(expert, "model", None), "encoder", None), "layers", None)
    settings = next((getattr(expert, name) for name in ("task_cfg", "cfg") if hasattr(expert, name)), None)
    normalize = getattr(expert, "wav_normalize", getattr(settings, "normalize", None))
    heads = getattr(getattr(layers[0], "self_attn", None), "num_heads", None) if layers else None
    norm_first = getattr(layers[0], "layer_norm_first", None) if layers else None
    if heads is None or norm_first is None or normalize is None:
        return None
    front_end, position = (
        list(part.modules()) if isinstance(part, nn.Module) else []
        for part in (getattr(expert.model, "feature_extractor", None), getattr(expert.model.encoder, "pos_conv", None))
    )
    convolutions = tuple((c.out_channels, c.kernel_size[0], c.stride[0]) for c in front_end if isinstance(c, nn.Conv1d))
    normed = any(isinstance(module, nn.LayerNorm) for module in front_end)
    positional = next((module for module in position if isinstance(module, nn.Conv1d)), None)
    return EncoderLayout(
        int(heads),
        bool(norm_first),
        bool(normalize),
        ffn=getattr(getattr(layers[0], "fc1", None), "out_features", None),
        extractor_mode="layer_norm" if normed else "default",
        convolutions=convolutions or None,
        feature_norm=isinstance(getattr(expert.model, "layer_norm", None), nn.Module),
        conv_pos=None if positional is None else positional.kernel_size[0],
        conv_pos_groups=None if positional is None else positional.groups,
        position_norm=any(isinstance(module, nn.BatchNorm1d) for module in position),
    )


def _entry_for(name: str, checkpoint: str | None, door: Door) -> str:
    """The entry that reads the checkpoint; hubert_base and the like overwrite a given one."""
    reads = name.endswith(NEEDS_CHECKPOINT)
    if checkpoint is None and reads:
        raise UserError(f"{door.checkpoint}: missing, expected a checkpoint's path: {name} has none of its own")
    if checkpoint is None or reads:
        return name
    wanted = f"{family_of(name)}_url" if "://" in checkpoint else f"{family_of(name)}_local"
    if wanted not in upstreams() or not reads_checkpoint(wanted):
        raise UserError(
            f"{door.checkpoint}: found {checkpoint} with upstream {name}, which only loads its own; expected an "
            f"upstream that ends in {' or '.join(NEEDS_CHECKPOINT[:2])}, or no checkpoint"
        )
    logger.info("teacher %s: loaded by s3prl.hub.%s, because a checkpoint is given", name, wanted)
    return wanted


def _turn_off_layerdrop(expert: nn.Module) -> None:
    """Turns LayerDrop off, because a dropped layer would be a missing hidden state; eval mode also prevents that."""
    for module in expert.modules():
        for holder in (module, getattr(module, "config", None)):
            for attribute in ("layerdrop", "encoder_layerdrop"):
                if isinstance(getattr(holder, attribute, None), float):
                    setattr(holder, attribute, 0.0)


def _probe(expert: nn.Module, name: str) -> tuple[int, int]:
    """Number of layers and width, by the hidden states."""
    first, second = _states_of_noise(expert), _states_of_noise(expert)
    shapes = {tuple(state.shape) for state in first}
    if len(shapes) != 1 or len(first) < 2 or len(first[0].shape) != 3:
        raise UserError(
            f"teacher.upstream: {name} has {len(first)} hidden states of shapes {sorted(shapes)}, expected at least "
            "two of one shape (1, T, D); choose a transformer upstream such as hubert_base"
        )
    if not all(torch.equal(one, other) for one, other in zip(first, second, strict=True)):
        logger.warning(
            "teacher %s: its hidden states differ between calls in eval mode, so its targets are noisy", name
        )
    return len(first) - 1, shapes.pop()[-1]


@torch.no_grad()
def _states_of_noise(expert: Any, highest: int = _ALL) -> Sequence[Tensor]:
    """The hidden states of one second of quiet noise."""
    wavs = 0.01 * torch.randn(1, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    return _encode(expert, wavs, torch.tensor([SAMPLE_RATE]), highest)


def _limit_layers(expert: Any) -> None:
    """Lets an encoder stop after the highest needed layer, where its states are then the same."""
    encoder = getattr(getattr(expert, "model", None), "encoder", None)
    layers = getattr(encoder, "layers", None)
    if type(layers) is not nn.ModuleList or len(layers) < 2:
        return
    whole = _states_of_noise(expert)
    encoder.layers = limited = LayersUpTo(layers)  # type: ignore[union-attr]
    first = _states_of_noise(expert, 1)
    limited.run_up_to(_ALL, False)
    if len(first) == len(whole) or not all(map(torch.equal, first[:2], whole)):
        encoder.layers = layers  # type: ignore[union-attr]


def _encode(expert: Any, wavs: Tensor, lengths: Tensor, highest: int) -> Sequence[Tensor]:
    """Hidden states, up to the highest needed one at least, each (B, T, D) with the frames of all S samples."""
    samples = lengths.tolist()
    layers = getattr(getattr(getattr(expert, "model", None), "encoder", None), "layers", None)
    if isinstance(layers, LayersUpTo):
        layers.run_up_to(highest, bool(getattr(layers[0], "layer_norm_first", False)))
    with _ONE_AT_A_TIME:
        states = expert([wav[:length] for wav, length in zip(wavs, samples, strict=True)]).get("hidden_states") or ()
    states = listed_states(states)
    # A replica of DataParallel may lack the longest item of the batch, while the student gets all S samples.
    rate = expert.get_downsample_rates("hidden_states") if hasattr(expert, "get_downsample_rates") else 320
    surplus = round((wavs.shape[1] - max(samples)) / rate)
    return [nn.functional.pad(state, (0, 0, 0, surplus)) for state in states] if surplus else states


def _naming(inner: nn.Module | None) -> str | None:
    names = inner.state_dict().keys() if isinstance(inner, nn.Module) else ()
    if "encoder.pos_conv.0.bias" in names:
        return "fairseq"
    return "transformers" if "encoder.pos_conv_embed.conv.bias" in names else None
