"""What the expert promises the Runner, without the Runner: state, modes, data, parity with the host's model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert
from s3prl_gendistiller.host.students import build_student
from tests.bench import Bench
from tests.conftest import TINY


def train(expert: PretrainExpert, steps: int, first: int = 1) -> list[float]:
    """The Runner's loop in its bare bones."""
    optimizer = torch.optim.SGD(expert.model.parameters(), lr=0.01)
    expert.train()
    losses: list[float] = []
    while len(losses) < steps:
        for batch in expert.get_train_dataloader():
            if len(losses) == steps:
                break
            loss, _ = expert(batch, records={}, global_step=first + len(losses), log_step=1)
            loss.backward()
            optimizer.step()
            expert.on_before_zero_grad()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


def test_the_teacher_is_in_eval_and_out_of_the_model(make) -> None:
    expert = make()
    expert.train()
    assert expert.model["student"].training and not expert.task.teacher.training
    assert not any(module.training for module in expert.task.teacher.modules())
    trained = {id(parameter) for parameter in expert.model.parameters()}
    assert not trained & {id(parameter) for parameter in expert.task.teacher.parameters()}


def test_training_lowers_the_loss_and_never_touches_the_teacher(make) -> None:
    expert = make(student={"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0})
    before = {name: value.clone() for name, value in expert.task.teacher.state_dict().items()}
    losses = train(expert, 30)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert all(torch.equal(value, before[name]) for name, value in expert.task.teacher.state_dict().items())


@pytest.mark.parametrize("feedback", ["free_running", "teacher_forced", "scheduled"])
@pytest.mark.parametrize("form", ["add", "carry"])
def test_gradients_reach_every_trainable_parameter(make, feedback: str, form: str) -> None:
    student = {"history_input": form, "history_init": "random"}
    expert = make(distill={"feedback": feedback, "feedback_start": 0.5}, student=student)
    batch = next(iter(expert.get_train_dataloader()))
    loss, _ = expert(batch, records={}, global_step=1, log_step=1)
    loss.backward()
    assert [name for name, p in expert.model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(parameter.grad is None for parameter in expert.task.teacher.parameters())


def test_a_state_brings_back_the_very_next_batch_and_random_numbers(make) -> None:
    unbroken = make()
    expected = train(unbroken, 7)
    first = make()
    assert train(first, 4) == expected[:4]
    states = first.add_state_to_save({"Optimizer": {}, "Step": 3, "Config": {}})
    assert states["Step"] == 4  # the Runner counts 3 and would train step 4 twice
    second = make()
    second.load_model(states)
    torch.randn(100)  # the Runner draws random numbers between loading and the first batch
    assert train(second, 3, first=5) == expected[4:]


def test_another_teacher_or_other_speech_than_a_run_began_with_is_refused(make, bench: Bench, tmp_path: Path) -> None:
    from hubert.random_teacher import write_random_teacher
    from tests.bench import TINY_TEACHER

    states = {**make().add_state_to_save({"Config": {}})}
    make().load_model({name: value for name, value in states.items() if name != "Fingerprints"})  # an older version
    write_random_teacher(tmp_path / "other", **TINY_TEACHER, seed=7)
    with pytest.raises(UserError, match="the teacher's weights have changed since this run began"):
        make(teacher={"folder": str(tmp_path / "other")}).load_model(states)

    lists = tmp_path / "lists"
    lists.mkdir()
    rows = (bench.data / "LibriSpeech/len_for_bucket/train-clean-100.csv").read_text().splitlines()
    (lists / "train-clean-100.csv").write_text("\n".join(rows) + "\n")
    same = make(datarc={"file_path": str(lists), "valid_sets": []})
    states = same.add_state_to_save({"Config": {"pretrain_expert": {"datarc": dataclasses.asdict(same.data)}}})
    states["Progress"] = {"batches_done": 6, "epoch_batches": 4}
    (lists / "train-clean-100.csv").write_text("\n".join(rows[:-3]) + "\n")
    with pytest.raises(UserError, match=r"the manifests train-clean-100 have changed.*datarc.sets=\['NAME'\]"):
        make(datarc={"file_path": str(lists), "valid_sets": []}).load_model(states)
    (lists / "fewer.csv").write_text("\n".join(rows[:-3]) + "\n")
    asked = make(datarc={"file_path": str(lists), "sets": ["fewer"], "valid_sets": []})
    asked.load_model(states)
    assert asked.train_loader.batches_done == 4 and len(asked.train_loader) == 3  # an epoch and a half


@pytest.mark.parametrize(
    "entry",
    [{"Progress": {"batches_done": -1}}, {"Progress": {}}, {"RNG": {"cpu": 3}}, {"RNG": {"cpu": torch.zeros(3)}}],
)
def test_a_place_that_no_run_stores_is_refused(make, entry: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(entry))}"):
        make().load_model({**make().add_state_to_save({"Config": {}}), **entry})


def test_skipped_steps_are_not_in_the_means(make, tmp_path: Path) -> None:
    expert = make()
    train(expert, 2)
    used = [value.clone() for value in expert._train_sums]
    expert._train_sums.append(torch.full_like(used[0], torch.nan))
    logger = SimpleNamespace(logdir=str(tmp_path), add_scalar=lambda *given, **named: None)
    expert.log_records({}, logger, "gendistiller/train-", 3)
    assert read_metrics(tmp_path, "train")[3]["loss"] == float(expert.task.loss(torch.cat(used).sum(0, keepdim=True)))
    expert._train_sums.append(torch.full_like(used[0], torch.nan))
    expert.log_records({}, logger, "gendistiller/train-", 4)
    assert "loss" not in read_metrics(tmp_path, "train")[4]


def test_metrics_are_means_over_the_log_window(make, tmp_path: Path) -> None:
    expert = make(datarc={"valid_step": 3})
    losses = train(expert, 4)
    scalars: dict[str, float] = {}
    logger = SimpleNamespace(
        logdir=str(tmp_path), add_scalar=lambda name, value, global_step: scalars.__setitem__(name, value)
    )
    expert.log_records({}, logger, "gendistiller/train-", 4)
    assert list(read_metrics(tmp_path, "valid")) == [3]
    assert expert.held_out_loss == read_metrics(tmp_path, "valid")[3]["loss"]
    entry = read_metrics(tmp_path, "train")[4]
    assert min(losses) < entry["loss"] < max(losses) and entry["seconds_per_batch"] > 0
    assert {"gendistiller/valid-loss", "gendistiller/train-l1_layer1"} <= scalars.keys()
    expert.log_records({}, logger, "gendistiller/train-", 5) if train(expert, 1, first=5) else None
    assert read_metrics(tmp_path, "train")[5].keys() == entry.keys()


def test_the_last_step_is_scored_whatever_valid_step_is(make, tmp_path: Path) -> None:
    expert = make(datarc={"valid_step": 3})
    expert.last_step = 4
    train(expert, 5)
    logger = SimpleNamespace(logdir=str(tmp_path), add_scalar=lambda *given, **named: None)
    expert.log_records({}, logger, "gendistiller/train-", 5)
    assert list(read_metrics(tmp_path, "valid")) == [3, 4]


def test_the_shape_of_the_teacher_is_checked(make) -> None:
    with pytest.raises(UserError, match=r"encoder_ffn_embed_dim: found 64, expected 32 \(or warm_start\.layer: null\)"):
        make(student={"encoder_ffn_embed_dim": 64})
    with pytest.raises(UserError, match=r"found 4, expected 1\.\.3"):
        make(distill={"target_layers": [2, 4]})


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
@pytest.mark.parametrize("alone", [True, False])
def test_relations_train_either_student_also_of_another_width(make, task: str, alone: bool) -> None:
    sections: dict[str, Any] = {"distill": {"target_layers": [1, 2, 3]}, "objectives": [{"name": "ckd"}]}
    if alone:
        sections["student"] = {"encoder_embed_dim": 12}
    else:
        sections["objectives"].append({"name": "layerwise"})
    expert = make(task, **sections)
    losses = train(expert, 30)
    assert sum(losses[-5:]) < sum(losses[:5])
    names = {name for name in expert.task.terms if name.startswith("ckd_")}
    assert len(names) == 4 and (len(names) < len(expert.task.terms)) != alone


def test_an_empty_manifest_is_refused(bench: Bench, make, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/empty.csv").write_text(",file_path,length,label\n")
    with pytest.raises(UserError, match="empty"):
        make(datarc={"file_path": str(tmp_path / "lists"), "sets": ["empty"]})


def test_the_baseline_equals_the_hosts_model_with_the_same_weights(make, wavs: tuple) -> None:
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    expert = make("distilhubert")
    ours = expert.model["student"].eval()
    theirs = DistillerModel(DistillerConfig(host_config(expert.config)["distiller"])).eval()
    theirs.load_state_dict(expert.add_state_to_save({"Config": {}})["Distiller"])
    padded, lengths = wavs
    mask = (torch.arange(padded.shape[1]) < lengths.unsqueeze(1)).float()
    output = ours(padded, lengths)
    _, frames, predictions, frame_mask, layers = theirs(padded, mask, get_hidden=True)
    assert torch.equal(output.predictions, predictions)
    assert all(torch.equal(a, b) for a, b in zip(output.hidden_states, [frames, *layers], strict=False))
    assert torch.equal(output.frame_mask, frame_mask.bool())


@pytest.mark.parametrize(("heads", "count"), [("expand-last", 27_034_752), ("linear", 25_262_976)])
def test_the_baseline_has_the_published_number_of_parameters(heads: str, count: int) -> None:
    student = build_student({"teacher": {"upstream": "x"}, "student": {"out_layer_type": heads}}, task="distilhubert")
    sizes = {name: parameter.numel() for name, parameter in student.named_parameters()}
    assert sum(sizes.values()) == count
    assert sum(size for name, size in sizes.items() if "output_layer" not in name) == 23_491_200


def test_linear_heads_train_and_load_as_well(make, wavs: tuple, tmp_path: Path) -> None:
    from s3prl_gendistiller import load_student

    expert = make("distilhubert", student={"out_layer_type": "linear"})
    train(expert, 1)
    torch.save(expert.add_state_to_save({"Config": {}}), tmp_path / "x.ckpt")
    output = load_student(tmp_path / "x.ckpt").generate(*wavs)
    assert output.predictions.shape == (3, 2, 24, 24) and len(output.hidden_states) == 5
    assert TINY["encoder_embed_dim"] == 24
