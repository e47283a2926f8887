"""Features of a frozen upstream, kept on disk.

The features of an utterance from a frozen upstream never change, and a benchmark needs them in each epoch, for each
fold, seed and learning rate. Computing them again takes half to nine tenths of a short downstream run on a CPU.

A hash of the samples identifies an utterance. Randomly drawn waveforms (see `random_waveforms`) are not kept, since
they hardly occur again. Each utterance is computed alone: a group norm in the CNN, as in HuBERT Base and its students,
takes the zeros behind the shorter utterances of a batch into account, so that features would differ between batches.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.weights import weights_hash
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, FeatureCache
from s3prl_gendistiller.host.random_waveforms import sample_key

TRAINED = f"{CACHE_FLAG}: found together with -f; features of a trained upstream change with each step, leave one out"
_BLOCK = 1 << 20
_LOADED = (".json", ".safetensors", ".bin")


def files_hash(path: Path) -> str:
    """16 hexadecimal digits of the content of a checkpoint, or of the loaded files of a transformers folder."""
    files = sorted(file for file in path.iterdir() if file.suffix in _LOADED) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for part in files:
        with part.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]


class CachedUpstream(nn.Module):
    """A frozen upstream that reads features that it has computed before from disk.

    Args:
        selection: used entry of the upstream's output; (B, T, D) or a list of those.
        layer: index of the used layer in a list; None for all layers.
        name: name of this upstream's folder, see `identity`.
        width: D, if known; a file of another width is not read.
    """

    def __init__(
        self,
        upstream: nn.Module,
        selection: str,
        layer: int | None,
        cache: FeatureCache,
        name: str,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.upstream = upstream
        self.selection = selection
        self.layer = layer
        self.cache = cache
        self.folder = cache.folder / name / selection
        self.width = width
        cache.use(name)

    def get_downsample_rates(self, key: str) -> int:
        return int(self.upstream.get_downsample_rates(key))  # type: ignore[operator]

    @torch.no_grad()
    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """The entry `selection` of unpadded utterances (S,): (B, T, D) or a list of those, zero padded."""
        found = [self._features(wav) for wav in wavs]
        layers, _, width = found[0].shape
        out = found[0].new_zeros(layers, len(found), max(states.shape[1] for states in found), width)
        for place, states in enumerate(found):
            out[:, place, : states.shape[1]] = states
        out = out.to(wavs[0].device)
        return {self.selection: out[0] if layers == 1 else list(out)}

    def _features(self, wav: Tensor) -> Tensor:
        """Features (L, T, D) of one utterance on the CPU; L is 1 if one layer is used."""
        key = sample_key(wav)
        path = self.folder / f"{key}.npz"
        drawn = self.cache.drawn is None or key in self.cache.drawn
        states = None if drawn else self.cache.load(path, key, self.layer)
        if states is None or self.width not in (None, states.shape[2]):
            states = torch.cat(listed_states(self.upstream([wav])[self.selection])).cpu().numpy()
            if not drawn:
                self.cache.keep(path, states, key, len(wav))
            if self.layer is not None and len(states) > 1:
                states = states[self.layer][None]
        return torch.from_numpy(states)


def identity(upstream: str, checkpoint: str | None, model_config: str | None, model: nn.Module | None = None) -> str:
    """Folder name of an upstream: its name with a hash of the files that it is loaded from.

    The weights of the loaded `model` are hashed if no local checkpoint is named.
    """
    parts = [re.sub(r"[^\w.+-]", "_", upstream)]
    if checkpoint is not None and Path(checkpoint).exists():
        parts.append(files_hash(Path(checkpoint)))
    else:  # s3prl downloads the checkpoint; the file behind an address may change
        parts += [_text_hash(checkpoint.encode())] if checkpoint is not None else []
        weights = {} if model is None else model.state_dict()
        parts += [weights_hash(weights)] if weights else []
    if model_config is not None:
        given = Path(model_config)
        parts.append(_text_hash(given.read_bytes() if given.is_file() else model_config.encode()))
    return "-".join(parts)


def _text_hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def cached(upstream: nn.Module, args: Any, featurizer: Any, cache: FeatureCache) -> CachedUpstream:
    """A frozen upstream behind the cache, for a run of s3prl with its arguments and its Featurizer."""
    name = identity(args.upstream, args.upstream_ckpt, args.upstream_model_config, upstream)
    selection = featurizer.feature_selection
    return CachedUpstream(upstream, selection, args.upstream_layer_selection, cache, name, featurizer.output_dim)


def put_cache_before(runner: Any, cache: FeatureCache) -> None:
    """Puts the cache before a Runner's upstream, after its Featurizer is built; UserError with ``-f``."""
    if runner.upstream.trainable:
        raise UserError(TRAINED)
    runner.upstream.model = cached(runner.upstream.model, runner.args, runner.featurizer.model, cache)


def watch_loaders(expert: Any, cache: FeatureCache) -> None:
    """Lets the loaders of an expert report to the cache the waveforms that are drawn at random."""
    stock = expert.get_dataloader

    @functools.wraps(stock)
    def watched(*args: Any, **kwargs: Any) -> Any:
        return cache.watched(stock(*args, **kwargs))

    expert.get_dataloader = watched


def listed_states(found: Any) -> list[Tensor]:
    """The hidden states in one entry of an upstream's output: a tensor, or a list, tuple or dictionary of tensors."""
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, list | tuple) else [found]
