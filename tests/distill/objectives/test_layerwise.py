from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.config_objectives import LayerwiseConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.objectives.layerwise import Layerwise, build
from s3prl_gendistiller.distill.projection import Projection

LAYERS = (2, 4)


def stacks() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(2, 2, 5, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return teacher, student, mask


def by_definition(teacher: Tensor, student: Tensor, mask: Tensor) -> dict[str, float]:
    """Loops over real frames, straight from the paper."""
    values: dict[str, list[float]] = {}
    for index, layer in enumerate(LAYERS):
        for b, t in mask.nonzero().tolist():
            x, y = teacher[b, index, t], student[b, index, t]
            cosine = float(x @ y / (x.norm() * y.norm()))
            values.setdefault(f"l1_layer{layer}", []).append(float((x - y).abs().mean()))
            values.setdefault(f"cosine_loss_layer{layer}", []).append(math.log1p(math.exp(-cosine)))
            values.setdefault(f"cosine_layer{layer}", []).append(cosine)
    return {name: sum(items) / len(items) for name, items in values.items()}


def test_equals_the_definition() -> None:
    teacher, student, mask = stacks()
    found = Layerwise(LAYERS)(teacher, student, mask)
    for name, expected in by_definition(teacher, student, mask).items():
        total, count = found[name]
        assert count == 8
        assert float(total / count) == pytest.approx(expected, rel=1e-5)


def test_padding_content_never_changes_a_value_and_gets_no_gradient() -> None:
    teacher, student, mask = stacks()
    objective = Layerwise(LAYERS)
    clean = objective(teacher, student, mask)
    for stack, content in ((teacher, 1e4), (student, -3e4)):
        stack[1, :, 3:] = content
    student.requires_grad_(True)
    dirty = objective(teacher, student, mask)
    for name, (total, _) in clean.items():
        assert float(dirty[name][0]) == pytest.approx(float(total), rel=1e-6)
    sum(total for total, _ in dirty.values()).backward()
    assert torch.equal(student.grad[1, :, 3:], torch.zeros(2, 2, 6, dtype=torch.float64))
    assert student.grad[1, :, :3].abs().min() > 0


def test_perfect_prediction_has_no_distance_and_cosine_one() -> None:
    teacher, _, mask = stacks()
    found = Layerwise(LAYERS)(teacher, teacher, mask)
    assert float(found["l1_layer2"][0]) == 0.0
    assert float(found["cosine_layer4"][0] / found["cosine_layer4"][1]) == pytest.approx(1.0)
    assert float(found["cosine_loss_layer4"][0] / 8) == pytest.approx(math.log1p(math.exp(-1)), rel=1e-5)


def test_weights_follow_the_configuration() -> None:
    terms = Layerwise(LAYERS, weight=2.0, cosine_weight=0.5).terms
    assert terms["l1_layer2"] == 1.0 and terms["cosine_loss_layer2"] == 0.5 and terms["cosine_layer2"] == 0.0


def test_different_shapes_are_refused() -> None:
    teacher, student, mask = stacks()
    with pytest.raises(ValueError, match=r"\(2, 2, 5, 6\) and student layers \(2, 2, 5, 5\)"):
        Layerwise(LAYERS)(teacher, student[..., :5], mask)


@pytest.mark.parametrize("names", [("layer2", "layer4"), ("shared",)])
def test_a_student_of_another_width_is_compared_in_the_teachers_space(names: tuple[str, ...]) -> None:
    teacher, student, mask = stacks()
    torch.manual_seed(0)
    maps = Projection(names, 4, 6).double()
    found = Layerwise(LAYERS, projection=maps)(teacher, student[..., :4], mask)
    with torch.no_grad():
        expected = by_definition(teacher, maps(student[..., :4]), mask)
    assert {name: float(total / count) for name, (total, count) in found.items()} == pytest.approx(expected, rel=1e-5)


def test_a_projection_gets_no_gradient_from_padding_even_if_it_is_infinite() -> None:
    teacher, student, mask = stacks()
    torch.manual_seed(0)
    maps = Projection(("layer2", "layer4"), 4, 6).double()
    gradients = []
    for content in (0.0, math.inf):
        padded = student[..., :4].masked_fill(~mask[:, None, :, None], content)
        sums = Layerwise(LAYERS, projection=maps)(teacher, padded, mask)
        maps.zero_grad()
        sum(total for total, _ in sums.values()).backward()
        gradients.append([parameter.grad.clone() for parameter in maps.parameters()])
    assert all(clean.isfinite().all() and clean.any() for clean in gradients[0])
    assert all(map(torch.equal, *gradients))


def test_a_batch_of_fewer_layers_trains_their_projections_alone() -> None:
    teacher, student, mask = stacks()
    maps = Projection(("layer2", "layer4"), 4, 6).double()
    sums = Layerwise(LAYERS, projection=maps)(teacher[:, :1], student[:, :1, :, :4], mask)
    sum(total for total, _ in sums.values()).backward()
    assert sums.keys() == {"l1_layer2", "cosine_loss_layer2", "cosine_layer2"}
    assert maps.maps["layer2"].weight.grad is not None and maps.maps["layer4"].weight.grad is None


def test_one_width_has_no_parameter() -> None:
    for projection in ("layer", "shared"):
        made = build(LayerwiseConfig(projection=projection), Setting(LAYERS, 6))
        assert made.projection is None and not made.state_dict()
