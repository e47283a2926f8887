"""Phases of a teacher that learns from the hidden states of a guide, on a CPU or a GPU.

All files are written below one folder. The same call continues an interrupted run with the batches of an uninterrupted
one. Clusters are found once for each phase; the units of a batch are computed with the batch.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from hubert.codebook import CODEBOOK, Codebook
from hubert.encoder import build_hubert, encode
from hubert.folder import WEIGHTS as ENCODER_WEIGHTS
from hubert.masking import span_mask
from hubert.model import GuidedModel, MelTargets
from hubert.recipe import PhaseConfig, PhasedRecipe
from hubert.steps import WEIGHTS, Steps, read
from hubert.stream import Crops, CropSampler, Stream
from s3prl_gendistiller.distill.kmeans import fit_centroids, frames_to_cluster
from s3prl_gendistiller.distill.metrics import append_metrics
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.schema import to_dict

RECIPE = "recipe.json"
_HELD_OUT_BATCHES = 4
_HELD_OUT_SEED = 1_000_003
_CLUSTER_SEED = 2_000_003


class Streams(NamedTuple):
    """Speech for training and for validation.

    Attributes:
        real: recordings of people, or None.
    """

    synthetic: Stream
    held_out: Stream
    real: Stream | None = None


class Guide(nn.Module):
    """Hidden states that are targets, each layer-normalised without weights.

    Args:
        states: (B, S) samples -> the input of the first layer and the output of each layer, (B, T, W).
        width: W.
    """

    def __init__(self, encoder: nn.Module, states: Callable[[Tensor], Sequence[Tensor]], width: int) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self._states, self.width = states, width

    @torch.no_grad()
    def forward(self, wavs: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Layer -> (B, T, W) float32."""
        found = self._states(wavs)
        return {layer: functional.layer_norm(found[layer].float(), (self.width,)) for layer in layers}


def own_guide(hubert: Any) -> Guide:
    """The encoder as it is now; its later training changes nothing in the guide."""
    frozen = copy.deepcopy(hubert)
    return Guide(frozen, lambda wavs: encode(frozen, wavs), frozen.config.hidden_size)


def train_phases(
    recipe: PhasedRecipe,
    streams: Streams,
    whisper: Guide,
    out: Path,
    device: torch.device,
    *,
    finished: Callable[[int, GuidedModel], None] = lambda number, model: None,
    progress: bool = True,
) -> None:
    """Runs every unfinished phase. A phase is finished if its weights lie in its folder, or its encoder beside it.

    Args:
        whisper: on the device.
        out: is created if necessary; holds one folder for each phase.
        finished: called with the number and the model of each phase whose weights are there, on the CPU.

    Raises:
        UserError: `out` was made with another recipe; the loss is not finite; there are too few frames to cluster.
    """
    _claim(out, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        hubert = build_hubert(recipe.shape).to(device)
    for number, phase in enumerate(recipe.phases, 1):
        folder = phase_folder(out, number)
        folder.mkdir(parents=True, exist_ok=True)
        encoder = encoder_folder(out, number) / ENCODER_WEIGHTS
        if encoder.is_file() and not (folder / WEIGHTS).is_file():
            hubert.load_state_dict(load_file(encoder, device=str(device)))
            continue
        guide = whisper if phase.guide == "whisper" else own_guide(hubert)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + number)
            model = GuidedModel(hubert, recipe, phase, guide.width).to(device)
        if (folder / WEIGHTS).is_file():
            model.load_state_dict(read(folder / WEIGHTS, device))
        else:
            _Phase(recipe, number, streams, guide, folder, device, progress).train(model)
        finished(number, copy.deepcopy(model).cpu().eval())


def encoder_folder(out: Path, number: int) -> Path:
    """Folder of the encoder at the end of a phase, as `hubert.folder` writes it."""
    return out / f"phase{number}_encoder"


def phase_folder(out: Path, number: int) -> Path:
    """Folder of a phase, counted from 1."""
    return out / f"phase{number}"


class _Phase:
    """One phase: its guide, its clusters, its steps."""

    def __init__(
        self,
        recipe: PhasedRecipe,
        number: int,
        streams: Streams,
        guide: Guide,
        folder: Path,
        device: torch.device,
        progress: bool,
    ) -> None:
        self.recipe, self.number, self.folder = recipe, number, folder
        self.phase: PhaseConfig = recipe.phases[number - 1]
        self.guide, self.device, self.progress = guide, device, progress
        self.sampler = _sampler(recipe, self.phase, streams, recipe.seed + number)
        held_out = Streams(streams.held_out, streams.held_out)
        self.held_out = _sampler(recipe, self.phase, held_out, _HELD_OUT_SEED)
        self.mels = MelTargets().to(device) if self.phase.mel_from else None
        self.codebook = self._codebook() if self.phase.units_from is not None else None
        if self.codebook is not None:
            self.centroids = torch.from_numpy(self.codebook.centroids).to(device)

    def train(self, model: GuidedModel) -> None:
        recipe, steps = self.recipe, self.phase.steps
        options = {"warmup": recipe.warmup, "weight_decay": recipe.weight_decay, "clip_norm": recipe.clip_norm}
        taken = Steps(model, self.folder, steps, lr=self.phase.lr, **options)
        done = taken.resume(self.device)
        model.train()
        since: list[dict[str, Tensor]] = []
        started = time.monotonic()
        with tqdm(
            total=steps, initial=done, desc=f"phase {self.number}", unit="step", disable=not self.progress
        ) as bar:
            for step in range(done + 1, steps + 1):
                found = self._losses(model, self.sampler.batch(step), step)
                taken.take(found["loss"])
                since.append({name: value.detach() for name, value in found.items()})
                bar.update()
                if step % recipe.log_step == 0 or step == steps:
                    report = _means(since)
                    if not np.isfinite(report["loss"]):
                        raise UserError(f"phase {self.number} step {step}: loss is {report['loss']}; try a lower lr")
                    report["seconds"] = time.monotonic() - started
                    append_metrics(self.folder, "train", step, report)
                    bar.set_postfix(loss=f"{report['loss']:.3f}")
                    since = []
                if step % recipe.save_step == 0 and step < steps:
                    append_metrics(self.folder, "valid", step, self._validate(model))
                    taken.save(step)
        append_metrics(self.folder, "valid", steps, self._validate(model))
        taken.finish()

    def _losses(self, model: GuidedModel, crops: Crops, chance: int) -> dict[str, Tensor]:
        with self._precision():
            targets = self.guide(crops.clean, self.phase.layers)
            units = None if self.phase.units_from is None else self._units(targets[self.phase.units_from])
            rows, frames = next(iter(targets.values())).shape[:2]
            mels = None if self.mels is None else self.mels(crops.clean)
            found: dict[str, Tensor] = model(crops.noisy, self._mask(rows, frames, chance), targets, units, mels)
        return found

    def _units(self, frames: Tensor) -> Tensor:
        """The nearest centroid of each frame: (B, T, W) -> (B, T)."""
        with torch.autocast(self.device.type, enabled=False):
            half = 0.5 * self.centroids.square().sum(1)
            return (frames.float() @ self.centroids.T - half).argmax(-1)

    def _mask(self, rows: int, frames: int, chance: int) -> Tensor | None:
        if not self.phase.mask_probability:
            return None
        rng = np.random.default_rng((self.recipe.seed, self.number, chance))
        mask = span_mask(rows, frames, self.phase.mask_probability, self.phase.mask_length, rng)
        return torch.from_numpy(mask).to(self.device)

    @torch.no_grad()
    def _validate(self, model: GuidedModel) -> dict[str, float]:
        """The same records on held-out speech, always with the same crops and masks."""
        model.eval()
        found = [self._losses(model, self.held_out.batch(number), number) for number in range(_HELD_OUT_BATCHES)]
        model.train()
        return _means(found)

    def _codebook(self) -> Codebook:
        """k-means of the guide's frames, computed once and then read from a file."""
        path = self.folder / CODEBOOK
        layer = self.phase.units_from
        assert layer is not None
        if path.is_file():
            return Codebook.load(path)
        sampler = copy.copy(self.sampler)
        sampler.seed = _CLUSTER_SEED + self.recipe.seed

        def frames(number: int) -> np.ndarray:
            with self._precision():
                found: np.ndarray = self.guide(sampler.batch(number).clean, [layer])[layer].flatten(0, 1).cpu().numpy()
            return found

        # a few frames of each batch, so that the frames come from many utterances
        share = 20_000
        pieces = (frames(number) for number in range(1 << 30))
        chosen = (piece[np.random.default_rng(0).permutation(len(piece))[:share]] for piece in pieces)
        taken = frames_to_cluster(chosen, self.recipe.cluster_frames, self.progress)
        codebook = Codebook(
            fit_centroids(taken, self.phase.clusters, self.recipe.seed), f"layer {layer} of {self.phase.guide}"
        )
        codebook.save(path)
        return codebook

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")


def _sampler(recipe: PhasedRecipe, phase: PhaseConfig, streams: Streams, seed: int) -> CropSampler:
    real = recipe.real_share if streams.real is not None else 0.0
    shares = [(streams.synthetic, 1 - real), *([] if streams.real is None else [(streams.real, real)])]
    return CropSampler(
        shares,
        crop_seconds=recipe.crop_seconds,
        batch_seconds=recipe.batch_seconds,
        noise_share=recipe.noise_share,
        noise_db=recipe.noise_db,
        mix_share=phase.mix_share,
        mix_db=phase.mix_db,
        seed=seed,
    )


def _means(records: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    return {name: torch.stack([record[name] for record in records]).float().mean().item() for name in records[0]}


def _claim(out: Path, recipe: PhasedRecipe) -> None:
    """
    Raises:
        UserError: the folder belongs to another recipe.
    """
    wanted = json.loads(json.dumps(to_dict(recipe)))
    path = out / RECIPE
    if not path.is_file():
        write_text(path, json.dumps(wanted, indent=2) + "\n")
    elif read_json(path) != wanted:
        raise UserError(f"{out}: was begun with another recipe; give another folder, or remove {out}")
