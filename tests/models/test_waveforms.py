"""Audio in memory: forms that a student takes, and one message for each that it cannot take."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.waveforms import WaveformError, to_batch
from tests.conftest import tiny_config


def noise(samples: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) / 10


LONG, SHORT = noise(4000), noise(1500, seed=1)
PADDED = torch.nn.utils.rnn.pad_sequence([LONG, SHORT], batch_first=True)


@pytest.fixture(scope="module")
def student() -> GenDistiller:
    torch.manual_seed(0)
    return GenDistiller(tiny_config(), 2)


@pytest.mark.parametrize(
    "wavs", [LONG, LONG.numpy(), LONG.double().numpy(), [LONG], (LONG.numpy(),), LONG[None], LONG[None].numpy()]
)
def test_one_waveform_is_a_batch_of_one_in_every_form(student: GenDistiller, wavs: Any) -> None:
    output = student.generate(wavs, sample_rate=16_000)
    assert [tuple(state.shape) for state in output.hidden_states] == [(1, 12, 24)] * 3
    expected = student.generate(LONG[None]).hidden_states
    assert all(map(torch.equal, output.hidden_states, expected)) and bool(output.frame_mask.all())


@pytest.mark.parametrize(
    ("wavs", "lengths"),
    [
        ([LONG, SHORT], None),
        ([LONG.numpy(), SHORT], None),
        (PADDED, torch.tensor([4000, 1500])),
        (PADDED.numpy(), np.array([4000, 1500])),
        (PADDED, [4000, 1500]),
        (PADDED + torch.tensor([[0.0], [7.0]]) * (PADDED == 0), [4000, 1500]),  # no zeros behind the utterance
        (PADDED.masked_fill(PADDED == 0, float("nan")), [4000, 1500]),
    ],
)
def test_several_waveforms_are_one_batch_in_every_form(student: GenDistiller, wavs: Any, lengths: Any) -> None:
    output = student.generate(wavs, lengths)
    assert output.frame_mask.sum(1).tolist() == [12, 4]
    for index, wav in enumerate((LONG, SHORT)):
        alone = student.generate(wav).hidden_states[-1][0]
        found = output.hidden_states[-1][index][output.frame_mask[index]]
        assert torch.allclose(found, alone, atol=1e-5)


def test_audio_takes_the_precision_of_the_student(student: GenDistiller) -> None:
    precise = copy.deepcopy(student).double()
    output = precise.generate(LONG.numpy())
    assert output.hidden_states[-1].dtype == torch.float64
    assert torch.allclose(output.predictions.float(), student.generate(LONG).predictions, atol=1e-4)


@pytest.mark.parametrize("wav", [LONG.numpy()[::-1], LONG.numpy().astype(">f4"), np.repeat(LONG.numpy(), 2)[::2]])
def test_an_array_in_any_order_of_memory_is_taken(wav: np.ndarray) -> None:
    batch, lengths = to_batch(wav)
    assert np.array_equal(batch[0].numpy(), wav) and lengths.tolist() == [4000]


def test_the_array_of_the_caller_stays_as_it_is() -> None:
    given = PADDED + 1.0
    before = given.clone()
    batch, _ = to_batch(given, [4000, 1500])
    assert torch.equal(given, before) and float(batch[1, 1500:].abs().max()) == 0.0


@pytest.mark.parametrize(
    ("wavs", "options", "message"),
    [
        (torch.zeros(1, 1, 4000), {}, r"found the shape \(1, 1, 4000\), expected one waveform \(S,\), a list"),
        (torch.tensor(0.5), {}, r"found the shape \(\), expected one waveform"),
        ([LONG, LONG[None]], {}, r"wavs\[1\]: found the shape \(1, 4000\), expected \(S,\); .*wav\.mean\(0\)"),
        (np.zeros((16_000, 2)), {}, r"16000 utterances of 2 samples, expected \(B, S\); .* give wavs\.mean\(1\)"),
        ((LONG.numpy() * 32768).astype(np.int16), {}, r"samples of type int16, expected floats.*wavs / 32768"),
        ((LONG * 2).to(torch.int16), {}, "samples of type int16"),
        (np.zeros(4000, np.uint8), {}, r"uint8.*wavs / 128\.0 - 1"),
        (np.zeros(4000, np.complex64), {}, "samples of type complex64"),
        (torch.zeros(4000, dtype=torch.complex64), {}, "samples of type complex64"),
        (np.array(["a", "b"]), {}, "samples of type <U1"),
        ("talk.wav", {}, r"wavs: found str, expected a tensor or a numpy array.*soundfile\.read"),
        (None, {}, "wavs: found NoneType"),
        ([0.1] * 500, {}, r"wavs\[0\]: found float, expected a tensor or a numpy array"),
        ([], {}, "found an empty list"),
        (torch.zeros(0), {}, "wavs: found 0 samples, expected at least 400"),
        (torch.zeros(0, 4000), {}, r"found a batch of no waveform, shape \(0, 4000\)"),
        ([LONG, LONG[:399]], {}, r"wavs\[1\]: found 399 samples, expected at least 400 \(25 ms"),
        (PADDED, {"lengths": [4000, 20]}, r"wavs\[1\]: found 20 samples"),
        (torch.full((4000,), float("nan")), {}, "wavs: found nan at sample 0, expected finite"),
        (
            torch.full((4000,), 20_000.0),
            {},
            "wavs: found samples up to 20000, expected floats between -1",
        ),
        ([LONG, SHORT / 0.0], {}, r"wavs\[1\]: found -?inf at sample 0"),
        (PADDED, {"lengths": [4000]}, r"lengths: found \[4000\], expected 2 whole numbers"),
        (PADDED, {"lengths": [4000, 4001]}, "lengths: found 4001, expected 0 to 4000"),
        (PADDED, {"lengths": [1.0, 0.5]}, r"lengths: found \[1\.0, 0\.5\], expected 2 whole numbers"),
        (PADDED, {"lengths": 4000}, "lengths: found 4000, expected 2 whole numbers"),
        (PADDED, {"lengths": "ab"}, "lengths: found ab, expected 2 whole numbers"),
        (PADDED, {"lengths": torch.ones(2)}, "expected 2 whole numbers"),
        (LONG, {"lengths": [4000]}, "lengths: found beside one waveform"),
        ([LONG], {"lengths": [4000]}, "lengths: found beside a list"),
        (LONG, {"sample_rate": 44_100}, r"sample_rate: found 44100, expected 16000; .*soxr\.resample\(wav, 44100, 16"),
        (LONG, {"sample_rate": "16000"}, "sample_rate: found 16000, expected 16000"),
    ],
)
def test_anything_else_is_one_message(wavs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(WaveformError, match=message) as caught:
        to_batch(wavs, **options)
    assert isinstance(caught.value, UserError) and isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
