"""Disk space of a suite's feature cache: seconds of speech times bytes of features per second."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import layers
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, FREE_BYTES, LIMIT_FLAG, free_bytes, in_words, kept_bytes
from s3prl_gendistiller.host.layers import Features
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.superb.corpus.check import Shelf, need
from s3prl_gendistiller.superb.models import one_per_distillation
from s3prl_gendistiller.superb.suite.suite import Suite

OTHERS_BYTES = 10**6
"""Bytes of other models' features in the folder that are worth a word."""


def kept_features(suite: Suite) -> tuple[Suite, dict[str, Features]]:
    """The suite, whose models state whether they have weights, and by distillation the features that a cache keeps."""
    if suite.cache is None:
        return suite, {}
    kept = {}
    for model in one_per_distillation(suite.models):
        source = (model.upstream, model.checkpoint, model.steps, model.selection(suite.features))
        kept[model.distillation] = layers.kept_features(*source)
    models = [replace(model, learned=kept[model.distillation].bytes_per_s > 0) for model in suite.models]
    return replace(suite, models=models), kept


def cached_seconds(suite: Suite) -> float:
    """Seconds of speech whose features a cache may keep: measured on small corpora, else as published."""
    shelf = Shelf(progress=False)
    found: dict[str, float] = {}
    for task in suite.tasks:
        if suite.preset not in task.crops:
            folders = need(task).audio if suite.preset == "small" and VARIABLE in os.environ else ()
            measured = sum(shelf.audio(audio).seconds or 0.0 for audio in folders)
            found[task.shared or task.name] = measured or task.speech_of(suite.preset).whole_s
    return sum(found.values())


def describe(suite: Suite, cache: Path, kept: Mapping[str, Features], seconds: float) -> str:
    """One line: the size of the cache, its folder, and the free space of the disk.

    Args:
        kept: features by distillation.
        seconds: of `cached_seconds`.
    """
    needed = sum(one.bytes_per_s for one in kept.values()) * seconds
    sizes = ", ".join(f"{name} {in_words(round(one.bytes_per_s * seconds))}" for name, one in kept.items())
    limit = "" if suite.cache_limit is None else f", and at most {in_words(suite.cache_limit)} are kept"
    there = _there(cache, kept)
    others = kept_bytes(cache) - there
    beside = f"; features of other models take {in_words(others)} there" if others > OTHERS_BYTES else ""
    return (
        f"{CACHE_FLAG} {cache}: features of {seconds / 3600:.1f} hours of speech take up to "
        f"{in_words(round(needed))} ({sizes}){limit}; {in_words(there)} of them are there{beside}, "
        f"{in_words(free_bytes(cache))} of the disk are free"
    )


def require_room(suite: Suite, cache: Path, kept: Mapping[str, Features], seconds: float) -> None:
    """UserError if the disk has less free space than the features may take, and no limit was given."""
    needed = sum(one.bytes_per_s for one in kept.values()) * seconds
    if suite.cache_limit is None and needed - _there(cache, kept) + FREE_BYTES > free_bytes(cache):
        remedy = f"give {LIMIT_FLAG} (such as 50G) to keep a part of them, or a folder on another disk"
        raise UserError(f"{describe(suite, cache, kept, seconds)}; {remedy}")


def _there(cache: Path, kept: Mapping[str, Features]) -> int:
    return sum(kept_bytes(cache / folder) for folder in {one.folder for one in kept.values()})
