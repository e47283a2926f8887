"""What a data set draws at random is seen from outside, per sample, also when a worker process reads it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from s3prl_gendistiller.host.feature_store import FeatureCache
from s3prl_gendistiller.host.random_waveforms import Drawn, WatchedLoader, sample_key
from s3prl_gendistiller.host.soft_labels import WithWaveforms

DRAWS: dict[str, Callable[[], float]] = {
    "python": random.random,
    "numpy": np.random.rand,
    "torch": lambda: float(torch.rand(())),
}


class Windows(Dataset):
    """Waveforms 0, 1, 2, ...; odd ones are drawn, and a `batch` is a list of two, as s3prl's ASR has them."""

    def __init__(self, draw: str, batch: bool = False) -> None:
        self.draw = draw
        self.batch = batch

    def __len__(self) -> int:
        return 4

    def _wav(self, index: int) -> np.ndarray:
        offset = DRAWS[self.draw]() if index % 2 else 0.0
        return np.full(10, index + offset, dtype=np.float32)

    def __getitem__(self, index: int) -> Any:
        if self.batch:
            return [self._wav(0), self._wav(index)], ["a", "b"]
        return self._wav(index), index


def together(samples: list[Any]) -> Any:
    return zip(*samples, strict=True)


def collect(loader: Any) -> list[tuple[Drawn, Any]]:
    told: list[Drawn] = []
    return [(told[-1], batch) for batch in WatchedLoader(loader, told.append)]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("draw", DRAWS)
def test_a_sample_that_was_drawn_is_known_and_its_neighbours_are_not(draw: str, workers: int) -> None:
    data = Subset(Windows(draw), [3, 0, 1, 2])  # a Subset of torch is read in whole batches
    for drawn, (wavs, labels) in collect(DataLoader(data, 2, collate_fn=together, num_workers=workers)):
        assert drawn == {sample_key(wav) for wav, label in zip(wavs, labels, strict=True) if label % 2}
        assert len(labels) == 2


def test_of_an_item_that_is_a_batch_all_counts(
    items: tuple[str, ...] = ("a", "b"),
) -> None:
    loader = DataLoader(Windows("python", batch=True), 1, collate_fn=lambda samples: samples[0])
    for number, (drawn, (wavs, names)) in enumerate(collect(loader)):
        assert tuple(names) == items
        assert drawn == (set(map(sample_key, wavs)) if number % 2 else set())


def test_what_is_drawn_or_changed_while_a_batch_is_made_counts_as_drawn() -> None:
    """ctc reads its audio there."""

    def crop(samples: list[Any]) -> Any:
        start = random.randrange(3)
        return [wav[start:] for wav, _ in samples], [label for _, label in samples]

    def halve(samples: list[Any]) -> Any:
        return [wav[:5] for wav, _ in samples], [label for _, label in samples]

    for drawn, (wavs, _) in collect(DataLoader(Subset(Windows("python"), [0, 2]), 2, collate_fn=crop)):
        assert drawn == set(map(sample_key, wavs))
    plain, mixed = (
        collect(DataLoader(Subset(Windows("python"), rows), 2, collate_fn=halve)) for rows in ([0, 2], [0, 1])
    )
    assert plain[0][0] == frozenset() and mixed[0][0] == set(map(sample_key, mixed[0][1][0]))


def test_of_a_loader_that_cannot_be_watched_nothing_is_known() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            yield np.zeros(4, dtype=np.float32), 1

    for loader in (DataLoader(Stream(), 1, collate_fn=together), [([np.zeros(4)], [1])]):
        assert [drawn for drawn, _ in collect(loader)] == [None]


def test_a_loader_around_s3prls_own_is_watched_inside(tmp_path: Any) -> None:
    cache = FeatureCache(tmp_path)
    stock = DataLoader(Windows("python"), 2, collate_fn=together)
    for _ in range(2):  # an expert may return the same loader twice
        loader = cache.watched(WithWaveforms(stock))
        assert len(loader) == 2 and isinstance(loader, WithWaveforms)
        for wavs, labels, again in loader:
            assert again is wavs and cache.drawn == {sample_key(wavs[1])} and labels[1] % 2
