"""GLMD's second stage: the losses by hand, and an expert that learns from a teacher and from no label."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat, soft_labels
from s3prl_gendistiller.host.feature_store import FeatureCache
from s3prl_gendistiller.host.soft_labels import check_teacher, distilled, frame_loss, teacher_checkpoint, utterance_loss
from tests.host.test_feature_cache import WAVS, Upstream


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def entropy(p: Tensor) -> Tensor:
    return -(p * p.log()).sum(-1)


def test_each_slot_has_a_softmax_of_its_own() -> None:
    teacher, student = randn(5, 7), randn(5, 7, seed=1)
    expected = 0.0
    for part in (slice(0, 3), slice(3, 7)):
        for row in range(5):
            p, q = torch.softmax(teacher[row, part], 0), torch.softmax(student[row, part], 0)
            expected += -float((p * q.log()).sum()) / 5
    assert float(utterance_loss(teacher, student, 1.0, [3, 4])) == pytest.approx(expected, rel=1e-5)


def test_at_equality_the_loss_is_the_teachers_entropy_and_the_gradient_nothing() -> None:
    teacher = randn(5, 7)
    student = teacher.clone().requires_grad_()
    loss = utterance_loss(teacher, student, 1.0, [7])
    loss.backward()
    assert float(loss) == pytest.approx(float(entropy(torch.softmax(teacher, -1)).mean()), rel=1e-5)
    assert float(student.grad.abs().max()) < 1e-7


def test_a_certain_teacher_is_a_label() -> None:
    student, classes = randn(5, 7), torch.tensor([3, 0, 6, 2, 2])
    certain = 100.0 * nn.functional.one_hot(classes, 7)
    expected = nn.functional.cross_entropy(student, classes)
    torch.testing.assert_close(utterance_loss(certain, student, 1.0, [7]), expected)


def test_frames_are_compared_where_both_have_them() -> None:
    teacher, student = randn(2, 6, 4), randn(2, 7, 4, seed=1)
    theirs, ours = torch.tensor([6, 3]), torch.tensor([7, 4])
    expected, count = 0.0, 0
    for item, frames in enumerate((6, 3)):
        for frame in range(frames):
            p, q = torch.softmax(teacher[item, frame] / 2, 0), torch.softmax(student[item, frame] / 2, 0)
            expected, count = expected - float((p * q.log()).sum()), count + 1
    found = frame_loss(teacher, student, (theirs, ours), 2.0)
    assert float(found) == pytest.approx(expected / count, rel=1e-5)
    dirty = student.clone()
    dirty[1, 3:] = 1e4
    assert torch.equal(frame_loss(teacher, dirty, (theirs, ours), 2.0), found)
    with pytest.raises(UserError, match="teacher gives 3 frames where the student gives 6; expected at most 2 apart"):
        frame_loss(teacher, student, (theirs, torch.tensor([7, 6])), 2.0)


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 5)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        return self.linear(features.mean(1)), None


class Stock(nn.Module):
    """An utterance task of s3prl in its bare bones."""

    def __init__(self, upstream_dim: int, downstream_expert: dict, **kwargs: Any) -> None:
        super().__init__()
        self.projector = nn.Linear(upstream_dim, 6)
        self.model = Head()

    def get_dataloader(self, split: str) -> list:
        return [([randn(50).numpy(), randn(40).numpy()], [1, 2], ["a", "b"])]

    def forward(
        self, split: str, features: list[Tensor], labels: list[int], filenames: list[str], records: dict
    ) -> Tensor:
        logits, _ = self.model(self.projector(pad_sequence(features, batch_first=True)), torch.tensor([1]))
        loss = nn.functional.cross_entropy(logits, torch.tensor(labels))
        records["loss"].append(float(loss))
        return loss

    def log_records(self, split: str, records: dict, logger: Any, global_step: int) -> list[str]:
        assert set(records) == {"loss"}
        return []


class Listener:
    """In the place of `HeadedTeacher`."""

    def __init__(self, checkpoint: Path, head: nn.Module, device: torch.device, cache: Path | None) -> None:
        self.heard: list[Any] = []

    def __call__(self, wavs: list[Tensor]) -> tuple[Tensor, None]:
        self.heard.append(wavs)
        return randn(2, 5, seed=4), None


@pytest.fixture
def expert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(soft_labels, "HeadedTeacher", Listener)
    (tmp_path / "teacher.ckpt").touch()

    def build(**config: object) -> Any:
        torch.manual_seed(0)
        section = {"teacher": str(tmp_path / "teacher.ckpt"), **config}
        return distilled(Stock)(upstream_dim=3, downstream_expert={"glmd": section})

    return build


def step(expert: Any, labels: list[int]) -> tuple[Tensor, list[Tensor], dict]:
    wavs, _, names, again = next(iter(expert.get_dataloader("train")))
    assert again is wavs
    records: dict[str, list] = defaultdict(list)
    features = [randn(5, 3, seed=1), randn(4, 3, seed=2)]
    loss = expert("train", features, labels, names, again, records=records)
    return loss, list(torch.autograd.grad(loss, expert.parameters())), records


def test_training_is_bit_for_bit_the_same_with_any_labels(expert) -> None:
    first, second = step(expert(), [1, 2]), step(expert(), [4, 0])
    assert torch.equal(first[0], second[0]) and first[2]["loss"] != second[2]["loss"]
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    assert first[2]["soft_loss"] == [pytest.approx(float(first[0]))]


def test_the_loss_is_the_teachers_and_not_s3prls(expert) -> None:
    made = expert()
    loss, _, records = step(made, [1, 2])
    features = pad_sequence([randn(5, 3, seed=1), randn(4, 3, seed=2)], batch_first=True)
    logits, _ = made.model(made.projector(features), None)
    torch.testing.assert_close(loss, utterance_loss(randn(2, 5, seed=4), logits, 1.0, [5]))
    assert float(loss) != pytest.approx(records["loss"][0])
    mixed, _, _ = step(expert(hard_weight=0.5), [1, 2])
    assert float(mixed) == pytest.approx(float(loss) + 0.5 * records["loss"][0], rel=1e-5)


def test_evaluation_is_s3prls_own_and_needs_no_teacher(expert) -> None:
    made = expert(teacher="is not there")
    records: dict[str, list] = defaultdict(list)
    features = [randn(5, 3, seed=1), randn(4, 3, seed=2)]
    assert isinstance(made.get_dataloader("dev"), list)
    loss = made("dev", features, [1, 2], ["a", "b"], records=records)
    assert records.keys() == {"loss"} and float(loss) == records["loss"][0] and made._teacher == []


def test_nothing_of_the_teacher_is_saved_and_its_loss_is_logged(expert) -> None:
    made = expert()
    _, _, records = step(made, [1, 2])
    assert made.state_dict().keys() == Stock(3, {}).state_dict().keys()
    logged: dict[str, float] = {}
    logger = argparse.Namespace(add_scalar=lambda name, value, global_step: logged.update({name: value}))
    made.log_records("train", records=records, logger=logger, global_step=1)
    assert logged.keys() == {"glmd/train-soft_loss"}


def test_a_teacher_of_another_task_head_or_fold_is_refused(tmp_path: Path) -> None:
    config = {"downstream_expert": {"datarc": {"test_fold": "fold1"}, "modelrc": {"select": "x"}}}
    args = argparse.Namespace(downstream="emotion")
    states = {"Args": args, "Downstream": {}, "Config": config}
    check_teacher(states, tmp_path, "glmd_er", config)
    with pytest.raises(UserError, match="found a run of emotion, expected one of -d speech_commands"):
        check_teacher(states, tmp_path, "glmd_ks", config)
    other = {"downstream_expert": {"datarc": {"test_fold": "fold2"}, "modelrc": {"select": "y"}}}
    with pytest.raises(UserError, match=r"other settings of the head \(modelrc\), the fold \(fold1 instead of fold2\)"):
        check_teacher(states, tmp_path, "glmd_er", other)
    with pytest.raises(UserError, match=r"-d glmd_asv: no such task; there are glmd_ks, .* have no second stage"):
        check_teacher(states, tmp_path, "glmd_asv", config)


@pytest.mark.parametrize(
    ("downstream", "section", "key"), [("ctc", "text", "vocab_file"), ("asr", "datarc", "dict_path")]
)
def test_a_teacher_with_other_units_of_text_is_refused(tmp_path: Path, downstream: str, section: str, key: str) -> None:
    """The numbers of the units decide, not the place of their file."""
    task = {"ctc": "glmd_pr", "asr": "glmd_asr"}[downstream]
    files = {name: tmp_path / name / "units.txt" for name in ("mine", "copy", "other")}
    for name, path in files.items():
        path.parent.mkdir()
        path.write_text("B\nA\n" if name == "other" else "A\nB\n")

    def config(path: Path, mode: str = "word") -> dict[str, Any]:
        text = {"mode": mode} if section == "text" else {}
        return {"downstream_expert": {section: {**text, key: str(path)}}}

    args = argparse.Namespace(downstream=downstream)
    states = {"Args": args, "Downstream": {}, "Config": config(files["mine"])}
    for same in (files["mine"], files["copy"], tmp_path / "gone" / "units.txt"):
        check_teacher(states, tmp_path, task, config(same))
    wrong = [config(files["other"]), config(tmp_path / "gone" / "letters.txt")]
    wrong += [config(files["mine"], "character")] if section == "text" else []
    for other in wrong:
        with pytest.raises(UserError, match="other settings of the units of the text"):
            check_teacher(states, tmp_path, task, other)


def test_a_folders_best_checkpoint_is_the_teacher(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no checkpoint in it"):
        teacher_checkpoint(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        teacher_checkpoint(tmp_path / "none")
    torch.save({"Step": 3}, tmp_path / "states-3.ckpt")
    assert teacher_checkpoint(tmp_path).name == "states-3.ckpt"
    (tmp_path / "dev-best.ckpt").touch()
    assert teacher_checkpoint(tmp_path).name == "dev-best.ckpt" == teacher_checkpoint(tmp_path / "dev-best.ckpt").name


def test_a_teacher_computes_the_features_of_an_utterance_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compat.apply()
    from s3prl import hub

    upstream, head = Upstream(), Head()
    monkeypatch.setattr(hub, "counted", lambda **given: upstream, raising=False)
    options = {"ckpt": None, "model_config": None, "feature_selection": "hidden_states", "layer_selection": None}
    args = argparse.Namespace(upstream="counted", **{f"upstream_{name}": value for name, value in options.items()})
    args.upstream_feature_normalize = False
    weights = {"projector.weight": randn(6, 5, seed=5), "projector.bias": randn(6, seed=6)}
    weights |= {f"model.{name}": value for name, value in head.state_dict().items()}
    states = {"Args": args, "Featurizer": {"weights": randn(3, seed=7)}, "Downstream": weights}
    torch.save(states, tmp_path / "teacher.ckpt")
    given = (tmp_path / "teacher.ckpt", head, torch.device("cpu"))
    expected, _ = soft_labels.HeadedTeacher(*given)(WAVS)
    cached = soft_labels.HeadedTeacher(*given, FeatureCache(tmp_path / "kept"))
    for computed in (3, 0):  # the second time features are read
        before = upstream.computed
        assert torch.equal(cached(WAVS)[0], expected) and upstream.computed - before == computed
    torch.save({**states, "Upstream": upstream.state_dict()}, tmp_path / "teacher.ckpt")
    trained_along = soft_labels.HeadedTeacher(*given, FeatureCache(tmp_path / "kept"))
    before = upstream.computed
    assert torch.equal(trained_along(WAVS)[0], expected) and upstream.computed - before == 3
