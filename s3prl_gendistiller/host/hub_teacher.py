"""Teachers from the installed s3prl.hub: any upstream by name, with an optional checkpoint."""

from __future__ import annotations

import difflib
import importlib
import logging
import urllib.error
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat

SAMPLE_RATE = 16_000

logger = logging.getLogger(__name__)


def load_hub_teacher(name: str, checkpoint: str | None = None) -> Teacher:
    """A frozen teacher from s3prl.

    Args:
        name: an entry of s3prl.hub, such as hubert_base, wavlm_base_plus, or hubert_local with a checkpoint.
        checkpoint: path or URL for the entries that need one.

    Raises:
        UserError: there is no such entry, it cannot be loaded (no network, no checkpoint), or it gives no hidden
            states of one width.
    """
    compat.apply()
    hub = importlib.import_module("s3prl.hub")
    known = hub.options()
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, n=3)) or "see s3prl.hub"
        raise UserError(f"teacher.upstream: found {name!r}, expected an upstream of s3prl.hub; close to it: {close}")
    expert = _load(getattr(hub, name), name, checkpoint)
    _turn_off_layerdrop(expert)
    expert.eval()

    def encode(wavs: Tensor, lengths: Tensor) -> Sequence[Tensor]:
        states: Sequence[Tensor] = expert([wav[:length] for wav, length in zip(wavs, lengths.tolist(), strict=True)])[
            "hidden_states"
        ]
        return states

    num_layers, width = _probe(expert, name)
    inner = getattr(expert, "model", None)
    return Teacher(
        name,
        expert,
        encode,
        num_layers=num_layers,
        width=width,
        model_type=type(inner if inner is not None else expert).__name__,
        naming=_naming(inner),
        prefix="model.",
    )


def _load(entry: Any, name: str, checkpoint: str | None) -> nn.Module:
    """Calls the hub entry; what it may fail with is a user's matter here: no network, no or a wrong checkpoint."""
    arguments = {} if checkpoint is None else {"ckpt": checkpoint}
    remedy = (
        "give its checkpoint as teacher.checkpoint of the *_local entry, or a transformers folder as teacher.folder"
    )
    try:
        expert: nn.Module = entry(**arguments)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise UserError(f"teacher.upstream: {name} could not be downloaded ({error}); {remedy}") from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:200]
        raise UserError(
            f"teacher.upstream: {name} with checkpoint {checkpoint} cannot be loaded ({reason}); {remedy}"
        ) from error
    return expert


def _turn_off_layerdrop(expert: nn.Module) -> None:
    """A dropped layer is a missing hidden state; eval mode alone already prevents it, this makes it certain."""
    for module in expert.modules():
        for attribute in ("layerdrop", "encoder_layerdrop"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)


def _probe(expert: nn.Module, name: str) -> tuple[int, int]:
    """Number of layers and width, from one second of quiet noise."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng():
        states = expert([0.01 * torch.randn(SAMPLE_RATE, generator=generator)]).get("hidden_states")
    shapes = {tuple(state.shape) for state in states or ()}
    if len(shapes) != 1 or len(states) < 2:
        raise UserError(
            f"teacher.upstream: {name} gives hidden states of shapes {sorted(shapes)}, expected at least two of one "
            "shape; choose a transformer upstream such as hubert_base"
        )
    return len(states) - 1, shapes.pop()[-1]


def _naming(inner: nn.Module | None) -> str | None:
    names = set(inner.state_dict()) if inner is not None else set()
    if "post_extract_proj.weight" in names:
        return "fairseq"
    return "transformers" if "feature_projection.projection.weight" in names else None
