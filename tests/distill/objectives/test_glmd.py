"""GLMD's first stage against its definition, frame by frame, and what it must not depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.config_objectives import GlmdConfig
from s3prl_gendistiller.distill.objectives.glmd import Glmd
from s3prl_gendistiller.distill.units import KmeansUnits, UnitHead, Units, choose_kept, nearest_kept
from s3prl_gendistiller.errors import UserError

WIDTH, WIDER, LAYERS, FRAMES, V, KEPT = 8, 10, 2, 7, 12, 5
MASK = torch.arange(FRAMES) < torch.tensor([[FRAMES], [4]])
REMAPS = ("restrict", "tied", "fold")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def units(kept: int = KEPT, kind: str = "head") -> Units:
    torch.manual_seed(0)
    predict = UnitHead(WIDTH, V, 6) if kind == "head" else KmeansUnits(randn(V, WIDTH), 2.0)
    embeddings = predict.label_embs_concat if isinstance(predict, UnitHead) else predict.centroids
    counts = torch.tensor([3, 9, 1, 0, 7, 7, 2, 12, 0, 5, 4, 8])
    chosen = choose_kept(counts, kept)
    return Units(predict.requires_grad_(False), 3, counts, chosen, nearest_kept(embeddings, chosen, "cosine"), {})


def objective(width: int = WIDER, kept: int = KEPT, kind: str = "head", **changes: object) -> Glmd:
    torch.manual_seed(1)
    return Glmd(GlmdConfig(units="x", **changes), units(kept, kind), width, LAYERS)


def teacher() -> Tensor:
    return randn(2, 1, FRAMES, WIDTH, seed=2)


def student(width: int = WIDER) -> Tensor:
    return randn(2, LAYERS, FRAMES, width, seed=3)


def loss(module: Glmd, given: Tensor, made: Tensor, mask: Tensor = MASK) -> Tensor:
    total, count = module(given, made, mask)["glmd_units"]
    return total / count


def by_hand(module: Glmd, given: Tensor, made: Tensor, mask: Tensor, remap: str, temperature: float) -> Tensor:
    total = torch.zeros(())
    for item, frame in mask.nonzero().tolist():
        z_t = module.teacher_head(given[item, 0, frame])
        z_s = module.head(made[item, -1, frame])
        p = torch.softmax(z_t / temperature, 0)
        if remap == "restrict":
            p = p[module.kept] / p[module.kept].sum()
        elif remap == "fold":
            p = torch.stack([p[module.nearest == rank].sum() for rank in range(len(module.kept))])
        else:
            z_s = torch.stack([z_s[rank] for rank in module.nearest.tolist()])
        q = torch.softmax(z_s / temperature, 0)
        total = total + (p * (p.clamp(min=1e-30) / q).log()).sum()
    return temperature**2 * total / mask.sum()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 15.0])
@pytest.mark.parametrize("remap", REMAPS)
@pytest.mark.parametrize("kind", ["head", "kmeans"])
def test_equals_the_definition_frame_by_frame(kind: str, remap: str, temperature: float) -> None:
    module = objective(kind=kind, remap=remap, temperature=temperature)
    module, given, made = module.double(), teacher().double(), student().double()
    expected = by_hand(module, given, made, MASK, remap, temperature)
    torch.testing.assert_close(loss(module, given, made), expected, rtol=1e-9, atol=1e-12)


def test_without_compression_every_remap_is_the_same() -> None:
    values = [loss(objective(kept=V, remap=remap).double(), teacher().double(), student().double()) for remap in REMAPS]
    torch.testing.assert_close(values[0].expand(2), torch.stack(values[1:]), rtol=1e-12, atol=1e-13)


def test_folding_both_sides_never_adds_divergence() -> None:
    """The data processing inequality, frame by frame."""
    module = objective(remap="fold").double()
    logits, others = module.teacher_head(teacher().double()[:, 0]), randn(2, FRAMES, V, seed=9).double()
    p, q = torch.softmax(logits / 2.0, -1), torch.softmax(others / 2.0, -1)
    folded = [torch.zeros(2, FRAMES, KEPT).double().index_add_(-1, module.nearest, x) for x in (p, q)]
    torch.testing.assert_close(module._target(logits, 2.0), folded[0])
    full, less = (torch.xlogy(x, x / y).sum(-1) for x, y in ((p, q), folded))
    assert (less <= full + 1e-12).all() and (less >= 0).all()


@pytest.mark.parametrize("remap", REMAPS)
@pytest.mark.parametrize("real", [0, 1])
def test_no_frame_one_frame_and_silence_stay_finite(real: int, remap: str) -> None:
    module = objective(remap=remap)
    mask = torch.arange(FRAMES).expand(2, -1) < real
    made = torch.zeros_like(student()).requires_grad_()
    total, count = module(torch.zeros_like(teacher()), made, mask)["glmd_units"]
    total.backward()
    assert int(count) == 2 * real and total.isfinite() and made.grad.isfinite().all()
    assert (total.item() == 0.0) == (real == 0)


def test_constants_of_a_frame_change_nothing() -> None:
    """Equal up to a number for each frame: nothing to learn, to the last digit of float64."""
    module = objective(WIDTH, kept=V, head_init="teacher").double()
    module.head.register_forward_hook(lambda head, inputs, output: output + randn(2, FRAMES, 1, seed=5).double())
    made = torch.cat([teacher(), teacher()], dim=1).double().requires_grad_()
    value = loss(module, teacher().double(), made)
    value.backward()
    assert abs(float(value)) < 1e-12 and float(made.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("remap", REMAPS)
def test_targets_are_distributions_that_keep_what_they_promise(remap: str) -> None:
    module = objective(remap=remap)
    logits = module.teacher_head(teacher()[:, 0])
    target, whole = module._target(logits, 2.0), torch.softmax(logits / 2.0, -1)
    torch.testing.assert_close(target.sum(-1), torch.ones(2, FRAMES))
    kept = whole[..., module.kept]
    if remap == "fold":  # no mass is lost, and a kept unit only gains
        assert (target >= kept - 1e-6).all()
    elif remap == "restrict":  # the odds between kept units stay
        torch.testing.assert_close(target / target[..., :1], kept / kept[..., :1])
        assert torch.equal(target.argmax(-1), kept.argmax(-1))
    else:
        assert torch.equal(target, whole)


@pytest.mark.parametrize("remap", ["restrict", "fold"])
def test_the_gradient_is_the_difference_of_the_distributions(remap: str) -> None:
    module, temperature = objective(remap=remap, temperature=5.0), 5.0
    logits: list[Tensor] = []
    module.head.register_forward_hook(lambda head, inputs, output: (output.retain_grad(), logits.append(output))[0])
    loss(module, teacher(), student().requires_grad_()).backward()
    q = torch.softmax(logits[0].detach() / temperature, -1)
    p = module._target(module.teacher_head(teacher()[:, 0]), temperature)
    expected = (temperature * (q - p) / MASK.sum()).masked_fill(~MASK.unsqueeze(-1), 0.0)
    torch.testing.assert_close(logits[0].grad, expected, atol=1e-6, rtol=1e-4)


def test_a_student_that_is_the_teacher_has_nothing_to_learn() -> None:
    module = objective(WIDTH, kept=V, head_init="teacher").double()
    made = torch.cat([student(WIDTH)[:, :1], teacher()], dim=1).double().requires_grad_()
    value = loss(module, teacher().double(), made)
    value.backward()
    assert abs(float(value)) < 1e-12 and float(made.grad.abs().max()) < 1e-12
    total, count = module(teacher().double(), made, MASK)["glmd_agreement"]
    assert int(total) == int(count) == 11


def test_only_restrict_keeps_the_odds_and_so_the_zero_of_a_smaller_vocabulary() -> None:
    values = {}
    for remap in REMAPS:
        module = objective(WIDTH, head_init="teacher", remap=remap)
        values[remap] = float(loss(module, teacher(), torch.cat([teacher(), teacher()], dim=1)))
    assert abs(values["restrict"]) < 1e-5 and values["fold"] > 1e-3 and values["tied"] > 1e-3


def test_at_high_temperature_it_is_half_the_squared_difference_of_centred_logits() -> None:
    module = objective(temperature=1000.0).double()
    given, made = teacher().double(), student().double()
    centred = [
        logits - logits.mean(-1, keepdim=True)
        for logits in (module.teacher_head(given[:, 0])[..., module.kept], module.head(made[:, -1]))
    ]
    expected = (centred[0] - centred[1]).square().mean(-1)[MASK].mean() / 2
    assert float(loss(module, given, made)) == pytest.approx(float(expected), rel=2e-2)


@pytest.mark.parametrize("remap", REMAPS)
def test_padding_changes_no_value_and_gets_no_gradient(remap: str) -> None:
    module, made = objective(remap=remap), student()
    before = loss(module, teacher(), made)
    padded = (~MASK)[:, None, :, None]
    dirty = made.masked_fill(padded, float("nan")).requires_grad_()
    value = loss(module, teacher().masked_fill(padded, 1e5), dirty)
    value.backward()
    torch.testing.assert_close(value, before)
    assert dirty.grad.isfinite().all() and not dirty.grad[1, :, 4:].any() and dirty.grad[1, -1, :4].any()
    longer = [torch.nn.functional.pad(x, (0, 0, 0, 5), value=7.0) for x in (teacher(), made)]
    torch.testing.assert_close(loss(module, *longer, torch.nn.functional.pad(MASK, (0, 5))), before)


def test_the_last_layer_alone_learns_and_the_teachers_head_never() -> None:
    module, made = objective(), student().requires_grad_()
    before = {name: value.clone() for name, value in module.teacher_head.state_dict().items()}
    given = teacher().requires_grad_()
    loss(module, given, made).backward()
    assert given.grad is None and not made.grad[:, 0].any() and made.grad[:, 1][MASK].any()
    assert all(parameter.grad.any() for parameter in module.head.parameters())
    assert all(parameter.grad is None for parameter in module.teacher_head.parameters())
    torch.optim.SGD(module.parameters(), lr=1.0).step()
    assert all(torch.equal(value, before[name]) for name, value in module.teacher_head.state_dict().items())


def test_a_batch_that_stops_early_says_nothing_about_units() -> None:
    assert objective()(teacher(), student()[:, :1], MASK) == {}


@pytest.mark.parametrize(
    ("width", "kind", "found"), [(WIDER, "head", "a head of 8"), (WIDTH, "kmeans", "k-means units")]
)
def test_a_head_that_cannot_start_from_the_teachers_is_refused(width: int, kind: str, found: str) -> None:
    with pytest.raises(UserError, match=f"head_init: found teacher with {found}.*take head_init: random"):
        objective(width, kind=kind, head_init="teacher")
