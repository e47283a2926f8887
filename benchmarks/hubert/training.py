"""The rounds of pretraining: clustering, masked prediction, clustering of the learned states, prediction again.

All files are written below one folder. The same call continues an interrupted run, with the batches, crops and masks of
an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hubert.batches import CropPlan, CropPlanner, Speech, UnitBatch, read_batch, slice_batch
from hubert.masking import span_mask
from hubert.model import MaskedUnitModel, Prediction
from hubert.recipe import HubertRecipe, RoundConfig
from hubert.steps import WEIGHTS, Steps, read
from hubert.units import cnn_frames, make_units
from s3prl_gendistiller.distill.metrics import append_metrics
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.schema import to_dict
from s3prl_gendistiller.shipped import existing_or_shipped

RECIPE = "recipe.json"

logger = logging.getLogger(__name__)


def pretrain(recipe: HubertRecipe, speech: Speech, out: Path, *, progress: bool = True) -> MaskedUnitModel:
    """Runs every unfinished round; returns the model of the last round.

    Args:
        out: is created if necessary; holds one folder for each round.

    Raises:
        UserError: `out` was made with another recipe or other speech; an audio file cannot be used.
    """
    _claim(out, recipe, speech)
    model = _initial(recipe)
    frames: list[np.ndarray] | None = None
    for number, round_ in enumerate(recipe.rounds, 1):
        folder = round_folder(out, number)
        folder.mkdir(exist_ok=True)
        finished = (folder / WEIGHTS).is_file()
        if not round_.frozen_cnn:
            frames = None
        elif frames is None and not finished:
            assert model is not None
            frames = cnn_frames(model.eval(), speech.all, progress)
        units = make_units(recipe, round_, speech, folder, model, frames, progress)
        model = _new_model(recipe, number, round_, model)
        if finished:
            model.load_state_dict(read(folder / WEIGHTS))
        else:
            _Round(recipe, number, speech, folder, units, frames, progress).train(model)
    assert model is not None
    return model.eval()


def round_folder(out: Path, number: int) -> Path:
    """Folder of a round, counted from 1."""
    return out / f"round{number}"


class _Round:
    """One round of masked prediction."""

    def __init__(
        self,
        recipe: HubertRecipe,
        number: int,
        speech: Speech,
        folder: Path,
        units: Sequence[np.ndarray],
        frames: Sequence[np.ndarray] | None,
        progress: bool,
    ) -> None:
        self.recipe, self.number, self.folder, self.progress = recipe, number, folder, progress
        self.round = recipe.rounds[number - 1]
        self.speech, self.utterances, self.units, self.frames = speech, speech.all, units, frames

    def train(self, model: MaskedUnitModel) -> None:
        recipe, steps = self.recipe, self.round.steps
        if self.round.frozen_cnn:
            model.hubert.feature_extractor.requires_grad_(False)
        options = {"warmup": recipe.warmup, "weight_decay": recipe.weight_decay, "clip_norm": recipe.clip_norm}
        taken = Steps(model, self.folder, steps, lr=self.round.lr, **options)
        done = taken.resume()
        if done:
            logger.info("round %d continues after step %d", self.number, done)
        planner = CropPlanner(self.speech.train, recipe.crop_seconds, recipe.batch_seconds, recipe.seed + self.number)
        plans = planner.forever(skip=done)
        bar = tqdm(total=steps, initial=done, desc=f"round {self.number}", unit="step", disable=not self.progress)
        model.train()
        since: list[list[float]] = []
        with bar:
            for step in range(done + 1, steps + 1):
                found = self._predict(model, self._batch(next(plans)), step)
                taken.take(found.masked_loss + self.round.seen_weight * found.seen_loss)
                since.append([value.item() for value in found])
                bar.update()
                if not np.isfinite(since[-1][0]):
                    raise UserError(f"round {self.number} step {step}: loss is {since[-1][0]}; try a lower lr")
                if step % recipe.log_step == 0 or step == steps:
                    report = dict(zip(Prediction._fields, np.mean(since, axis=0).tolist(), strict=True))
                    append_metrics(self.folder, "train", step, report)
                    bar.set_postfix(loss=f"{report['masked_loss']:.3f}", accuracy=f"{report['masked_accuracy']:.3f}")
                    since = []
                if step % recipe.valid_step == 0 or step == steps:
                    append_metrics(self.folder, "valid", step, self._validate(model))
                if step % recipe.save_step == 0 and step < steps:
                    taken.save(step)
        taken.finish()

    def _batch(self, plan: CropPlan, first: int = 0) -> UnitBatch:
        """The crops of a plan whose utterances are counted from `first`."""
        plan = plan._replace(indices=plan.indices + first)
        if self.frames is None:
            return read_batch(self.utterances, self.units, plan)
        return slice_batch(self.frames, self.units, plan)

    def _predict(self, model: MaskedUnitModel, batch: UnitBatch, chance: int) -> Prediction:
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, self.number, chance))
        rows, frames = batch.units.shape
        mask = span_mask(rows, frames, self.round.mask_probability, self.round.mask_length, rng)
        found: Prediction = model(batch.inputs, batch.units, torch.from_numpy(mask))
        return found

    @torch.no_grad()
    def _validate(self, model: MaskedUnitModel) -> dict[str, float]:
        """Loss and accuracy on held-out speech, always with the same crops and masks."""
        if not self.speech.valid:
            return {}
        model.eval()
        planner = CropPlanner(self.speech.valid, self.recipe.crop_seconds, self.recipe.batch_seconds, seed=0)
        counts, values = [], []
        for number, plan in enumerate(planner.epoch(0)):
            batch = self._batch(plan, first=len(self.speech.train))
            counts.append(batch.units.numel())
            values.append([value.item() for value in self._predict(model, batch, number)])
        model.train()
        means = np.average(values, axis=0, weights=counts).tolist()
        return dict(zip(Prediction._fields, means, strict=True))


def _initial(recipe: HubertRecipe) -> MaskedUnitModel | None:
    """
    Raises:
        UserError: the folder is missing, or its encoder has another shape.
    """
    if recipe.initial is None:
        return None
    from transformers import HubertModel

    folder = existing_or_shipped(recipe.initial)
    model = MaskedUnitModel(recipe, recipe.rounds[0].clusters)
    try:
        found: Any = HubertModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        encoder, loaded = found
        if loaded["missing_keys"]:  # transformers draws missing weights at random
            raise RuntimeError(f"{', '.join(sorted(loaded['missing_keys']))} missing")
        model.hubert.load_state_dict(encoder.state_dict())
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"initial: {folder} is no HuBERT of the shape that the recipe states ({reason})") from error
    return model.eval()


def _new_model(
    recipe: HubertRecipe, number: int, round_: RoundConfig, before: MaskedUnitModel | None
) -> MaskedUnitModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed + number)
        model = MaskedUnitModel(recipe, round_.clusters)
    if before is not None and not recipe.fresh:
        model.hubert.load_state_dict(before.hubert.state_dict())
    return model


def _claim(out: Path, recipe: HubertRecipe, speech: Speech) -> None:
    """
    Raises:
        UserError: the folder belongs to another recipe or to other speech.
    """
    wanted = {
        "recipe": to_dict(recipe),
        "speech": {
            name: [len(part), sum(utterance.num_samples for utterance in part)]
            for name, part in (("train", speech.train), ("valid", speech.valid))
        },
    }
    path = out / RECIPE
    if not path.is_file():
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    found = read_json(path)
    changed = [name for name in wanted if found.get(name) != wanted[name]]
    if changed:
        raise UserError(f"{out}: was begun with another {' and '.join(changed)}; give another folder, or remove it")
