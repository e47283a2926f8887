"""Detection of the waveforms that a data set has drawn at random; the feature cache does not keep these waveforms.

s3prl's experts crop at random inside their data sets (KS its silence, SID and ASV their training utterances). Each such
draw changes the state of a random generator, which is compared before and after each item and each batch. The check
would miss a data set with a generator of its own; s3prl has no such data set.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

Drawn = frozenset[str] | None
"""`sample_key` of each waveform of a batch that was drawn at random; None if that is not known."""


def sample_key(wav: Any) -> str:
    """32 hexadecimal digits of the samples (S,) of a waveform."""
    samples = torch.as_tensor(wav).detach().to("cpu", torch.float32).contiguous().numpy()
    return hashlib.sha256(samples.tobytes()).hexdigest()[:32]


class WatchedLoader:
    """A loader of s3prl that reports, before each batch, which of its waveforms were drawn at random.

    Each batch of `loader` begins with a list of waveforms (S,). The function `report` gets the `Drawn` of a batch.
    """

    def __init__(self, loader: Any, report: Callable[[Drawn], None]) -> None:
        self.loader = loader
        self.report = report
        self.known = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
        if self.known and not isinstance(loader.dataset, _Watched):
            watched = _Watched(loader.dataset)
            # a DataLoader forbids setting another data set; worker processes start later and use this one
            vars(loader).update(dataset=watched, collate_fn=_Collate(watched, loader.collate_fn))

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            drawn, content = batch if self.known else (None, batch)
            self.report(drawn)
            yield content


class _Watched(Dataset):
    """A data set that records, within its process, which items of the present batch were drawn at random."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.drawn: list[Any] = []

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        before = _generators()
        item = self.dataset[index]
        if _generators() != before:
            self.drawn.append(item)
        return item


class _Collate:
    def __init__(self, watched: _Watched, collate: Callable[[Any], Any]) -> None:
        self.watched = watched
        self.collate = collate

    def __call__(self, items: Any) -> tuple[Drawn, tuple[Any, ...]]:
        before = _generators()
        batch = tuple(self.collate(items))
        drawn, self.watched.drawn = self.watched.drawn, []
        moved = _generators() != before  # the data set of ctc reads its audio here
        if not drawn and not moved:
            return frozenset(), batch
        in_batch = frozenset(map(sample_key, batch[0]))
        of_items = [frozenset(map(sample_key, _waveforms(item))) for item in drawn]
        if moved or any(not keys or not keys <= in_batch for keys in of_items):
            return in_batch, batch  # the collate function has changed an item
        return frozenset().union(*of_items), batch


def _waveforms(item: Any) -> Iterable[Any]:
    """Waveforms at the beginning of an item: one or a list; empty if the item begins with something else."""
    first = item[0] if isinstance(item, Sequence) and item else None
    waves = first if isinstance(first, list | tuple) else [first]
    return waves if all(isinstance(wave, np.ndarray | torch.Tensor) for wave in waves) else []


def _generators() -> tuple[Any, ...]:
    """States of the global generators of Python, NumPy and torch."""
    numpy: Any = np.random.get_state(legacy=False)
    state = numpy.pop("state")
    of_numpy = (state["key"].tobytes(), state["pos"], *numpy.values())
    return random.getstate(), of_numpy, torch.get_rng_state().numpy().tobytes()
