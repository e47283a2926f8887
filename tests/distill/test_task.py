"""The whole step, teacher to loss: first with stubs against a computation by hand, then with real tiny networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.config_objectives import LayerwiseConfig
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.distill.task import DistillTask, check_layers, score
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.student import StudentOutput
from tests.bench import TINY_TEACHER
from tests.conftest import tiny_config

LAYERS = (1, 3)
WIDTH = 4


class StubStudent(nn.Module):
    """Returns what it was given, and remembers how it was called."""

    def __init__(self, predictions: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.predictions = nn.Parameter(predictions)
        self.mask = mask
        self.calls: list[dict[str, object]] = []

    def forward(self, wavs: Tensor, lengths: Tensor, **keywords: object) -> StudentOutput:
        self.calls.append(keywords)
        return StudentOutput(list(self.predictions.unbind(1)), self.mask, num_predicted=self.predictions.shape[1])


def stub_task(
    teacher_frames: int = 5, frames: int = 5, cosine_weight: float = 0.5
) -> tuple[DistillTask, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(4, 2, teacher_frames, WIDTH, generator=generator)  # (layer, B, T', D)
    predictions = torch.randn(2, 2, frames, WIDTH, generator=generator)
    mask = torch.arange(frames) < torch.tensor([[frames], [frames - 2]])
    teacher = Teacher(
        "stub",
        nn.Identity(),
        lambda encoder, wavs, lengths, highest: list(states),
        num_layers=3,
        width=WIDTH,
        model_type="hubert",
        naming=None,
    )
    objectives = build_objectives((LayerwiseConfig(weight=2.0, cosine_weight=cosine_weight),), Setting(LAYERS))
    task = DistillTask(StubStudent(predictions, mask), teacher, objectives, LAYERS)
    return task, states, predictions, mask


def loss_by_hand(states: Tensor, predictions: Tensor, mask: Tensor, cosine_weight: float) -> float:
    total = 0.0
    frames = min(states.shape[2], predictions.shape[2])
    for index, layer in enumerate(LAYERS):
        values = []
        for b, t in mask[:, :frames].nonzero().tolist():
            x, y = states[layer, b, t].double(), predictions[b, index, t].double()
            cosine = float(x @ y / x.norm() / y.norm())
            values.append(float((x - y).abs().mean()) + cosine_weight * math.log1p(math.exp(-cosine)))
        total += sum(values) / len(values)
    return 2.0 * total / len(LAYERS)


@pytest.mark.parametrize("teacher_frames", [5, 4, 6])
def test_the_loss_equals_a_computation_by_hand(teacher_frames: int) -> None:
    task, states, predictions, mask = stub_task(teacher_frames)
    sums = task(torch.zeros(2, 1600), torch.tensor([1600, 960]))
    assert sums.shape == (1, 6, 2)
    expected = loss_by_hand(states, predictions, mask, 0.5)
    assert task.loss(sums).item() == pytest.approx(expected, rel=1e-5)


def test_the_report_names_every_term() -> None:
    task, states, predictions, mask = stub_task()
    report = task.report(task(torch.zeros(2, 1600), torch.tensor([1600, 960])))
    assert set(report) == {f"{term}_layer{layer}" for term in ("l1", "cosine_loss", "cosine") for layer in LAYERS}
    by_hand = (states[3] - predictions[:, 1]).abs().mean(-1)[mask].mean()
    assert report["l1_layer3"] == pytest.approx(float(by_hand), rel=1e-5)


def test_the_student_sees_the_teacher_only_if_it_is_fed_back() -> None:
    task, states, _, _ = stub_task()
    task(torch.zeros(2, 1600), torch.tensor([1600, 960]))
    task(torch.zeros(2, 1600), torch.tensor([1600, 960]), 0.25)
    free, fed = task.student.calls
    assert free == {}
    assert fed["teacher_probability"] == 0.25
    assert torch.equal(fed["teacher_layers"], states[list(LAYERS)].transpose(0, 1))


def test_replicas_add_up_to_one_big_batch(tmp_path: Path, wavs: tuple[Tensor, Tensor]) -> None:
    """A mean of the replicas' means would weigh the frames of a short replica more."""
    task = real_task(tmp_path).eval()
    samples, lengths = wavs
    together = task(samples, lengths)
    parts = torch.cat([task(samples[:1], lengths[:1]), task(samples[1:], lengths[1:])])
    assert parts.shape == (2, 6, 2)
    torch.testing.assert_close(task.loss(parts), task.loss(together), atol=1e-5, rtol=1e-5)
    assert torch.equal(parts.sum(0)[:, 1], together[0, :, 1])


def real_task(folder: Path, norm: str = "layer", model_type: str = "hubert", **changes: object) -> DistillTask:
    teacher = load_transformers_teacher(
        write_random_teacher(folder / "teacher", model_type=model_type, feat_extract_norm=norm, **TINY_TEACHER)
    )
    torch.manual_seed(0)
    teacher.ignore_padding()
    mode = {"group": "default", "layer": "layer_norm"}[norm]
    student = GenDistiller(tiny_config(extractor_mode=mode, **{"history_init": "random", **changes}), len(LAYERS))
    return DistillTask(student, teacher, build_objectives((LayerwiseConfig(),), Setting(LAYERS)), LAYERS)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("model_type", ["hubert", "wavlm"])
def test_padding_content_never_changes_a_loss(
    tmp_path: Path, model_type: str, norm: str, wavs: tuple[Tensor, Tensor]
) -> None:
    task = real_task(tmp_path, norm, model_type).eval()
    samples, lengths = wavs
    expected = task(samples, lengths, 1.0)
    for content in (3.0, -0.5):
        noisy = torch.where(torch.arange(8000) < lengths.unsqueeze(1), samples, content)
        torch.testing.assert_close(task(noisy, lengths, 1.0), expected, atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("more", [1, 320, 2_000])
def test_more_padding_never_changes_a_loss(tmp_path: Path, more: int, norm: str, wavs: tuple[Tensor, Tensor]) -> None:
    task = real_task(tmp_path, norm).eval()
    samples, lengths = wavs
    longer = nn.functional.pad(samples, (0, more))
    torch.testing.assert_close(
        task.loss(task(longer, lengths)), task.loss(task(samples, lengths)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("feedback", "probability"), [("free_running", 0.0), ("teacher_forced", 1.0), ("scheduled", 0.5)]
)
@pytest.mark.parametrize("history_input", ["add", "project", "concat", "carry"])
def test_gradients_reach_every_parameter_and_never_the_teacher(
    tmp_path: Path, feedback: str, probability: float, history_input: str, wavs: tuple[Tensor, Tensor]
) -> None:
    task = real_task(tmp_path, history_input=history_input, feature_norm=True, position_bias="gated").train()
    task.loss(task(*wavs, probability)).backward()
    silent = [name for name, p in task.student.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in task.teacher.parameters())
    assert not any(module.training for module in task.teacher.modules())


def test_a_layer_that_is_fed_back_from_the_teacher_changes_the_loss(
    tmp_path: Path, wavs: tuple[Tensor, Tensor]
) -> None:
    task = real_task(tmp_path).eval()
    free, forced = (task.report(task(*wavs, probability)) for probability in (0.0, 1.0))
    assert free["l1_layer1"] == pytest.approx(forced["l1_layer1"], rel=1e-6)
    assert free["l1_layer3"] != pytest.approx(forced["l1_layer3"], rel=1e-4)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_random_depth_trains_on_the_first_layers_of_each_batch(
    tmp_path: Path, probability: float, wavs: tuple[Tensor, Tensor]
) -> None:
    task = real_task(tmp_path, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    whole = task.eval()(*wavs, probability)[0]
    task.random_depth = True
    assert torch.equal(task(*wavs, probability)[0], whole)  # scoring always takes all layers
    task.train()
    depths = set()
    for _ in range(20):
        sums = task(*wavs, probability)
        counts = {name: float(count) for name, count in zip(task.terms, sums[0, :, 1], strict=True)}
        depth = sum(counts[f"l1_layer{layer}"] > 0 for layer in LAYERS)
        depths.add(depth)
        expected = whole.clone()
        expected[[name.endswith("layer3") for name in task.terms]] *= float(depth == 2)
        torch.testing.assert_close(sums[0], expected)
        torch.testing.assert_close(task.loss(sums), task.loss(expected[None]))
    assert depths == {1, 2}


@dataclass
class Item:
    wavs: Tensor
    lengths: Tensor


def test_the_score_does_not_depend_on_how_utterances_share_batches(tmp_path: Path, wavs: tuple[Tensor, Tensor]) -> None:
    task = real_task(tmp_path, dropout=0.3)
    samples, lengths = wavs
    together = score(task, [Item(samples, lengths)], "cpu")
    alone = score(task, [Item(samples[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths)], "cpu")
    assert together.keys() == alone.keys() >= {"loss", "l1_layer1", "cosine_layer3"}
    for name, value in together.items():
        assert alone[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("training", [True, False])
def test_scoring_puts_the_modes_back_and_needs_no_gradient(
    tmp_path: Path, training: bool, wavs: tuple[Tensor, Tensor]
) -> None:
    task = real_task(tmp_path, dropout=0.5).train(training)
    first, second = (score(task, [Item(*wavs)], "cpu") for _ in range(2))
    assert first == second  # dropout is off
    assert task.training is training and task.student.layer.training is training
    assert not task.teacher.training
    assert all(parameter.grad is None for parameter in task.parameters())


def test_modes_are_put_back_even_if_scoring_fails(tmp_path: Path) -> None:
    task = real_task(tmp_path).train()
    with pytest.raises(ValueError, match="100 samples"):
        score(task, [Item(torch.zeros(1, 100), torch.tensor([100]))], "cpu")
    assert task.training and task.student.training


class Wrong(nn.Module):
    """An objective of another package whose result is not what `terms` states."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer, self.terms = answer, {"right": 1.0}

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> object:
        return self.answer


@pytest.mark.parametrize(("answer", "found"), [({"left": 0, "right": 0}, "left"), (torch.zeros(()), "Tensor")])
def test_a_term_that_would_be_lost_is_named(answer: object, found: str) -> None:
    task, *_ = stub_task()
    task = DistillTask(task.student, task.teacher, nn.ModuleList([Wrong(answer)]), LAYERS)
    with pytest.raises(UserError, match=f"Wrong gave {found}, expected sum and count of its terms right in a dict"):
        task(torch.zeros(2, 1600), torch.tensor([1600, 1600]))


def test_target_layers_that_the_teacher_lacks_are_named() -> None:
    with pytest.raises(UserError, match=r"distill\.target_layers: found 0, 13, 14, expected 1\.\.12.*teacher T has 12"):
        check_layers([0, 4, 13, 14], 12, "T")
    check_layers([1, 12], 12, "T")


def test_a_task_refuses_target_layers_that_its_teacher_lacks() -> None:
    task, *_ = stub_task()
    with pytest.raises(UserError, match=r"found 4, expected 1\.\.3 \(teacher stub"):
        DistillTask(task.student, task.teacher, task.objectives, (1, 4))
