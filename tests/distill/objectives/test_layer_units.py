"""Units on every layer against their definition, what they must not depend on, and the faults of their files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.config_objectives import LayerUnitsConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.objectives.layer_units import LayerUnits, build, check_files
from s3prl_gendistiller.distill.units import KmeansUnits, Units, choose_kept, nearest_kept
from s3prl_gendistiller.errors import UserError

WIDTH, WIDER, FRAMES, V, KEPT = 8, 10, 7, 12, 9
LAYERS = (2, 5)
MASK = torch.arange(FRAMES) < torch.tensor([[FRAMES], [4]])


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def units(layer: int) -> Units:
    predict = KmeansUnits(randn(V, WIDTH, seed=layer), 2.0).requires_grad_(False)
    counts = torch.arange(1, V + 1)
    kept = choose_kept(counts, KEPT)
    return Units(predict, layer, counts, kept, nearest_kept(predict.embeddings, kept, "euclidean"), {})


def objective(weight: float = 0.5) -> LayerUnits:
    torch.manual_seed(1)
    return LayerUnits(LayerUnitsConfig(units="x", weight=weight), [units(layer) for layer in LAYERS], WIDER)


TEACHER, STUDENT = randn(2, len(LAYERS), FRAMES, WIDTH, seed=2), randn(2, len(LAYERS), FRAMES, WIDER, seed=3)


def test_equals_the_definition_frame_by_frame() -> None:
    module = objective()
    terms = module(TEACHER, STUDENT, MASK)
    for index, layer in enumerate(LAYERS):
        own, total, agreed = units(layer), torch.zeros(()), 0
        for item, frame in MASK.nonzero().tolist():
            cluster = (own.predict.centroids - TEACHER[item, index, frame]).norm(dim=-1).argmin()
            target = own.nearest[cluster]
            logits = module.heads[index](STUDENT[item, index, frame])
            total = total - torch.log_softmax(logits, 0)[target]
            agreed += int(logits.argmax() == target)
        torch.testing.assert_close(terms[f"units_layer{layer}"][0], total)
        assert terms[f"units_agreement_layer{layer}"][0] == agreed
        assert all(terms[f"{name}_layer{layer}"][1] == MASK.sum() for name in ("units", "units_agreement"))
    assert module.terms == {
        **{"units_layer2": 0.25, "units_layer5": 0.25},
        **{"units_agreement_layer2": 0.0, "units_agreement_layer5": 0.0},
    }


def test_padding_adds_nothing_and_gets_no_gradient() -> None:
    module = objective()
    student = torch.where(MASK[:, None, :, None], STUDENT, float("inf")).requires_grad_()
    teacher = torch.where(MASK[:, None, :, None], TEACHER, float("nan"))
    clean, dirty = module(TEACHER, STUDENT, MASK), module(teacher, student, MASK)
    assert clean.keys() == dirty.keys() and all(torch.equal(clean[name][0], dirty[name][0]) for name in clean)
    dirty["units_layer2"][0].backward()
    assert student.grad is not None and student.grad[:, 0].abs().sum() > 0
    assert not student.grad.masked_select(~MASK[:, None, :, None]).any()
    assert not student.grad[:, 1].any()  # each layer has a head of its own
    assert module.heads[0].final_proj.weight.grad.isfinite().all() and module.heads[1].final_proj.weight.grad is None


def test_a_batch_of_fewer_layers_compares_the_first_ones() -> None:
    module = objective()
    first = module(TEACHER[:, :1], STUDENT[:, :1], MASK)
    assert first.keys() == {"units_layer2", "units_agreement_layer2"}
    assert torch.equal(first["units_layer2"][0], module(TEACHER, STUDENT, MASK)["units_layer2"][0])


def test_units_can_be_learnt_and_those_of_the_teacher_stay() -> None:
    module = objective()
    before = [parameter.clone() for parameter in module.teacher_units.parameters()]
    states = STUDENT.clone().requires_grad_()
    optimizer = torch.optim.Adam([states, *module.heads.parameters()], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        terms = module(TEACHER, states, MASK)
        sum(terms[name][0] for name, weight in module.terms.items() if weight).backward()
        optimizer.step()
    assert all(terms[f"units_agreement_layer{layer}"][0] == MASK.sum() for layer in LAYERS)
    assert all(map(torch.equal, before, module.teacher_units.parameters()))


def test_faults_of_all_files_are_in_one_message(tmp_path: Path) -> None:
    config = LayerUnitsConfig(units=str(tmp_path))
    with pytest.raises(UserError, match=r"found no layerN.safetensors in .* `gendistiller units --layer N"):
        check_files(config)
    units(2).save(tmp_path / "layer2.safetensors")
    replace(units(2), layer=4).save(tmp_path / "layer5.safetensors")
    check_files(config)
    with pytest.raises(UserError) as refused:
        build(config, Setting((2, 3, 5), WIDER))
    lines = str(refused.value).splitlines()
    assert len(lines) == 2 and re.search(r"layer3\.safetensors: no such file", lines[0])
    assert "layer5.safetensors: found units of layer 4, expected those of layer 5" in lines[1]
    assert isinstance(build(config, Setting((2,), WIDER)), LayerUnits)
    (tmp_path / "layer7.safetensors").write_bytes(b"no units")
    with pytest.raises(UserError, match=r"layer7\.safetensors: not readable as units"):
        check_files(config)
