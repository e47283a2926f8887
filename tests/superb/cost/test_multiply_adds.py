from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.cost.multiply_adds import Cost, count, cpu_times
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.report import write_report
from s3prl_gendistiller.superb.suite.results import Outcome
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.conftest import tiny_config

COST = Cost(parameters=1_234_567, gmacs_per_s=0.25, cpu_s_per_s=0.0125)


class Small(nn.Module):
    """A convolution, a projection and attention of two heads, called as s3prl calls an upstream."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, kernel_size=10, stride=50, bias=False)
        self.linear = nn.Linear(4, 6)
        self.times = times

    def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
        x = self.linear(self.conv(torch.stack(wavs).unsqueeze(1)).transpose(1, 2))  # (B, T, 6)
        heads = x.unflatten(-1, (2, 3)).transpose(1, 2)  # (B, 2, T, 3)
        for _ in range(self.times):
            heads = functional.scaled_dot_product_attention(heads, heads, heads)
        return {"hidden_states": [heads]}


class Stopped(nn.Module):
    """GenDistiller that generates its first layers only."""

    def __init__(self, model: GenDistiller, steps: int) -> None:
        super().__init__()
        self.model = model
        self.steps = steps

    def forward(self, wavs: tuple[Tensor, Tensor]) -> object:
        return self.model(*wavs, steps=self.steps)


def by_hand(frames: int, times: int = 1) -> int:
    return frames * 4 * 10 + frames * 4 * 6 + times * 2 * (2 * frames * frames * 3)


@pytest.mark.parametrize("times", [1, 3])
def test_what_is_executed_is_counted(times: int) -> None:
    frames = (1000 - 10) // 50 + 1
    model = Small(times).eval()
    assert count(model, [torch.randn(1000)]).multiply_adds == by_hand(frames, times)
    assert count(model, [torch.randn(1000)] * 2).multiply_adds == 2 * by_hand(frames, times)


def test_nothing_is_kept_for_gradients() -> None:
    kept: list[bool] = []
    model = Small()
    model.register_forward_hook(lambda module, inputs, output: kept.append(output["hidden_states"][0].requires_grad))
    count(model, [torch.randn(1000)])
    assert kept == [False]


class Spectra(nn.Module):
    """Fourier transforms in place of an upstream."""

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, wavs: list[Tensor]) -> Tensor:
        return self.transform(torch.stack(wavs))


REAL, COMPLEX = 1.25 * 512 * 9, 2.5 * 512 * 9
"""512 points by hand: 256 butterflies of ten operations at each of nine stages, of which a real signal takes half."""


@pytest.mark.parametrize(
    ("transform", "by_hand"),
    [
        (lambda x: torch.fft.rfft(x.unfold(-1, 400, 160), n=512), 4 * REAL),
        (lambda x: torch.stft(x, 512, 160, center=False, return_complex=True, window=torch.ones(512)), 4 * REAL),
        (lambda x: torch.fft.fft(x.unfold(-1, 512, 160) + 0j), 4 * COMPLEX),
        (lambda x: torch.fft.irfft(torch.ones(2, 257) + 0j), 2 * REAL),
        (lambda x: torch.fft.rfft2(x[:, :512].view(16, 32)), REAL),  # 512 points in two dimensions
        (lambda x: torch.fft.rfft(x[:, :1]), 0),
    ],
)
def test_a_fourier_transform_counts_as_its_butterflies(transform: Callable[[Tensor], Tensor], by_hand: float) -> None:
    found = count(Spectra(transform), [torch.randn(1000)])
    assert found == (by_hand, frozenset())


def test_a_fourier_transform_behind_a_product_is_counted_by_its_shape() -> None:
    found = count(Spectra(lambda x: torch.fft.rfft(x @ torch.ones(1000, 512))), [torch.randn(1000)])
    assert found.multiply_adds == 1000 * 512 + REAL


def test_students_are_measured_as_s3prl_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiply_adds, "load_upstream", lambda name, checkpoint, steps: Small(int(name[-1])).eval())
    found = multiply_adds.measure([BenchmarkedModel("one", "x1"), BenchmarkedModel("more", "x3")])
    assert found["one"].parameters == 4 * 10 + 4 * 6 + 6
    assert found["more"].gmacs_per_s == pytest.approx(by_hand((8 * 16_000 - 10) // 50 + 1, 3) / 8e9)
    assert found["one"].cpu_s_per_s > 0


def test_costs_stand_beside_the_scores(tmp_path: Path) -> None:
    students = [BenchmarkedModel("fbank", "fbank"), BenchmarkedModel("mine.1", "x"), BenchmarkedModel("mine.2", "y")]
    suite = Suite(students, [TASKS["ks"]], "small", tmp_path)
    results = {student.name: {"ks": Outcome({"acc": 40.0})} for student in students}
    paths = write_report(suite, results, [], None, {"mine.1": COST, "mine.2": COST})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in paths[1].read_text().splitlines()]
    assert rows[0][1:5] == ["runs (n)", "parameters", "G multiply-adds per s", "CPU s per s"]
    assert rows[2] == ["fbank", "1", "", "", "", "40.00"]
    assert rows[3][:5] == ["mine", "2 distillations", "1,234,567", "0.250", "0.0125"]
    content = json.loads(paths[0].read_text())["students"]
    assert content["mine.2"]["cost"]["parameters"] == 1_234_567 and content["fbank"]["cost"] is None


def test_speed_is_measured_in_cpu_seconds_per_second() -> None:
    torch.manual_seed(0)
    layers = {name: nn.Linear(400, 400) for name in ("a", "b")}
    times = cpu_times({name: lambda wav, layer=layer: layer(wav.view(-1, 400)) for name, layer in layers.items()})
    assert times.keys() == layers.keys() and all(0 < value < 1 for value in times.values())


def test_the_default_student_can_be_counted(wavs: tuple[Tensor, Tensor]) -> None:
    model = GenDistiller(tiny_config(), 3).eval()
    counted = [count(Stopped(model, steps), wavs).multiply_adds for steps in (1, 2, 3)]
    assert counted[2] - counted[1] == counted[1] - counted[0] > 0
