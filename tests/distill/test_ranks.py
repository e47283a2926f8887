"""Shares, sums and draws of several ranks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.data import HeldOutLoader, TrainLoader
from s3prl_gendistiller.distill.manifest import write_manifest
from tests.forked_ranks import of_ranks

SIZES = [1000 + 500 * i for i in range(11)]


def write_ramps(root: Path) -> Path:
    """File i holds the number i, in 1000 to 6000 samples."""
    root.mkdir()
    for number, samples in enumerate(SIZES):
        soundfile.write(root / f"{number:02d}.wav", np.full(samples, (number + 1) / 100), 16000, subtype="FLOAT")
    write_manifest(root, root, name="all", progress=False)
    return root


def train_loader(root: Path, **changes: Any) -> TrainLoader:
    options = {"batch_size": 4, "crop_samples": 3000, "seed": 5, **changes}
    return TrainLoader([root / "all.csv"], root, **options)


def rows(batch: Any) -> list[tuple[int, int]]:
    """File and length of each waveform."""
    return [(round(float(wav[0]) * 100) - 1, int(length)) for wav, length in zip(*batch, strict=True)]


def test_one_process_is_one_rank() -> None:
    values = torch.ones(2, requires_grad=True)
    assert (ranks.world(), ranks.rank(), ranks.largest(3), ranks.gather("x")) == (1, 0, 3, ["x"])
    assert ranks.total(values) is values and ranks.share([1, 2]) == [1, 2]


def test_a_draw_follows_from_its_numbers_alone() -> None:
    drawn = [ranks.draw(1, 3, 7, step) for step in range(300)]
    assert set(drawn) == {1, 2, 3} and drawn == [ranks.draw(1, 3, 7, step) for step in range(300)]
    assert drawn != [ranks.draw(1, 3, 8, step) for step in range(300)]
    assert ranks.seed_of(1, 2, 0) != ranks.seed_of(1, 2, 1) and ranks.seed_of(1, 2, 0) < 2**63


def test_a_sum_has_the_gradient_of_the_whole_after_the_mean_of_the_ranks(tmp_path: Path) -> None:
    def call() -> tuple[float, float]:
        own = torch.tensor(float(ranks.rank() + 1), requires_grad=True)  # 1, 2, 3
        total = ranks.total(own * own)
        (total * total).backward()
        assert own.grad is not None
        return float(total), float(own.grad)

    found = of_ranks(3, tmp_path, call)
    assert [total for total, _ in found] == [14.0] * 3
    # of (1 + 4 + 9)^2: 2 * 14 * 2 x, times three ranks, which DistributedDataParallel divides by
    assert [gradient for _, gradient in found] == [3 * 2 * 14 * 2 * x for x in (1, 2, 3)]


def test_the_shares_are_the_batches_of_one_process_with_their_padding(tmp_path: Path) -> None:
    root = write_ramps(tmp_path / "audio")
    whole = [*train_loader(root), *train_loader(root)]
    for world in (2, 3):
        shares = of_ranks(world, tmp_path / "stores", lambda: [*train_loader(root), *train_loader(root)])
        for index, batch in enumerate(whole):
            parts = [share[index] for share in shares]
            assert sorted(row for part in parts for row in rows(part)) == sorted(rows(batch))
            assert {part.wavs.shape[1] for part in parts} == {batch.wavs.shape[1]}
            sizes = [len(part.lengths) for part in parts]
            assert max(sizes) - min(sizes) <= 1
    assert any(len(share.lengths) == 0 for share in of_ranks(4, tmp_path / "stores", lambda: [*train_loader(root)])[3])


def test_positions_count_whole_batches_at_any_number_of_ranks(tmp_path: Path) -> None:
    root = write_ramps(tmp_path / "audio")
    whole = list(train_loader(root))

    def rest() -> tuple[list, int]:
        loader = train_loader(root)
        loader.resume(1)
        return [rows(batch) for batch in loader], loader.batches_done

    found = of_ranks(2, tmp_path / "stores", rest)
    assert [done for _, done in found] == [3, 3]
    for index, batch in enumerate(whole[1:]):
        assert sorted(found[0][0][index] + found[1][0][index]) == sorted(rows(batch))


def test_a_batch_is_skipped_where_no_rank_can_read_it_and_kept_where_one_can(tmp_path: Path) -> None:
    root = write_ramps(tmp_path / "audio")
    loader = train_loader(root)
    plan = loader.sampler.batches(0)
    for index in (*plan[0], *plan[1][::2]):  # all of one batch, and of another the share of rank 0
        Path(os.fsdecode(loader.crops.paths[index])).write_bytes(b"no audio")
    expected = list(train_loader(root, skip_bad=True))
    assert len(expected) == len(plan) - 1
    found = of_ranks(2, tmp_path / "stores", lambda: list(train_loader(root, skip_bad=True)))
    assert [len(share) for share in found] == [len(expected)] * 2
    for index, batch in enumerate(expected):
        parts = [share[index] for share in found]
        assert sorted(row for part in parts for row in rows(part)) == sorted(rows(batch))
        assert {part.wavs.shape[1] for part in parts} == {batch.wavs.shape[1]}
    assert min(len(share[0].lengths) for share in found) == 0


def test_held_out_batches_are_shared_whole(tmp_path: Path) -> None:
    root = write_ramps(tmp_path / "audio")

    def batches() -> list:
        loader = HeldOutLoader([root / "all.csv"], root, batch_size=4, crop_samples=None)
        return [rows(batch) for batch in loader]

    first, second = of_ranks(2, tmp_path / "stores", batches)
    assert [first[0], second[0], first[1]] == batches() and len(second) == 1
