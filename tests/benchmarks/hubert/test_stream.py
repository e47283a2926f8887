from __future__ import annotations

import numpy as np
import pytest
import torch

from hubert.frames import frames_of
from hubert.stream import CropSampler, Stream, add_noise, add_voice
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, read_audio
from s3prl_gendistiller.errors import UserError
from tests.benchmarks.hubert.conftest import Speech

CPU = torch.device("cpu")


def sampler(*streams: tuple[Stream, float], seed: int = 0, noise: float = 0.0) -> CropSampler:
    return CropSampler(
        streams, crop_seconds=(0.5, 1.0), batch_seconds=4.0, noise_share=noise, noise_db=(10.0, 10.0), seed=seed
    )


def constant(value: int) -> Stream:
    return Stream(torch.full((3 * SAMPLE_RATE,), value, dtype=torch.int16))


def test_a_stream_holds_every_utterance_once(speech: Speech) -> None:
    stream = Stream.read(speech.train, CPU, 0, "speech")
    assert len(stream) == sum(utterance.num_samples for utterance in speech.train)
    first = speech.train[np.random.default_rng(0).permutation(len(speech.train))[0]]
    wav = read_audio(first.path)
    assert torch.allclose(stream.crops(torch.tensor([0]), len(wav))[0], wav, atol=1e-4)


def test_a_batch_is_a_function_of_its_number() -> None:
    stream = Stream(torch.randint(-9_000, 9_000, (4 * SAMPLE_RATE,), dtype=torch.int16))
    first, again, other = (sampler((stream, 1.0), noise=1.0).batch(number) for number in (3, 3, 4))
    assert torch.equal(first.clean, again.clean) and torch.equal(first.noisy, again.noisy)
    assert first.clean.shape != other.clean.shape or not torch.equal(first.clean, other.clean)
    assert frames_of(first.clean.shape[1]) in (24, 49)


def test_crops_come_from_both_streams_in_their_shares() -> None:
    made = sampler((constant(-1), 0.75), (constant(1), 0.25))
    rows = torch.cat([made.batch(number).clean[:, 0] for number in range(60)])
    assert 0.15 < (rows >= 0).float().mean() < 0.35


def test_a_stream_shorter_than_a_crop_is_refused() -> None:
    with pytest.raises(UserError, match="expected more than a crop"):
        sampler((Stream(torch.zeros(100, dtype=torch.int16)), 1.0))


def test_noise_has_its_level_and_touches_its_rows_alone() -> None:
    wavs = torch.randn(3, 16_000)
    generator = torch.Generator().manual_seed(0)
    levels, slopes = torch.tensor([10.0, 20.0, 0.0]), torch.tensor([0.0, 2.0, 1.0])
    noisy = add_noise(wavs, levels, slopes, torch.tensor([True, True, False]), generator)
    assert torch.equal(noisy[2], wavs[2])
    ratio = 10 * torch.log10(wavs.square().mean(1) / (noisy - wavs).square().mean(1))
    assert torch.allclose(ratio[:2], levels[:2], atol=0.1)
    spectrum = torch.fft.rfft(noisy - wavs).abs().square()
    low, high = spectrum[:, 50:500].mean(1), spectrum[:, 5_000:].mean(1)
    assert 0.8 < low[0] / high[0] < 1.25 and low[1] / high[1] > 50


def test_another_voice_has_its_level_and_covers_half_of_its_rows() -> None:
    wavs = torch.randn(3, 16_000)
    mixed = add_voice(wavs, torch.full((3,), 6.0), torch.tensor([0.0, 0.25, 0.5]), torch.tensor([True, True, False]))
    added = mixed - wavs
    assert torch.equal(mixed[2], wavs[2])
    assert (
        added[0, 8_000:].abs().max() == 0 and added[1, :4_000].abs().max() == 0 and added[1, 12_000:].abs().max() == 0
    )
    other = wavs[0, 4_000:12_000]
    assert torch.allclose(added[1, 4_000:12_000] / other, (added[1, 4_000] / other[0]).expand(8_000), rtol=1e-2)
    ratio = 10 * torch.log10(wavs[1].square().mean() / added[1, 4_000:12_000].square().mean())
    assert abs(ratio - 6.0) < 0.2


def test_a_share_of_the_crops_is_mixed_and_the_guide_hears_none_of_it() -> None:
    stream = Stream(torch.randint(-9_000, 9_000, (4 * SAMPLE_RATE,), dtype=torch.int16))
    options = {"crop_seconds": (0.5,), "batch_seconds": 20.0, "noise_share": 0.0, "noise_db": (0.0, 0.0), "seed": 0}
    plain = CropSampler([(stream, 1.0)], **options)
    mixing = CropSampler([(stream, 1.0)], mix_share=0.5, mix_db=(3.0, 12.0), **options)
    assert torch.equal(plain.batch(1).clean, mixing.batch(1).clean)
    touched = (mixing.batch(1).noisy != plain.batch(1).noisy).any(1).float().mean()
    assert 0.2 < touched < 0.8
