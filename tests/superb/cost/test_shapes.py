"""What runs for its shapes executes the same products as what runs for its values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.superb.cost.counted_models import AsUpstream
from s3prl_gendistiller.superb.cost.multiply_adds import count, count_executed
from s3prl_gendistiller.superb.cost.shapes import ShapesOnly
from tests.bench import TINY_TEACHER
from tests.conftest import TINY, TINY_CONV

GATED = {"position_bias": "gated", "history_input": "concat", "skip_connection": "history", "normalize": True}


class Sequential(nn.Sequential):
    """Layers over a waveform cut into pieces of 16."""

    def forward(self, wavs: list[Tensor]) -> Tensor:
        x = wavs[0][: len(wavs[0]) // 16 * 16].view(1, -1, 16)
        for layer in self:
            found = layer(x)
            x = found[0] if isinstance(found, tuple) else found
        return x


class Demanding(nn.Module):
    """Asks products for values, writes into them and into tensors of its own, and masks by lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 8)
        self.register_buffer("seen", torch.zeros(4, 8))

    def forward(self, wavs: list[Tensor]) -> Tensor:
        x = self.linear(wavs[0].view(-1, 16))
        x += 1
        x[0] = 2.0
        self.seen.copy_(x[:4])
        kept = torch.arange(len(x)) < int(wavs[0].shape[0] * 0.5) // 16
        x = x[kept].masked_fill_(kept[kept].unsqueeze(1), 0.5)
        assert not bool(torch.isnan(x).any()) and x.argmax(-1).shape == (len(x),)
        assert len(x.nonzero()) <= x.numel() and x.detach().cpu().numpy().shape == tuple(x.shape)
        return self.linear(torch.cat([x, x.clone().contiguous().view(-1, 8)], dim=-1))


def bare(student: nn.Module) -> nn.Module:
    return AsUpstream(student).eval()


def models(tmp_path: Path) -> dict[str, nn.Module]:
    tiny = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV]}
    teacher = {"folder": "x"}
    plain = {"teacher": teacher, "student": tiny, "distill": {"target_layers": [1, 2, 3]}}
    hubert = write_random_teacher(tmp_path / "hubert", **TINY_TEACHER)
    return {
        "hubert": load_upstream("hf_hubert_custom", hubert),
        "fbank": load_upstream("fbank", None),
        "gendistiller": bare(build_student(plain)),
        "history_all": bare(build_student({**plain, "student": {**tiny, "history": "all"}})),
        "gated": bare(build_student({**plain, "student": {**tiny, **GATED}})),
        "distilhubert": bare(build_student(plain, task="distilhubert")),
        "lstm": Sequential(nn.LSTM(16, 8, 2, bidirectional=True, batch_first=True), nn.GRU(16, 4, batch_first=True)),
        "torch_transformer": Sequential(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)),
        "demanding": Demanding(),
    }


def test_the_count_is_that_of_real_execution(tmp_path: Path) -> None:
    wav = torch.randn(4_800, generator=torch.Generator().manual_seed(0))
    for name, model in models(tmp_path).items():
        for samples in (4_800, 3_216):
            with ShapesOnly():
                quick = count_executed(model.eval(), [wav[:samples]])
            assert quick == count_executed(model, [wav[:samples]]), name
            assert quick.multiply_adds > 0 and not quick.uncounted, name


def test_layers_by_hand() -> None:
    """A recurrent layer multiplies its input and its state by four gates; a GRU by three; in and out of attention."""
    pieces, wav = 10, torch.randn(160)
    lstm = Sequential(nn.LSTM(16, 8, 2, bidirectional=True, batch_first=True))
    assert count(lstm.eval(), [wav]).multiply_adds == 2 * 2 * pieces * 4 * 8 * (16 + 8)
    gru = Sequential(nn.GRU(16, 4, batch_first=True))
    assert count(gru.eval(), [wav]).multiply_adds == pieces * 3 * 4 * (16 + 4)
    layer = Sequential(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True))
    by_hand = 4 * pieces * 16 * 16 + 2 * 16 * pieces * pieces + 2 * pieces * 16 * 32
    assert count(layer.eval(), [wav]).multiply_adds == by_hand
    conv = nn.Conv1d(1, 6, 4, stride=2)
    grouped = nn.Conv1d(6, 6, 3, groups=3)
    model = Sequential(nn.Flatten(1), nn.Unflatten(1, (1, 160)), conv, grouped)
    assert count(model.eval(), [wav]).multiply_adds == 79 * 6 * 4 + 77 * 6 * 2 * 3


def test_nothing_behind_a_product_takes_memory() -> None:
    with ShapesOnly(), torch.no_grad():
        x = nn.functional.gelu(torch.randn(1, 4) @ torch.randn(4, 10**6))
        y = (x.expand(10**6, -1) + 1).transpose(0, 1)
    assert y.shape == (10**6, 10**6) and y.untyped_storage().nbytes() == 4


def test_what_does_not_depend_on_a_product_is_computed() -> None:
    with ShapesOnly(), torch.no_grad():
        lengths = (torch.tensor([3.0, 5.0]) * 2).long()
        mask = torch.arange(10) < lengths.unsqueeze(1)
    assert lengths.tolist() == [6, 10] and mask.sum(1).tolist() == [6, 10]


def test_an_upstream_that_refuses_zeros_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Sequential):
        def forward(self, wavs: list[Tensor]) -> Tensor:
            x = super().forward(wavs)
            if not x.any():
                raise ValueError("silence")
            return x

    with caplog.at_level("INFO", logger="s3prl_gendistiller"):
        found = count(Picky(nn.Linear(16, 8)).eval(), [torch.randn(160)])
    assert found.multiply_adds == 10 * 16 * 8


def test_an_upstream_that_is_broken_says_so() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        count(Sequential(nn.Linear(15, 8)).eval(), [torch.randn(160)])
