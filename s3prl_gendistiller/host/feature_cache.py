"""Features of a frozen upstream, kept on disk.

What a frozen upstream makes of an utterance never changes, and a benchmark asks for it in each epoch, fold and seed of
the head and for each learning rate. Half to nine tenths of a short downstream run on a CPU go into computing it again.

An utterance is known by its samples, so that a task which crops at random (SID, ASV) finds nothing again and only fills
the disk. Each is computed alone. That matters where the CNN has a group norm, as in HuBERT Base and its students: it
hears the zeros behind the shorter utterances of a batch, so that their features differ from one batch to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.errors import UserError

TRAINED = (
    "--cache-features: found together with -f; what a trained upstream gives changes with each step, leave one out"
)
_BLOCK = 1 << 20
_LOADED = (".json", ".safetensors", ".bin")


def files_hash(path: Path) -> str:
    """16 hexadecimal digits of a checkpoint's content; of a transformers folder, of what is loaded from it."""
    files = sorted(file for file in path.iterdir() if file.suffix in _LOADED) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for part in files:
        with part.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]


class CachedUpstream(nn.Module):
    """An upstream that reads from disk what it has computed before.

    Args:
        upstream: frozen; takes s3prl's list of waveforms.
        selection: the entry of the upstream's output that is read; (B, T, D) or a list of those.
        layer: the one of a list that is read; None for all.
        folder: of this upstream and this selection alone.
    """

    def __init__(self, upstream: nn.Module, selection: str, layer: int | None, folder: Path) -> None:
        super().__init__()
        self.upstream = upstream
        self.selection = selection
        self.layer = layer
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get_downsample_rates(self, key: str) -> int:
        return int(self.upstream.get_downsample_rates(key))  # type: ignore[operator]

    @torch.no_grad()
    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: unpadded utterances, each (S,).

        Returns:
            One entry, `selection`: (B, T, D) or a list of those, with zeros behind shorter utterances.
        """
        found = [self._features(wav) for wav in wavs]
        layers, _, width = found[0].shape
        out = found[0].new_zeros(layers, len(found), max(states.shape[1] for states in found), width)
        for place, states in enumerate(found):
            out[:, place, : states.shape[1]] = states
        out = out.to(wavs[0].device)
        return {self.selection: out[0] if layers == 1 else list(out)}

    def _features(self, wav: Tensor) -> Tensor:
        """(L, T, D) of one utterance, on the CPU; L is 1 where one layer is read."""
        path = self.folder / f"{hashlib.sha256(wav.detach().cpu().numpy().tobytes()).hexdigest()[:32]}.npy"
        try:
            return self._read(np.load(path, mmap_mode="c"))
        except FileNotFoundError:
            pass
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{path}: not readable ({error}); remove {self.folder} to compute it again") from error
        found = self.upstream([wav])[self.selection]
        found = list(found.values()) if isinstance(found, dict) else found
        states = (torch.cat(list(found)) if isinstance(found, (list, tuple)) else found).cpu().numpy()
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, states)
        return self._read(states)

    def _read(self, states: np.ndarray) -> Tensor:
        one = self.layer is not None and len(states) > 1
        return torch.from_numpy(states[self.layer][None] if one else states)


def identity(upstream: str, checkpoint: str | None, model_config: str | None) -> str:
    """Names the folder of one upstream: its name and the content of what it is loaded from."""
    parts = [upstream]
    if checkpoint is not None:  # s3prl also takes addresses, which stand for themselves
        path = Path(checkpoint)
        parts.append(files_hash(path) if path.exists() else _text_hash(checkpoint.encode()))
    if model_config is not None:
        given = Path(model_config)
        parts.append(_text_hash(given.read_bytes() if given.is_file() else model_config.encode()))
    return "-".join(parts)


def _text_hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def cached(upstream: nn.Module, args: Any, selection: str, folder: Path) -> CachedUpstream:
    """A frozen upstream with its cache before it.

    Args:
        args: s3prl's, of the run that the upstream belongs to.
        selection: the entry that is read, as its Featurizer has settled it.
        folder: of all features.
    """
    name = identity(args.upstream, args.upstream_ckpt, args.upstream_model_config)
    return CachedUpstream(upstream, selection, args.upstream_layer_selection, folder.absolute() / name / selection)


def put_cache_before(runner: Any, folder: Path) -> None:
    """Puts the cache before a Runner's upstream, which has its Featurizer already.

    Raises:
        UserError: the upstream is trained (``-f``).
    """
    if runner.upstream.trainable:
        raise UserError(TRAINED)
    selection = runner.featurizer.model.feature_selection
    runner.upstream.model = cached(runner.upstream.model, runner.args, selection, folder)
