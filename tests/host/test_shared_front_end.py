"""The student's CNN as a frozen copy of the teacher's: one pass in training, the same student in use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller import build_student, load_student
from s3prl_gendistiller.distill.shared_front_end import check_shared, share_front_end
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config
from tests.bench import TINY_TEACHER, Bench
from tests.fairseq import host_checkpoint
from tests.host.test_pretrain_expert import train
from tests.replicas import replicate
from tests.toy_student import ToyStudent, ToyStudentConfig

SHARED: dict[str, Any] = {"student": {"feature_grad_mult": 0.0}, "distill": {"share_front_end": True}}
Audio = tuple[Tensor, Tensor]


def shared(make: Any, kind: str, **sections: Any) -> PretrainExpert:
    merged = {name: {**SHARED.get(name, {}), **sections.get(name, {})} for name in {*SHARED, *sections}}
    return make(kind, **merged)


@pytest.fixture(params=STUDENT_KINDS)
def expert(request: pytest.FixtureRequest, make: Any) -> PretrainExpert:
    return shared(make, request.param)


@pytest.fixture
def passes(expert: PretrainExpert) -> Iterator[list[str]]:
    """The CNNs that ran, "teacher" or "student"."""
    ran: list[str] = []
    cnns = {"teacher": expert.task.teacher.encoder.feature_extractor, "student": expert.model["student"].cnn}
    hooks = [cnn.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, cnn in cnns.items()]
    yield ran
    for hook in hooks:
        hook.remove()


def test_one_pass_of_the_cnn_serves_teacher_and_student(expert: PretrainExpert, passes: list[str]) -> None:
    train(expert, 2)
    steps, scored = 2, len(expert.valid_loader or ()) * (2 // expert.data.valid_step)
    assert passes == ["teacher"] * (steps + scored)
    passes.clear()
    expert.task.share_front_end = False
    train(expert, 1, first=3)
    assert passes == ["teacher", "student"]


def test_the_cnn_stays_that_of_the_teacher_while_all_else_learns(expert: PretrainExpert) -> None:
    student = expert.model["student"]
    before = {name: value.clone() for name, value in student.state_dict().items()}
    cnn = {id(parameter) for parameter in student.cnn.parameters()}
    batch = next(iter(expert.get_train_dataloader()))
    expert.train()
    expert(batch, records={}, global_step=1, log_step=1)[0].backward()
    for name, parameter in student.named_parameters():
        assert (parameter.grad is None) == (id(parameter) in cnn), name
    train(expert, 3, first=2)
    frozen = [name for name, value in student.state_dict().items() if torch.equal(value, before[name])]
    prefix = next(name for name, module in student.named_modules() if module is student.cnn)
    assert frozen == [name for name in before if name.startswith(f"{prefix}.")]


def test_training_and_use_see_the_same_features(expert: PretrainExpert, wavs: Audio) -> None:
    train(expert, 2)
    student, teacher = expert.model["student"].eval(), expert.task.teacher
    features = teacher.features(*wavs)
    assert features.shape == (3, 24, 16)
    assert torch.equal(features, teacher.with_features(*wavs, [1, 3])[1])
    alone, given = student(*wavs), student(*wavs, features=features)
    assert torch.equal(alone.frame_mask, given.frame_mask)
    for ours, theirs in zip(alone.hidden_states, given.hidden_states, strict=True):
        torch.testing.assert_close(ours[alone.frame_mask], theirs[alone.frame_mask], atol=1e-5, rtol=1e-4)


def test_a_shared_cnn_trains_like_a_frozen_one_of_ones_own(make: Any) -> None:
    for kind in STUDENT_KINDS:
        own = train(make(kind, student=SHARED["student"]), 4)
        torch.testing.assert_close(train(shared(make, kind), 4), own, atol=1e-4, rtol=1e-4)


def test_the_front_end_alone_can_be_trained_behind_shared_features(make: Any) -> None:
    for kind in STUDENT_KINDS:
        expert = shared(make, kind, distill={"front_end_steps": 2})
        before = [parameter.clone() for parameter in expert.model["student"].cnn.parameters()]
        train(expert, 3)
        assert all(map(torch.equal, before, expert.model["student"].cnn.parameters()))


def test_a_run_goes_on_exactly(make: Any) -> None:
    for kind in STUDENT_KINDS:
        expected = train(shared(make, kind), 6)
        first = shared(make, kind)
        assert train(first, 4) == expected[:4]
        states = first.add_state_to_save({"Config": {}})
        second = shared(make, kind)
        second.load_model(states)
        assert train(second, 2, first=5) == expected[4:]


def test_a_run_with_a_teacher_in_fewer_bits_goes_on(make: Any) -> None:
    first, second = (shared(make, "gendistiller", teacher={"precision": "bfloat16"}) for _ in range(2))
    train(first, 1)
    second.load_model(first.add_state_to_save({"Config": {}}))
    assert second.task.teacher.dtype == torch.bfloat16
    assert train(second, 1, first=2) == train(first, 1, first=2)


def test_the_checkpoint_is_used_alone_by_its_upstreams(expert: PretrainExpert, tmp_path: Path) -> None:
    train(expert, 1)
    path = tmp_path / "states-1.ckpt"
    torch.save(expert.add_state_to_save({"Config": {}}), path)
    student, wav = load_student(path), 0.1 * torch.randn(8000)
    expected = student.generate(wav)
    names = {"gendistiller": ["gendistiller_local"], "distilhubert": ["gendistiller_local", "distiller_local"]}
    for name in names[expert.task_name]:
        with torch.no_grad():
            found = load_upstream(name, path)([wav])["hidden_states"]
        torch.testing.assert_close(found[-1], expected.hidden_states[-1], atol=1e-5, rtol=1e-4)
    stock = importlib.import_module("s3prl.upstream.distiller.model").DistillerModel
    assert expert.task_name != "distilhubert" or isinstance(expert.model["student"].distiller, stock)


def test_replicas_of_data_parallel_keep_features_apart(expert: PretrainExpert, wavs: Audio) -> None:
    samples, lengths = wavs
    teacher = expert.task.teacher
    parts = [replicate(teacher).with_features(samples[i : i + 1], lengths[i : i + 1], [1]) for i in range(3)]
    for index, (_, features) in enumerate(parts):
        expected = teacher.features(samples[index : index + 1], lengths[index : index + 1])
        assert torch.equal(features, expected)
    assert not hasattr(teacher.encoder.feature_extractor, "kept_features")


@pytest.mark.parametrize("flavour", ["group", "layer"])
def test_a_teacher_from_the_hub_shares_its_cnn(bench: Bench, tmp_path: Path, flavour: str, wavs: Audio) -> None:
    folder = write_random_teacher(tmp_path / "t", model_type="wavlm", feat_extract_norm=flavour, **TINY_TEACHER)
    teacher = load_hub_teacher("wavlm_local", str(host_checkpoint(folder, tmp_path / "t.pt")))
    mode = {"group": "default", "layer": "layer_norm"}[flavour]
    sections = {**SHARED, "student": {**SHARED["student"], "extractor_mode": mode, "normalize": flavour == "layer"}}
    student = build_student(read_model_config("gendistiller", bench.model(tmp_path, **sections)))
    share_front_end(student, teacher)
    teacher.ignore_padding()
    with pytest.raises(UserError, match="share_front_end: found true.*would not work alone"):
        check_shared(student, teacher)  # the weights are not yet the teacher's
    student.cnn.load_state_dict(
        dict(zip(student.cnn.state_dict(), teacher.encoder.model.feature_extractor.state_dict().values(), strict=True))
    )
    check_shared(student, teacher)
    samples, lengths = wavs
    whole = teacher.features(samples, lengths)
    short = teacher.features(samples[1:], lengths[1:])  # without the longest utterance
    assert short.shape == whole[1:].shape
    torch.testing.assert_close(short[0, :15], whole[1, :15], atol=1e-5, rtol=1e-4)


def test_convolutions_with_a_bias_are_refused(bench: Bench, tmp_path: Path) -> None:
    teacher = load_transformers_teacher(write_random_teacher(tmp_path / "t", **TINY_TEACHER))
    student = build_student(read_model_config("gendistiller", bench.model(tmp_path, **SHARED)))
    share_front_end(student, teacher)
    teacher.ignore_padding()
    student.cnn.load_state_dict(
        dict(zip(student.cnn.state_dict(), teacher.encoder.feature_extractor.state_dict().values(), strict=True))
    )
    check_shared(student, teacher)
    conv = teacher.encoder.feature_extractor.conv_layers[3].conv
    conv.bias = torch.nn.Parameter(torch.full((16,), 0.1))
    with pytest.raises(UserError, match="convolutions without bias"):
        check_shared(student, teacher)


def test_a_student_that_takes_no_features_is_refused() -> None:
    student = ToyStudent(ToyStudentConfig(extractor_conv_feature_layers=((4, 10, 5),), encoder_embed_dim=16), 1)
    with pytest.raises(UserError, match="share_front_end: found true, expected false; a ToyStudent takes no features"):
        share_front_end(student, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_all_keys_that_do_not_fit_are_named_at_once(kind: str, bench: Bench, tmp_path: Path) -> None:
    student = {"feature_grad_mult": 0.1, "extractor_dropout": 0.2}
    model = bench.model(
        tmp_path, kind, distill={"share_front_end": True}, student=student, warm_start={"front_end": False}
    )
    with pytest.raises(ConfigError) as caught:
        read_model_config(kind, model)
    assert [line.split(" with")[0] for line in caught.value.problems] == [
        "warm_start.front_end: found false",
        "student.feature_grad_mult: found 0.1",
        "student.extractor_dropout: found 0.2",
    ]


@pytest.mark.parametrize("front_end", ["mel", "thin"])
def test_another_front_end_is_refused_by_one_line(front_end: str) -> None:
    content = {
        "teacher": {"upstream": "x"},
        "student": {"front_end": front_end},
        "warm_start": {"front_end": front_end == "thin"},
        "distill": {"share_front_end": True},
    }
    with pytest.raises(ConfigError) as caught:
        read_model_config("gendistiller", content)
    (line,) = caught.value.problems
    assert f"share_front_end: found true with student.front_end {front_end}, expected false; only" in line


def test_another_layout_of_the_cnn_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"extractor_mode: found layer_norm, expected default"):
        shared(make, "gendistiller", student={"extractor_mode": "layer_norm"})


def test_a_teacher_that_normalises_needs_a_student_that_does(make: Any, tmp_path: Path) -> None:
    folder = write_random_teacher(tmp_path / "large", feat_extract_norm="layer", **TINY_TEACHER)
    sections: dict[str, Any] = {"teacher": {"folder": str(folder)}, "student": {"extractor_mode": "layer_norm"}}
    with pytest.raises(ConfigError, match="the teacher normalises its input, and s3prl's DistillerModel"):
        shared(make, "distilhubert", **sections)
    sections["student"]["normalize"] = True
    train(shared(make, "gendistiller", **sections), 1)
