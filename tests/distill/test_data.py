from __future__ import annotations

import multiprocessing
import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s3prl_gendistiller.distill.crops import Batch, CropDataset
from s3prl_gendistiller.distill.data import BucketBatchSampler, HeldOutLoader, TrainLoader
from s3prl_gendistiller.distill.manifest import Utterance, write_manifest
from s3prl_gendistiller.errors import UserError

UTTERANCES = 11
BATCH_SIZE = 4
CROP = 3000
SIZES = [1000 + 500 * i for i in range(UTTERANCES)]
# A change of these breaks the resumption of every run that is under way.
GOLDEN_STARTS = [63059, 44475, 61632]
GOLDEN_PLAN = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eleven ramps of 1000 to 6000 samples and their manifest; file i holds about (i + 1) / 100."""
    root = tmp_path / "audio"
    root.mkdir()
    for i, samples in enumerate(SIZES):
        ramp = (i + 1) / 100 + np.arange(samples) / 1e6
        soundfile.write(root / f"{i:02d}.wav", ramp.astype(np.float32), 16000, subtype="FLOAT")
    write_manifest(root, root, name="all", progress=False)
    return root


def train_loader(root: Path, **changes: object) -> TrainLoader:
    settings = {"batch_size": BATCH_SIZE, "crop_samples": CROP, "seed": 5, **changes}
    return TrainLoader([root / "all.csv"], root, **settings)


def stream(loader: TrainLoader, count: int) -> list[Batch]:
    """The next batches, over as many epochs as they take."""
    batches: list[Batch] = []
    while len(batches) < count:
        batches.extend(islice(loader, count - len(batches)))
    return batches


def equal(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.wavs, b.wavs) and torch.equal(a.lengths, b.lengths) for a, b in zip(left, right, strict=True)
    )


def numbers(batches: list[Batch]) -> list[int]:
    """Which file each waveform came from."""
    return [int(float(wav[0]) * 100 + 1e-3) - 1 for batch in batches for wav in batch.wavs]


def test_every_utterance_is_seen_once_an_epoch_and_the_remainder_is_kept(root: Path) -> None:
    loader = train_loader(root)
    for _ in range(3):
        batches = list(loader)
        assert sorted(numbers(batches)) == list(range(UTTERANCES))
        assert sorted(len(batch.lengths) for batch in batches) == [3, 4, 4]
    assert len(loader) == len(loader.dataset) == 3
    assert loader.batches_done == 9


def test_a_last_batch_of_one_is_kept(root: Path) -> None:
    sizes = sorted(len(batch.lengths) for batch in train_loader(root, batch_size=5))
    assert sizes == [1, 5, 5]


def test_epochs_differ_in_order_companions_and_crops(root: Path) -> None:
    loader = train_loader(root)
    first, second = list(loader), list(loader)
    assert numbers(first) != numbers(second)
    companions = [{frozenset(numbers([batch])) for batch in epoch} for epoch in (first, second)]
    assert companions[0] != companions[1]
    assert not equal(first, second)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 3, 5, 7])
def test_resumed_stream_is_the_unbroken_stream(root: Path, num_workers: int, done: int) -> None:
    unbroken = stream(train_loader(root), done + 4)
    loader = train_loader(root, num_workers=num_workers)
    loader.resume(done)
    assert equal(stream(loader, 4), unbroken[done:])
    assert loader.batches_done == done + 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_prefetched_batches_do_not_count_as_done(root: Path, num_workers: int) -> None:
    loader = train_loader(root, num_workers=num_workers)
    iterator = iter(loader)
    seen = [next(iterator) for _ in range(2)]
    assert loader.batches_done == 2
    resumed = train_loader(root)
    resumed.resume(loader.batches_done)
    assert equal(seen + stream(resumed, 2), stream(train_loader(root), 4))


def test_loop_left_in_mid_epoch_goes_on_with_the_next_batch(root: Path) -> None:
    loader = train_loader(root)
    first = list(islice(loader, 1))
    assert equal(first + list(loader), list(train_loader(root)))


def test_seed_decides_the_stream(root: Path) -> None:
    assert equal(stream(train_loader(root), 5), stream(train_loader(root), 5))
    assert not equal(stream(train_loader(root), 5), stream(train_loader(root, seed=6), 5))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_leaves_the_global_random_state_alone(root: Path, num_workers: int) -> None:
    torch.manual_seed(0)
    before, before_numpy = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    stream(train_loader(root, num_workers=num_workers), 4)
    list(HeldOutLoader([root / "all.csv"], root, batch_size=2, crop_samples=None, num_workers=num_workers))
    assert torch.equal(before, torch.get_rng_state())
    assert before_numpy == pickle.dumps(np.random.get_state())  # noqa: NPY002


def test_batches_are_padded_with_zeros_behind_true_lengths(root: Path) -> None:
    for batch in train_loader(root):
        assert batch.wavs.dtype == torch.float32
        assert batch.lengths.dtype == torch.int64
        assert batch.wavs.shape[1] == batch.lengths.max() <= CROP
        padding = torch.arange(batch.wavs.shape[1]) >= batch.lengths.unsqueeze(1)
        assert not batch.wavs[padding].any()
        assert (batch.wavs[~padding] != 0).all()
        assert batch.lengths.tolist() == [min(SIZES[number], CROP) for number in numbers([batch])]


def test_crops_stay_inside_and_reach_both_ends() -> None:
    crops = CropDataset([Utterance(Path("a.wav"), 410, "m.csv line 2")], 400, seed=0)
    windows = [crops.window(epoch, 0) for epoch in range(300)]
    assert {length for _, length in windows} == {400}
    assert {start for start, _ in windows} == set(range(11))


def test_crop_depends_on_seed_epoch_and_utterance_only() -> None:
    utterances = [Utterance(Path(f"{i}.wav"), 100_000, "") for i in range(3)]
    starts = {
        (seed, epoch, index): CropDataset(utterances, 1000, seed).window(epoch, index)[0]
        for seed in range(2)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(set(starts.values())) == len(starts)
    assert [starts[0, 0, index] for index in range(3)] == GOLDEN_STARTS


def test_batch_plan_is_the_one_that_older_checkpoints_were_made_with() -> None:
    assert BucketBatchSampler(SIZES, 4, seed=5).batches(epoch=2) == GOLDEN_PLAN


def test_batches_hold_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(16_000, 250_000, 2400)
    batches = BucketBatchSampler(lengths, 24, seed=0).batches(0)
    padded = sum(24 * lengths[batch].max() for batch in batches)
    assert lengths.sum() / padded > 0.9


def test_held_out_data_is_the_same_at_every_call(root: Path) -> None:
    loader = HeldOutLoader([root / "all.csv"], root, batch_size=BATCH_SIZE, crop_samples=CROP)
    first = list(loader)
    assert equal(first, list(loader))
    assert numbers(first) == list(range(UTTERANCES))[::-1]
    assert len(loader) == 3
    # 6000 samples, the middle 3000: the ramp of file 10 at sample 1500.
    assert float(first[0].wavs[0, 0]) == pytest.approx(0.11 + 1500 / 1e6, abs=2e-6)


def test_whole_utterances_without_a_crop(root: Path) -> None:
    loader = HeldOutLoader([root / "all.csv"], root, batch_size=UTTERANCES, crop_samples=None)
    (batch,) = loader
    assert batch.lengths.tolist() == SIZES[::-1]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("harm", ["missing", "nan", "short", "empty"])
def test_file_that_turned_bad_is_named_with_its_row(root: Path, harm: str, num_workers: int) -> None:
    loader = train_loader(root, num_workers=num_workers)
    spoil(root / "04.wav", harm)
    with pytest.raises(UserError) as caught:
        list(loader)
    message = str(caught.value)
    assert message.startswith(f"all.csv line 8: {root / '04.wav'}: ")
    assert "Traceback" not in message
    assert "\n" not in message


@pytest.mark.parametrize("num_workers", [0, 2])
def test_skip_bad_leaves_the_file_out_and_warns_once(
    root: Path, num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    loader = train_loader(root, num_workers=num_workers, skip_bad=True)
    spoil(root / "04.wav", "nan")
    for _ in range(2):
        assert sorted(numbers(list(loader))) == [i for i in range(UTTERANCES) if i != 4]
    assert caplog.text.count("04.wav") == 1
    assert "skipped (1 so far): all.csv line 8" in caplog.text


def test_batch_of_which_nothing_is_left_is_passed_over_and_counted(root: Path) -> None:
    loader = train_loader(root, batch_size=1, skip_bad=True)
    spoil(root / "04.wav", "missing")
    assert len(list(loader)) == UTTERANCES - 1
    assert loader.batches_done == UTTERANCES


def test_epoch_without_a_single_good_file_ends_the_run(root: Path) -> None:
    loader = train_loader(root, skip_bad=True)
    for i in range(UTTERANCES):
        spoil(root / f"{i:02d}.wav", "empty")
    with pytest.raises(UserError, match="none of 11 audio files can be read; first: all.csv line"):
        list(loader)


def test_silence_is_kept_with_one_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in (2, 3):
        soundfile.write(root / f"{i:02d}.wav", np.zeros(SIZES[i], np.float32), 16000)
    loader = train_loader(root)
    assert sum(len(batch.lengths) for batch in stream(loader, 6)) == 2 * UTTERANCES
    assert caplog.text.count("all samples are zero") == 1
    assert len(loader.silent) == 2


@pytest.mark.parametrize("lengths", [1, 2, 5])
def test_batches_are_padded_to_a_few_lengths(root: Path, lengths: int) -> None:
    plain, padded = train_loader(root), train_loader(root, padded_lengths=lengths)
    sizes = {-(-CROP * part // lengths) for part in range(1, lengths + 1)}
    for short, long in zip(stream(plain, 9), stream(padded, 9), strict=True):
        own = short.wavs.shape[1]
        assert long.wavs.shape[1] == min(size for size in sizes if size >= own)
        assert torch.equal(long.wavs[:, :own], short.wavs) and not long.wavs[:, own:].any()
        assert torch.equal(long.lengths, short.lengths)


def test_worker_processes_stay_over_the_end_of_an_epoch(root: Path) -> None:
    loader, plain = train_loader(root, num_workers=2), train_loader(root)
    first = list(loader)
    workers = {worker.pid for worker in multiprocessing.active_children()}
    second = list(loader)
    assert workers and workers <= {worker.pid for worker in multiprocessing.active_children()}
    assert equal(first + second, stream(plain, len(first + second)))
    loader.resume(1)
    plain.resume(1)
    assert equal(list(loader), list(plain))


def test_a_loop_that_is_left_early_loses_no_batch(root: Path) -> None:
    loader = train_loader(root, num_workers=1)
    found = [next(iter(loader)) for _ in range(5)]
    assert equal(found, stream(train_loader(root), 5))


def test_stale_manifest_is_noticed(root: Path) -> None:
    loader = train_loader(root)
    soundfile.write(root / "04.wav", np.ones(2000, np.float32), 16000)
    with pytest.raises(UserError, match="2000 samples at 16 kHz; the manifest states 3000; write the manifest"):
        list(loader)


def test_dataset_travels_to_spawned_workers(root: Path) -> None:
    loader = train_loader(root)
    copy = pickle.loads(pickle.dumps(loader.crops))
    assert torch.equal(copy[0, 1].wav, loader.crops[0, 1].wav)


def test_wrong_arguments_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="crop_samples is 399; expected at least 400"):
        train_loader(root, crop_samples=399)
    with pytest.raises(ValueError, match="batch_size 0"):
        train_loader(root, batch_size=0)
    with pytest.raises(ValueError, match="batches_done is -1"):
        train_loader(root).resume(-1)


def spoil(path: Path, harm: str) -> None:
    if harm == "missing":
        path.unlink()
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "short":
        soundfile.write(path, np.ones(100, np.float32), 16000)
    else:
        wav, _ = soundfile.read(path, dtype="float32")
        soundfile.write(path, np.where(np.arange(len(wav)) % 10 == 0, np.nan, wav), 16000, subtype="FLOAT")
